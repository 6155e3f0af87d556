"""What a shim itself takes of ``ctr tasks exec``: its calls, made without containerd, and its processor time.

    python -m conformance.bench_shim_calls [--turns N] [--pause SECONDS]

naja's shim, and runc's with crun and runc, take turns. Prints Markdown: medians of the milliseconds from a
call to its answer; "exit" is from the answer of Start to that of Wait. ``--pause`` is what containerd and ctr
take from Exec to Start.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from tests.engines.sandbox import Sandbox
from tests.support import shim
from tests.support.bundle import DEFAULT_CONFIG, Bundle, make_rootfs
from tests.support.command import runtime_command

if TYPE_CHECKING:
    from collections.abc import Callable

_CALLS = ("Exec", "Start", "exit", "Delete")

#: What is added.
_SPEC = {
    "type_url": "types.containerd.io/opencontainers/runtime-spec/1/Process",
    "value": json.dumps(DEFAULT_CONFIG["process"]).encode(),
}

#: What the first turns fill: caches.
_WARM = 2


class Contestant:
    """A shim with one container, in which a process is added again and again."""

    def __init__(self, directory: str, name: str, program: str, **options: str) -> None:
        self.name = name
        os.makedirs(directory)
        self._program = program
        self._containerd = shim.Containerd(directory)
        make_rootfs(os.path.join(directory, "rootfs"))
        id = f"bench{os.path.basename(directory)}"
        bundle = Bundle(os.path.join(directory, id), id, os.path.join(directory, "rootfs"))
        bundle.args("/bin/sleep", "100000")
        os.mkfifo(os.path.join(bundle.path, "log"))
        # Nobody writes to a FIFO before it has a reader.
        self._log = os.open(os.path.join(bundle.path, "log"), os.O_RDWR | os.O_NONBLOCK)
        self.task = self._with_program(lambda: self._containerd.task(bundle, **options))
        self.task.run()
        self._streams: dict[str, Any] = {name: self.task.fifo(name) for name in ("stdin", "stdout", "stderr")}
        self.times: dict[str, list[float]] = {call: [] for call in _CALLS}

    def _with_program(self, do: Callable[[], shim.Task]) -> shim.Task:
        before, shim.program = shim.program, lambda: self._program
        try:
            return do()
        finally:
            shim.program = before

    def exec(self, id: str, pause: float) -> None:
        """Add a process that ends at once."""
        held = [os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in self._streams.values()]
        moments = [time.perf_counter()]
        self.task("Exec", exec_id=id, spec=_SPEC, **self._streams)
        moments.append(time.perf_counter())
        waiting = self.task.begin("Wait", exec_id=id)
        time.sleep(pause)
        paused = time.perf_counter() - moments[-1]
        self.task("Start", exec_id=id)
        moments.append(time.perf_counter() - paused)
        self.task.finish(waiting)
        moments.append(time.perf_counter() - paused)
        self.task("Delete", exec_id=id)
        moments.append(time.perf_counter() - paused)
        for descriptor in held:
            os.close(descriptor)
        for call, begun, ended in zip(_CALLS, moments[:-1], moments[1:], strict=True):
            self.times[call].append((ended - begun) * 1000)

    def processor_time(self) -> float:
        """Return the milliseconds that the shim and those of its children that have ended have taken."""
        with open(f"/proc/{self.task.shim}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * 1000 / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Remove the container; the shim ends with it."""
        self.task("Kill", signal=9)
        self.task("Wait")
        try:
            self.task.delete()
        except EOFError:
            pass  # runc's shim ends before it answers, now and then.
        self.task.close()
        os.close(self._log)


def measure(directory: str, naja: str, turns: int, pause: float) -> None:
    """Let all take turns, and print what that took."""
    all = [Contestant(os.path.join(directory, "naja"), "naja's shim", naja)]
    runcs = shutil.which("containerd-shim-runc-v2")
    for name in ("crun", "runc"):
        if runcs and (path := shutil.which(name)):
            place = os.path.join(directory, name)
            all.append(Contestant(place, f"runc's shim, {name}", runcs, binary_name=path))
    time.sleep(1.5)  # The first shim of naja's makes a nursery.
    before = [each.processor_time() for each in all]
    for turn in range(turns + _WARM):
        for each in all:
            each.exec(f"e{turn}", pause)
            time.sleep(0.03)
    time.sleep(2.5)
    print("| ms | " + " | ".join((*_CALLS, "processor")) + " |\n|---" + "|---:" * (len(_CALLS) + 1) + "|")
    for each, then in zip(all, before, strict=True):
        cells = [f"{statistics.median(each.times[call][_WARM:]):.1f}" for call in _CALLS]
        cells.append(f"{(each.processor_time() - then) / (turns + _WARM):.1f}")
        print("| " + " | ".join((each.name, *cells)) + " |")
        each.close()


def main() -> int:
    """Measure in a sandbox, for crun refuses a v2 tree beside v1 hierarchies."""
    parser = argparse.ArgumentParser(prog="bench_shim_calls", description="The calls of shims.")
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--pause", type=float, default=0.003, help="from Exec to Start, in seconds")
    parser.add_argument("--inside", metavar="SHIM", help=argparse.SUPPRESS)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="naja-calls-")
    try:
        if options.inside:
            measure(directory, options.inside, options.turns, options.pause)
            return 0
        naja = os.path.abspath(shutil.which(runtime_command()[0]) or "")
        inside = os.path.join(os.path.dirname(naja), "containerd-shim-naja-v2")
        words = [sys.executable, "-m", "conformance.bench_shim_calls", "--inside", inside]
        words += ["--turns", str(options.turns), "--pause", str(options.pause)]
        sandbox = Sandbox(directory)
        try:
            command = sandbox.command(["env", f"PYTHONPATH={os.getcwd()}", *words])
            return os.waitstatus_to_exitcode(os.spawnvp(os.P_WAIT, command[0], command) << 8)
        finally:
            sandbox.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
