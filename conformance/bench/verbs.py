"""Each verb of each runtime, in turn on one bundle: what it costs, and how much memory it takes."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, TypeVar

from conformance.bench.counter import counts_instructions
from conformance.bench.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.bench.place import Place
    from conformance.bench.subject import Cost, Subject
    from tests.support.bundle import Bundle

WHOLE = "create+start+delete --force"
#: Rows of the tables; the last is three commands.
VERBS = ("create", "start", "state", "exec", "kill", "delete", "run", WHOLE)
#: The row of the process that becomes the container's, which no command waits for.
INIT = "create's init"
#: Seconds before each turn. A move into a cgroup is cheap for a moment after another one, so that a runtime
#: would be the faster the sooner its predecessor ended.
PAUSE = 0.1

Measured = TypeVar("Measured", "int", "Cost")


class Verbs:
    """The bundles: ``short`` ends at once, ``long`` does not."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.short = place.bundle("short", "/bin/true")
        self.long = place.bundle("long", "/bin/sleep", "1000")

    def create(self, bundle: Bundle) -> tuple[str, ...]:
        """Return the words that create a bundle's container."""
        return "create", "--bundle", bundle.path, "--pid-file", self.place.pid_file, bundle.id

    def live(self, subject: Subject, take: Callable[..., Measured]) -> tuple[dict[str, list[Measured]], int]:
        """Have ``take`` run each verb once; return what it said by row, and the peak memory of the init."""
        time.sleep(PAUSE)
        root, long = self.place.root(subject), self.long.id
        taken: dict[str, list[Measured]] = {}

        def verb(*words: str, row: str = "") -> None:
            taken.setdefault(row or words[0], []).append(take(*root, *words))

        verb("run", "--bundle", self.short.path, self.short.id)
        verb(*self.create(self.long))
        verb("start", long)
        verb("state", long)
        verb("exec", long, "/bin/true")
        verb("kill", long, "KILL")
        init = self.place.reap()
        verb("delete", long)
        for words in (self.create(self.long), ("start", long), ("delete", "--force", long)):
            verb(*words, row=WHOLE)
        self.place.reap()
        return taken, init

    def costs(self, subjects: list[Subject], runs: int) -> list[Table]:
        """Measure all runtimes in turn, ``runs`` times after one for warming up. Raises Failed."""
        found: dict[str, dict[str, list[Cost]]] = {verb: {s.name: [] for s in subjects} for verb in VERBS}
        for number, subject in in_turn(subjects, runs + 1):
            taken, _ = self.live(subject, subject.cost)
            for verb, costs in taken.items():
                if number:
                    first, *rest = costs
                    found[verb][subject.name].append(sum(rest, first))
        return tables(found)

    def peaks(self, subjects: list[Subject], runs: int) -> Table:
        """Return the table of the verbs' memory. Raises Failed."""
        found: dict[str, dict[str, list[int]]] = {
            row: {s.name: [] for s in subjects} for row in (*VERBS, INIT)
        }
        for _, subject in in_turn(subjects, runs):
            taken, init = self.live(subject, subject.peak)
            for row, peaks in {**taken, INIT: [init]}.items():
                found[row][subject.name].append(max(peaks))
        rows = {row: medians(by, lambda peak: peak / 1024) for row, by in found.items()}
        return Table("peak memory of a process, MiB", rows)


def in_turn(subjects: list[Subject], runs: int) -> list[tuple[int, Subject]]:
    """Return whose turn it is: nobody always follows the same neighbour, nor is always the first."""
    turns = []
    for number in range(runs):
        first = number % len(subjects) if subjects else 0
        turns += [(number, subject) for subject in subjects[first:] + subjects[:first]]
    return turns


def medians(by: dict[str, list[Measured]], value: Callable[[Measured], float]) -> dict[str, float]:
    """Return a row: the median of a value by runtime."""
    return {name: statistics.median(map(value, taken)) for name, taken in by.items()}


def tables(found: dict[str, dict[str, list[Cost]]]) -> list[Table]:
    """Return the tables of costs by row and runtime."""

    def table(title: str, value: Callable[[Cost], float], digits: int) -> Table:
        return Table(title, {row: medians(by, value) for row, by in found.items()}, digits)

    made = [
        table("ms, median", lambda cost: cost.wall, 1),
        table("ms of the processors, median", lambda cost: cost.cpu, 1),
        table("page faults, median", lambda cost: cost.faults, 0),
    ]
    if counts_instructions():
        made.append(table("10⁶ instructions, median", lambda cost: (cost.instructions or 0) / 1e6, 1))
    return made
