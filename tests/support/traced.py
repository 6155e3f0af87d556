"""A command that stands still after one of its system calls, so that the world can change in between."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from tests.support.command import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: A system call by its name, and the how-many-th of that name it is in its process.
Point = tuple[str, int]

#: What strace writes of a process that stands still.
_STOPPED = re.compile(r"^(\d+) +--- stopped by SIGSTOP ---$", re.MULTILINE)


def points(argv: list[str], log: Path, after: str) -> list[Point]:
    """Run a command under strace to its end; return the system calls that follow one with ``after`` in it.

    ``log`` is written by strace.
    """
    words = ["strace", "-f", "-qq", "-o", str(log), *argv]
    subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
    counts: dict[tuple[str, str], int] = {}
    found: dict[Point, None] = {}
    seen = False
    for line in log.read_text(errors="replace").splitlines():
        call = re.match(r"(\d+) +(\w+)\(", line)
        if call:
            pid, name = call.groups()
            counts[pid, name] = counts.get((pid, name), 0) + 1
            if seen:
                found[name, counts[pid, name]] = None
        seen = seen or after in line
    return list(found)


def interrupted(
    argv: list[str], log: Path, point: Point, act: Callable[[], None], timeout: float = 60
) -> Result:
    """Run a command; where it has made a system call it stands still, until ``act`` was called.

    Each of its processes counts its own calls, and stands still at its own; ``act`` is called once.
    """
    name, number = point
    log.unlink(missing_ok=True)
    words = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={name}"]
    words += ["-e", f"inject={name}:signal=SIGSTOP:when={number}", *argv]
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    released = 0
    end = time.monotonic() + timeout
    try:
        while process.poll() is None:
            stopped = _STOPPED.findall(log.read_text(errors="replace")) if log.exists() else []
            if stopped and not released:
                act()
            for pid in stopped[released:]:
                _send(pid, signal.SIGCONT)
            released = len(stopped)
            assert time.monotonic() < end, f"{' '.join(argv)} takes too long: {log.read_text()}"
            time.sleep(0.005)
    finally:
        if process.poll() is None:
            process.kill()
            for pid in set(re.findall(r"^(\d+) ", log.read_text(errors="replace"), re.MULTILINE)):
                _send(pid, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=10)
    result = Result(argv, process.returncode, stdout, stderr)
    assert "Traceback (most recent call last)" not in stdout + stderr, str(result)
    return result


def _send(pid: str, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(pid), number)
