"""What naja as containerd's shim costs, beside runc's shim with naja, crun and runc: time and memory.

    python -m conformance.bench_shim [--runs N] [--containers N] [--execs N] [--present N]

All take turns in one run, behind one private containerd. Prints Markdown; a median is of all turns. What ctr
takes to start and end by itself (``ctr --version``) is taken off the times of its commands. A shim that does
nothing, and answers at once, shows what ctr and containerd take alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from typing import TYPE_CHECKING

from tests.engines import execs, idle_shim
from tests.engines.catalogue import Engines
from tests.engines.image import BUSYBOX
from tests.engines.stopwatch import Stopwatch
from tests.support.command import runtime_command

if TYPE_CHECKING:
    from tests.engines.containerd import Containerd

SHIM = "naja's shim"
IDLE = "ctr and containerd alone"
#: What many containers share a process by.
GROUP = "io.containerd.naja.v2.group"
AT_ONCE = 16


class Contestant:
    """A runtime behind containerd: ``words`` choose it on the command line of ctr."""

    def __init__(self, containerd: Containerd, stopwatch: Stopwatch, name: str, words: list[str]) -> None:
        self.containerd = containerd
        self.name = name
        self.words = words
        self._stopwatch = stopwatch

    def time(self, *words: str) -> float:
        """Run ctr and return the milliseconds that it took. Raises CalledProcessError."""
        return self._stopwatch.time(["ctr", "--address", self.containerd.address, *words])

    def run(self, id: str, *flags: str, words: tuple[str, ...] = ("true",)) -> float:
        """Run a container."""
        return self.time("run", *self.words, *flags, "--null-io", BUSYBOX, id, *words)

    def exec(self, id: str, exec_id: str) -> float:
        """Run a process in a container."""
        return self.time("tasks", "exec", "--exec-id", exec_id, id, "true")

    def remove(self, ids: list[str]) -> None:
        """Remove containers by force."""
        for id in ids:
            self.containerd.ctr("tasks", "delete", "--force", id, check=False)
            self.containerd.ctr("containers", "delete", id, check=False)


def contestants(containerd: Containerd, stopwatch: Stopwatch, naja: str) -> list[Contestant]:
    """Return all that are there."""
    found = [Contestant(containerd, stopwatch, SHIM, ["--runtime", "io.containerd.naja.v2"])]
    for name in ("naja", "crun", "runc"):
        path = naja if name == "naja" else shutil.which(name)
        if path:
            found.append(Contestant(containerd, stopwatch, f"runc's shim, {name}", ["--runc-binary", path]))
    return found


def idle(containerd: Containerd, stopwatch: Stopwatch) -> Contestant:
    """Return who does nothing."""
    directory = containerd.directory
    words = ["env", f"PYTHONPATH={os.pathsep.join(filter(None, sys.path))}", sys.executable]
    words += ["-m", "tests.engines.idle_shim", directory, f"{containerd.address}.ttrpc"]
    log, socket = (os.path.join(directory, name) for name in ("idle.log", "idle.sock"))
    containerd.sandbox.daemon(words, log, socket)
    return Contestant(containerd, stopwatch, IDLE, ["--runtime", idle_shim.write(directory)])


def in_turns(all: list[Contestant], runs: int) -> dict[str, dict[str, float]]:
    """Return medians in ms by name, of ``run`` and ``exec``, less what ctr itself takes."""
    times: dict[str, dict[str, list[float]]] = {each.name: {"run": [], "exec": []} for each in all}
    own = []
    for each in all:
        each.run(f"box{all.index(each)}", "--detach", words=("sleep", "100000"))
    for turn in range(runs + 1):
        for number, each in enumerate(all):
            own.append(each.time("--version"))
            run = each.run(f"r{number}", "--rm")
            exec = each.exec(f"box{number}", f"e{turn}")
            if turn:  # The first one fills caches.
                times[each.name]["run"].append(run)
                times[each.name]["exec"].append(exec)
    for number, each in enumerate(all):
        each.remove([f"box{number}"])
    start = statistics.median(own)
    return {
        name: {kind: statistics.median(found) - start for kind, found in kinds.items()}
        for name, kinds in times.items()
    }


def proportional(sandbox_processes: dict[int, str]) -> tuple[int, int]:
    """Return the proportional memory of all shims in KiB, and how many there are."""
    total = count = 0
    for pid, command in sandbox_processes.items():
        if "containerd-shim-" not in command or "nsenter" in command:
            continue
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        count += 1
    return total, count


def memory(each: Contestant, number: int, *flags: str) -> tuple[int, int]:
    """Return what the shims of so many idle containers take, in KiB, and how many shims these are."""
    ids = [f"m{index}" for index in range(number)]
    for id in ids:
        each.run(id, "--detach", *flags, words=("sleep", "100000"))
    time.sleep(3)  # A process that keeps moves into cgroups cheap waits two seconds for the next.
    found = proportional(each.containerd.sandbox.processes())
    each.remove(ids)
    return found


def load(each: Contestant, number: int, present: int) -> execs.Outcome:
    """Add so many processes, with containers present."""
    ids = [f"l{index}" for index in range(present)]
    for id in ids:
        each.run(id, "--detach", words=("sleep", "100000"))
    outcome = execs.play(each.containerd, ids, number, AT_ONCE)
    for line in (*outcome.failures, *outcome.left):
        print(f"{each.name}: {line}", file=sys.stderr)
    each.remove(ids)
    return outcome


def table(heads: str, rows: list[tuple[str, ...]]) -> None:
    """Print a table in Markdown; all columns but the first are numbers."""
    print(f"\n| {heads} |\n|---" + "|---:" * heads.count("|") + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench_shim", description="naja as containerd's shim, and peers.")
    parser.add_argument("--runs", type=int, default=30, help="turns of run and exec")
    parser.add_argument("--containers", type=int, default=100, help="idle containers, measured in memory")
    parser.add_argument("--execs", type=int, default=500, help="processes added, 16 at a time")
    parser.add_argument("--present", type=int, default=50, help="containers that they are added to")
    options = parser.parse_args()
    naja = os.path.abspath(shutil.which(runtime_command()[0]) or "")
    with Engines(os.path.join(os.path.dirname(naja), "containerd-shim-naja-v2")) as engines:
        containerd = engines.containerd()
        stopwatch = Stopwatch(containerd.sandbox)
        all = contestants(containerd, stopwatch, naja)
        if options.runs:
            times = in_turns([*all, idle(containerd, stopwatch)], options.runs)
            rows = [(name, f"{found['run']:.1f}", f"{found['exec']:.1f}") for name, found in times.items()]
            table("ms, without ctr's own | ctr run --rm | ctr tasks exec", list(rows))
        if options.containers:
            print_memory(all, options.containers)
        if options.execs:
            print_load(all, options.execs, options.present)
        stopwatch.close()
    return 0


def print_load(all: list[Contestant], number: int, present: int) -> None:
    """Print what processes take that are added to many containers, many at a time."""
    rows = []
    for each in all:
        outcome = load(each, number, present)
        times = [f"{outcome.percentile(share):.0f}" for share in (50, 99)]
        rows.append((each.name, *times, str(len(outcome.failures)), str(len(outcome.left))))
    heads = f"{number} execs, {AT_ONCE} at a time, {present} containers"
    table(f"{heads} | median ms | p99 ms | failures | left behind", list(rows))


def print_memory(all: list[Contestant], number: int) -> None:
    """Print what the shims of idle containers take: of naja a process each, and one for all; of the last."""
    sizes = [(each.name, *memory(each, number)) for each in (all[0], all[-1])]
    sizes.append((f"{SHIM}, all in one", *memory(all[0], number, "--annotation", f"{GROUP}=all")))
    rows = [
        (name, str(count), f"{total / 1024:.1f}", f"{total / 1024 / number:.2f}")
        for name, total, count in sizes
    ]
    table(f"{number} idle containers | processes | proportional memory, MB | of each", list(rows))


if __name__ == "__main__":
    sys.exit(main())
