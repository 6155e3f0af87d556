"""What must not change: the verbs beside hundreds of containers, and one run after thousands of others."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from conformance.bench.table import Table

if TYPE_CHECKING:
    from conformance.bench.place import Place
    from conformance.bench.subject import Cost, Subject
    from conformance.bench.verbs import Verbs

#: How many containers there are beside, how often a container runs, and how many runs are compared.
PRESENT, RUNS, COMPARED = 300, 2000, 200
#: How much slower than before anything may be.
MOST = 1.05
#: Seconds before each command. What a memory cgroup leaves to the kernel takes a millisecond among 300,
#: after ``rmdir``, and holds up whoever makes a cgroup meanwhile.
PACE = 0.02

#: Rows of the tables.
_LIST = "list"
_CPU, _FAULTS = "ms of the processors", "page faults"


def present(subject: Subject, verbs: Verbs, place: Place, runs: int) -> tuple[Table, list[str]]:
    """Return a runtime's times before, beside and after those containers, and what is slower. Raises Failed.

    Slower is what is so beside the slower one of before and after: the machine may have become so itself.
    """
    root = place.root(subject)
    ids = [place.id(f"p{number}") for number in range(PRESENT)]
    before = times(subject, verbs, place, runs)
    try:
        for id in ids:
            words = ("--bundle", verbs.long.path, "--pid-file", f"{place.run}/pid-{id}", id)
            subject.cost(*root, "run", "--detach", *words)
        beside = times(subject, verbs, place, runs)
    finally:
        for id in ids:
            subject.cost(*root, "delete", "--force", id)
            place.reap(f"{place.run}/pid-{id}")
    after = times(subject, verbs, place, runs)
    rows = {
        verb: {"before": before[verb], f"beside {PRESENT}": beside[verb], "after": after[verb]}
        for verb in before
    }
    table = Table(f"{subject.name}, ms, median", rows, ratios=False)
    return table, slower(subject.name, before, beside, after)


def slower(
    name: str, before: dict[str, float], beside: dict[str, float], after: dict[str, float]
) -> list[str]:
    """Return a line for each verb that is slower beside others; `list`, which tells of them all, may be."""
    quiet = {verb: max(before[verb], after[verb]) for verb in before}
    return [
        f"{name}: {verb} takes {beside[verb]:.1f} ms beside {PRESENT} containers, {quiet[verb]:.1f} without"
        for verb in quiet
        if verb != _LIST and beside[verb] > MOST * quiet[verb]
    ]


def times(subject: Subject, verbs: Verbs, place: Place, runs: int) -> dict[str, float]:
    """Return the median milliseconds of each verb. Raises Failed.

    `list` has rounds of its own: a run after a long one waits for its cgroups as after a pause.
    """
    found: dict[str, list[float]] = {}

    def paced(*words: str) -> Cost:
        time.sleep(PACE)
        return subject.cost(*words)

    for _ in range(runs):
        taken, _ = verbs.live(subject, paced)
        for verb, costs in taken.items():
            found.setdefault(verb, []).append(sum(cost.wall for cost in costs))
    found[_LIST] = [subject.timed(*place.root(subject), "list", "--quiet") for _ in range(runs)]
    return {verb: statistics.median(values) for verb, values in found.items()}


def drift(subject: Subject, verbs: Verbs, place: Place) -> tuple[Table, list[str]]:
    """Return the costs of the first and the last of many runs, and what has grown. Raises Failed.

    That is told by the processors' time, as anything may happen to the other in a minute.
    """
    words = (*place.root(subject), "run", "--bundle", verbs.short.path, verbs.short.id)
    costs = [subject.cost(*words) for _ in range(RUNS)]
    first, last = middle(costs[:COMPARED]), middle(costs[-COMPARED:])
    names = f"first {COMPARED}", f"last {COMPARED} of {RUNS}"
    rows = {row: dict(zip(names, (first[row], last[row]), strict=True)) for row in first}
    table = Table(f"{subject.name}, run, median", rows, digits=2, ratios=False)
    return table, grown(subject.name, first, last)


def grown(name: str, first: dict[str, float], last: dict[str, float]) -> list[str]:
    """Return a line for each cost that is steady and has grown."""
    return [
        f"{name}: {row} of a run have become {last[row]:.1f} from {first[row]:.1f}"
        for row in (_CPU, _FAULTS)
        if last[row] > MOST * first[row]
    ]


def middle(costs: list[Cost]) -> dict[str, float]:
    """Return the medians of costs by row."""
    return {
        "ms": statistics.median(cost.wall for cost in costs),
        _CPU: statistics.median(cost.cpu for cost in costs),
        _FAULTS: statistics.median(cost.faults for cost in costs),
    }
