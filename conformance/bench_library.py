"""What one container costs by the library, in a program that is warm, beside ``crun run`` and ``runc run``.

    python -m conformance.bench_library [--runs N]

From the call to the container's end and its deletion. All take turns, each after a pause of 0.2 s: else it
would profit from the lock of the cgroups that the one before has warmed (startup/warmup.py), for a tenth of a
second. Every round has another order: what a runtime leaves to the kernel, the next one pays for, and in a
fixed order that is always the same. "create … delete" are the calls one by one. Prints Markdown: the least,
the fifth that was fastest, the median, the slowest fifth, and the medians' ratio to crun's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import naja
from conformance.bench.place import Place, hide_unified
from conformance.bench.subject import Failed, Subject
from naja.library import connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.bundle import Bundle


#: Seconds between two that are measured.
_PAUSE = 0.2


def hurry(pid: int | str) -> None:
    """Give the session of a process priority: the scheduler's groups are by session (sched(7))."""
    try:
        with open(f"/proc/{pid}/autogroup", "w") as file:
            file.write("-20")
    except OSError as error:
        print(f"no priority: {error}", file=sys.stderr)


def whole(bundle: Bundle, root: str) -> None:
    """Run a container to its end."""
    null = naja.DEVNULL
    naja.run(bundle.id, bundle.path, root=root, stdin=null, stdout=null, stderr=null, check=True)


async def whole_aio(bundle: Bundle, root: str) -> None:
    """Run a container to its end, on a loop."""
    null = naja.DEVNULL
    await naja.aio.run(bundle.id, bundle.path, root=root, stdin=null, stdout=null, stderr=null, check=True)


def one_by_one(bundle: Bundle, root: str) -> None:
    """Make, start, wait for and delete a container."""
    null = naja.DEVNULL
    container = naja.Container.create(bundle.id, bundle.path, root=root, stdin=null, stdout=null, stderr=null)
    container.start()
    container.wait()
    container.close()
    container.delete()


def contestants(place: Place, bundle: Bundle, runner: asyncio.Runner) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    root = os.path.join(place.run, "state-library")
    found: dict[str, Callable[[], object]] = {
        "naja.run": lambda: whole(bundle, root),
        "naja.aio.run": lambda: runner.run(whole_aio(bundle, root)),
        "create … delete": lambda: one_by_one(bundle, root),
    }
    for name in ("crun", "runc"):
        try:
            subject = Subject(name, [name])
        except Failed as error:
            print(error, file=sys.stderr)
            continue
        words = [*subject.command, *place.root(subject), "run", "--bundle", bundle.path, bundle.id]
        found[f"{name} run"] = lambda words=words: subprocess.run(  # type: ignore[misc]
            words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
    return found


def in_turns(all: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Return the milliseconds of each, which take turns."""
    times: dict[str, list[float]] = {name: [] for name in all}
    for call in all.values():
        call()
    order, choose = list(all.items()), random.Random(0)
    for _ in range(runs):
        choose.shuffle(order)
        for name, call in order:
            time.sleep(_PAUSE)
            begun = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - begun) * 1000)
    return times


def main() -> int:
    """Measure, and print a table; return an exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    hide_unified()
    hurry("self")
    time.sleep(0.5)  # The kernel takes one such wish at a time.
    hurry(connection.connection().resident.pid)
    with Place.made() as place:
        bundle = place.bundle("library", "/bin/true")
        with asyncio.Runner() as runner:
            times = in_turns(contestants(place, bundle, runner), runs)
    base = statistics.median(times["crun run"]) if "crun run" in times else 0.0
    print("| one container | least | p20 | median ms | p80 | to crun run |\n|---|---:|---:|---:|---:|---:|")
    for name, each in times.items():
        low, *_, high = statistics.quantiles(each, n=5)
        median = statistics.median(each)
        ratio = f"{median / base:.2f}" if base else ""
        print(f"| {name} | {min(each):.1f} | {low:.1f} | {median:.1f} | {high:.1f} | {ratio} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
