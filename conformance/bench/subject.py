"""A runtime that is measured, and what a command of it costs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache

from conformance.bench.counter import Counter
from tests.support.command import runtime_command

#: A small program that tells the most memory that a command had.
TIME = (shutil.which("busybox") or "busybox", "time", "-f", "%M")


@cache
def unit() -> int:
    """Return how many times too much that program says: some versions take KiB for pages."""
    code = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    done = subprocess.run([*TIME, sys.executable, "-IS", "-c", code], capture_output=True, check=True)
    return round(int(done.stderr) / int(done.stdout))


class Failed(Exception):
    """A runtime's command failed, so that there is nothing to compare; the text says which."""


@dataclass(frozen=True)
class Cost:
    """What a command took until it ended; what it has left behind is not waited for."""

    #: Milliseconds.
    wall: float
    #: Milliseconds of all processors, its children's that it waited for included.
    cpu: float
    #: Pages that it touched first, or again after a fork.
    faults: int
    #: Instructions in user mode, its children's included; None where the processor does not count.
    instructions: int | None = None

    def __add__(self, other: Cost) -> Cost:
        counted = None
        if self.instructions is not None and other.instructions is not None:
            counted = self.instructions + other.instructions
        return Cost(self.wall + other.wall, self.cpu + other.cpu, self.faults + other.faults, counted)


class Subject:
    """A runtime by the name that it has in the tables, and the beginning of its command line."""

    def __init__(self, name: str, command: list[str]) -> None:
        program = shutil.which(command[0])
        if program is None:
            raise Failed(f"{command[0]} is not there")
        self.name = name
        # A shell's look-up of the program is no part of the runtime's time.
        self.command = [program, *command[1:]]

    def start(self, *words: str, before: tuple[str, ...] = ()) -> int:
        """Start a command, ``before`` the words of another one that runs it; return its pid."""
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        ]
        argv = [*before, *self.command, *words]
        return os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)

    def cost(self, *words: str) -> Cost:
        """Run a command to its end. Raises Failed."""
        counter = Counter.instructions()
        with counter:
            began = time.perf_counter()
            _, status, usage = os.wait4(self.start(*words), 0)
            wall = (time.perf_counter() - began) * 1e3
        self.judge(status, words)
        cpu = (usage.ru_utime + usage.ru_stime) * 1e3
        return Cost(wall, cpu, usage.ru_minflt + usage.ru_majflt, counter.value)

    def timed(self, *words: str) -> float:
        """Run a command to its end; return the milliseconds it took. Raises Failed."""
        return self.cost(*words).wall

    def peak(self, *words: str) -> int:
        """Return the most memory, in KiB, that one of a command's processes had at a time. Raises Failed.

        A child that has not become its program counts with what it shares with its parent, so a small
        program starts the command: this one's memory is not to be seen.
        """
        with tempfile.NamedTemporaryFile(mode="r", prefix="naja-bench-") as file:
            before = (*TIME, "-o", file.name)
            _, status = os.waitpid(self.start(*words, before=before), 0)
            self.judge(status, words)
            return int(file.read()) // unit()

    def judge(self, status: int, words: tuple[str, ...]) -> None:
        """Raise Failed where a command did not end well."""
        if status:
            code = os.waitstatus_to_exitcode(status)
            raise Failed(f"{' '.join([*self.command, *words])} ended with {code}")


def subjects_named(words: list[str]) -> list[Subject]:
    """Make subjects of NAME=COMMAND words, where none are given of naja, runc and crun."""
    if not words:
        words = [f"naja={' '.join(runtime_command())}", "runc=runc", "crun=crun"]
    found = []
    for word in words:
        name, _, command = word.partition("=")
        try:
            found.append(Subject(name, (command or name).split()))
        except Failed as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found
