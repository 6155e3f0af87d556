"""Makes naja's system calls fail, delays them, kills who makes them, and races its commands.

    python -m tests.faults                                    all there is; takes about an hour
    python -m tests.faults --verb exec --kind delay           a part of it
    python -m tests.faults --sample 500 --races 500           so many points and races, by chance
    python -m tests.faults --point exec/init/setns/0/EPERM    one point (or race) again

`make faults` is the first, `make faults VERB=exec` a part.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.commands import COMMANDS
from tests.faults.points import Point, points_of
from tests.faults.races import Race, races, run_race
from tests.faults.trial import Outcome, attempt, count
from tests.faults.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.synchronize import Event

KINDS = ("fail", "kill", "delay", "race")
#: A call in Python's start says nothing about naja: one of so many is tried.
_OF_THE_START = 20
#: How long nothing may be said of the progress, in seconds.
_SILENCE = 60


@dataclass
class Totals:
    """What is counted."""

    tried: int = 0
    clean: int = 0
    starting: int = 0
    missed: int = 0
    races: int = 0

    def add(self, outcome: Outcome) -> None:
        self.tried += 1
        self.races += outcome.name.startswith("race/")
        self.clean += not outcome.complaints
        self.starting += outcome.starting
        self.missed += not outcome.reached

    def __str__(self) -> str:
        return (
            f"{self.tried - self.races} points and {self.races} races tried, {self.clean} clean, "
            f"{self.tried - self.clean} not clean; {self.starting} points were in Python's start, "
            f"{self.missed} did not come"
        )


_workshop: Workshop
_stop: Event


def _open_workshop(place: str, stop: Event) -> None:
    global _workshop, _stop
    _workshop, _stop = Workshop(place), stop
    # Whoever interrupts the command lets the workers end what they have begun.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def try_one(workshop: Workshop, item: Point | Race) -> Outcome:
    """Try a point or a race. What goes wrong with the trial itself is a complaint as well."""
    try:
        return attempt(workshop, item) if isinstance(item, Point) else run_race(workshop, item)
    except (AssertionError, OSError) as error:
        return Outcome(str(item), complaints=[f"cannot be tried: {type(error).__name__}: {error}"])


def _try_in_pool(item: Point | Race) -> Outcome | None:
    return None if _stop.is_set() else try_one(_workshop, item)


def plan(workshop: Workshop, commands: Sequence[str], kinds: Sequence[str], each: int) -> list[Point]:
    """Return all points of these commands, one call of each first and its repetitions last."""
    found: list[Point] = []
    for command in commands:
        points = points_of(command, count(workshop, command), kinds, each)
        found += [
            point for index, point in enumerate(points) if not point.starting or index % _OF_THE_START == 0
        ]
    return found


def sample(points: Sequence[Point], number: int, chance: random.Random) -> list[Point]:
    """Return so many points; a call that is made once gets its turn as often as one that is made often."""
    groups: dict[tuple[str, ...], list[Point]] = {}
    for point in points:
        kind = (point.command, point.fault.role, point.fault.name, str(point.starting))
        groups.setdefault(kind, []).append(point)
    names = list(groups)
    return [chance.choice(groups[chance.choice(names)]) for _ in range(number)] if names else []


def run(items: Sequence[Point | Race], place: str, options: argparse.Namespace) -> Iterator[Outcome]:
    """Try all, or as many as there is time for, in several processes."""
    end = time.monotonic() + options.seconds
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    with context.Pool(options.jobs, _open_workshop, (place, stop)) as pool:
        try:
            for outcome in filter(None, pool.imap_unordered(_try_in_pool, items)):
                yield outcome
                if time.monotonic() > end:
                    stop.set()
        finally:
            stop.set()
            pool.close()
            pool.join()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__, add_help=True)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--verb", action="append", choices=list(COMMANDS), help="only this; may be repeated")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind; may be repeated")
    parser.add_argument("--each", type=int, default=1, help="how many errors and delays a call meets (1)")
    parser.add_argument("--sample", type=int, help="so many points, by chance")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing after these")
    parser.add_argument("--races", type=int, default=5000, help="how many races (5000)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats a run")
    parser.add_argument(
        "--jobs", type=int, default=2 * (os.cpu_count() or 1), help="how many at the same time"
    )
    parser.add_argument("--point", action="append", help="only this point or race; may be repeated")
    parser.add_argument("--done", metavar="FILE", help="keep what was tried there, and go on after it")
    return parser


def items_of(options: argparse.Namespace, place: str) -> list[Point | Race]:
    """Return what is to be tried, in any order."""
    if options.point:
        return [Race.parse(text) if text.startswith("race/") else Point.parse(text) for text in options.point]
    chance = random.Random(options.seed)
    kinds = options.kind or KINDS
    points = plan(Workshop(place), options.verb or list(COMMANDS), kinds, options.each)
    items: list[Point | Race] = []
    items += points if options.sample is None else sample(points, options.sample, chance)
    if "race" in kinds:
        for verb in options.verb or [""]:
            items += races(chance, options.races, verb)
    chance.shuffle(items)
    done: set[str] = set()
    if options.done and os.path.exists(options.done):
        with open(options.done) as file:
            done = set(file.read().split())
    return [item for item in items if str(item) not in done]


def main() -> int:
    """Do what the command line says; return an exit status."""
    options = parser().parse_args()
    if os.geteuid() != 0:
        print("needs root", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="naja-faults-") as place:
        os.chmod(place, 0o711)  # The root of a user namespace has to get through.
        return report(items_of(options, place), place, options)


def report(items: Sequence[Point | Race], place: str, options: argparse.Namespace) -> int:
    """Try all, and print what is not clean, and the totals. Returns the exit status."""
    totals, kinds = Totals(), Counter[str]()
    print(f"{len(items)} points and races", flush=True)
    began = told = time.monotonic()
    with open(options.done or os.devnull, "a") as file:
        try:
            for outcome in run(items, place, options):
                totals.add(outcome)
                print(outcome.name, file=file, flush=True)
                for complaint in outcome.complaints:
                    print(f"not clean: {outcome.name}: {complaint}", flush=True)
                    kinds[outcome.name.split("/")[0]] += 1
                if time.monotonic() - told > _SILENCE:
                    told = time.monotonic()
                    print(f"… {totals.tried} of {len(items)}, {told - began:.0f} s", flush=True)
        except KeyboardInterrupt:
            print("interrupted")
    for command, number in kinds.most_common():
        print(f"{number:6} complaints about {command}")
    print(totals)
    if totals.clean < totals.tried:
        print("again: python -m tests.faults --point POINT")
    return int(totals.clean < totals.tried)


if __name__ == "__main__":
    sys.exit(main())
