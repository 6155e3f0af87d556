"""Runs a program that nobody trusts: little time, memory, processes and output, no network, no privileges.

    python sandbox.py [--seconds 5] [--memory 64m] [--processes 16] [--output 65536] PROGRAM [ARGUMENT...]

The program is one of this machine's; what it reads comes from standard input. It sees the machine's programs
and libraries, read-only, and empty directories that go with it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import IO, NamedTuple

import naja
from naja.types import Seccomp

#: Nobody: a user without files.
NOBODY = 65534

#: What no such program needs, and what holes of kernels were reached by.
FILTER: Seccomp = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {
            "names": [
                *("add_key", "bpf", "clone3", "io_uring_setup", "keyctl", "mount", "move_mount", "open_tree"),
                *("perf_event_open", "ptrace", "request_key", "setns", "unshare", "userfaultfd"),
            ],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 38,  # ENOSYS: for clone3 the C library has another way then.
        }
    ],
}


class Verdict(NamedTuple):
    """What came of it; ``returncode`` is 128 + N where signal N ended it."""

    returncode: int
    stdout: bytes
    stderr: bytes
    in_time: bool


def run(
    args: list[str],
    *,
    stdin: IO[bytes] | int = naja.DEVNULL,
    seconds: float = 5.0,
    memory: str = "64m",
    processes: int = 16,
    output: int = 1 << 16,
) -> Verdict:
    """Run a program; it may write ``output`` bytes to each file. Raises naja.NajaError."""
    bundle = (
        naja.Bundle.from_host(*args)
        .user(NOBODY)
        .capabilities()
        .limit(memory=memory, pids=processes, cpus=1)
        .rlimit("RLIMIT_FSIZE", output)
        .rlimit("RLIMIT_CORE", 0)
        .env(HOME="/tmp", LANG="C.UTF-8")
        .cwd("/tmp")
    )
    bundle.config["linux"]["seccomp"] = FILTER
    with (
        tempfile.TemporaryDirectory() as directory,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        path = bundle.write(Path(directory) / "bundle")
        try:
            # The kernel itself keeps these files as small as they are to be.
            code = naja.run(None, path, stdin=stdin, stdout=out, stderr=err, timeout=seconds).returncode
            in_time = True
        except naja.TimeoutExpired:
            code, in_time = 128 + 9, False
        out.seek(0)
        err.seek(0)
        return Verdict(code, out.read(), err.read(), in_time)


def main() -> int:
    """Run what the command line says, and show its output; return its exit code, 124 if it was too slow."""
    parser = argparse.ArgumentParser(description="Run a program that nobody trusts.")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--memory", default="64m")
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--output", type=int, default=1 << 16)
    parser.add_argument("program", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    verdict = run(
        options.program,
        stdin=sys.stdin.buffer,
        seconds=options.seconds,
        memory=options.memory,
        processes=options.processes,
        output=options.output,
    )
    sys.stdout.buffer.write(verdict.stdout)
    sys.stderr.buffer.write(verdict.stderr)
    return verdict.returncode if verdict.in_time else 124


if __name__ == "__main__":
    sys.exit(main())
