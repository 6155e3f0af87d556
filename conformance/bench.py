"""How fast naja is beside its peers: each verb of runc, crun and naja, timed in turn on one bundle.

    python -m conformance.bench [--runs N] [--runtime NAME=COMMAND ...]

Prints a Markdown table of medians in milliseconds and of naja's ratios to each peer; needs root.
Every runtime sees the same host: a private mount namespace without the v2 tree of a hybrid cgroup
layout, which crun 1.8 refuses.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field

from tests.support.bundle import Bundle, make_rootfs
from tests.support.command import runtime_command
from tests.support.leaks import become_subreaper

CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x00020000, 0x4000, 1 << 18, 2
UNIFIED = "/sys/fs/cgroup/unified"

#: Rows of the table; the last is the sum of three timed commands.
VERBS = ("create", "start", "state", "exec", "kill", "delete", "run", "create+start+delete --force")


class Failed(Exception):
    """A runtime's command failed, so that there is nothing to compare; the text says which."""


@dataclass
class Subject:
    """A runtime that is measured, and its times in milliseconds by row of the table."""

    name: str
    command: list[str]
    times: dict[str, list[float]] = field(default_factory=lambda: {verb: [] for verb in VERBS})

    def __post_init__(self) -> None:
        program = shutil.which(self.command[0])
        if program is None:
            raise Failed(f"{self.command[0]} is not there")
        # A shell's look-up of the program is no part of the runtime's time.
        self.command = [program, *self.command[1:]]

    def timed(self, *words: str) -> float:
        """Run a command to its end; return the milliseconds it took. Raises Failed."""
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        ]
        argv = [*self.command, *words]
        began = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        took = (time.perf_counter() - began) * 1e3
        if status:
            raise Failed(f"{' '.join(argv)} ended with {os.waitstatus_to_exitcode(status)}")
        return took


def measure(subject: Subject, short: Bundle, long: Bundle) -> None:
    """Take one time of every row. ``short`` is a bundle that ends at once, ``long`` one that does not."""
    times = subject.times
    root = ("--root", os.path.join(os.path.dirname(short.path), f"state-{subject.name}"))
    pid_file = os.path.join(os.path.dirname(short.path), "pid")

    times["run"].append(subject.timed(*root, "run", "--bundle", short.path, short.id))

    create = (*root, "create", "--bundle", long.path, "--pid-file", pid_file, long.id)
    times["create"].append(subject.timed(*create))
    times["start"].append(subject.timed(*root, "start", long.id))
    times["state"].append(subject.timed(*root, "state", long.id))
    times["exec"].append(subject.timed(*root, "exec", long.id, "/bin/true"))
    times["kill"].append(subject.timed(*root, "kill", long.id, "KILL"))
    reap(pid_file)
    times["delete"].append(subject.timed(*root, "delete", long.id))

    whole = subject.timed(*create) + subject.timed(*root, "start", long.id)
    whole += subject.timed(*root, "delete", "--force", long.id)
    times["create+start+delete --force"].append(whole)
    reap(pid_file)


def reap(pid_file: str) -> None:
    """Wait for the container's process, which as an orphan has become a child of this one."""
    with open(pid_file) as file:
        os.waitpid(int(file.read()), 0)


def hide_unified() -> bool:
    """Enter a private mount namespace without the v2 tree of a hybrid layout; True where there was one.

    A file system of this namespace's own takes its place: the peers make directories there all the same.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    hybrid = os.path.ismount(UNIFIED)
    place = UNIFIED.encode()
    if (
        libc.unshare(CLONE_NEWNS)
        or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
        or (hybrid and (libc.umount2(place, MNT_DETACH) or libc.mount(b"none", place, b"tmpfs", 0, None)))
    ):
        number = ctypes.get_errno()
        raise Failed(f"a private mount namespace: {os.strerror(number)}")
    return hybrid


def table(subjects: list[Subject]) -> str:
    """Return the medians and the first subject's ratio to each other one as a Markdown table."""
    first, peers = subjects[0], subjects[1:]
    ratios = [f"{first.name}/{peer.name}" for peer in peers]
    lines = [
        "| ms, median | " + " | ".join([subject.name for subject in subjects] + ratios) + " |",
        "|---|" + "---:|" * (len(subjects) + len(peers)),
    ]
    for verb in VERBS:
        medians = [statistics.median(subject.times[verb]) for subject in subjects]
        cells = [f"{median:.1f}" for median in medians]
        cells += [f"{medians[0] / median:.2f}" for median in medians[1:]]
        lines.append(f"| {verb} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bench(subjects: list[Subject], runs: int, directory: str) -> list[Subject]:
    """Measure all subjects in turn, ``runs`` times after one for warming up; return those that work."""
    rootfs = os.path.join(directory, "rootfs")
    make_rootfs(rootfs)
    short = Bundle(os.path.join(directory, "short"), f"bench{os.getpid()}s", rootfs).args("/bin/true")
    long = Bundle(os.path.join(directory, "long"), f"bench{os.getpid()}l", rootfs)
    long.args("/bin/sleep", "1000")
    working = []
    for subject in subjects:
        try:
            measure(subject, short, long)
            working.append(subject)
        except Failed as error:
            print(f"{subject.name} is left out: {error}", file=sys.stderr)
            clean(subject, (short, long))
    for subject in working:
        subject.times = {verb: [] for verb in VERBS}
    try:
        for number in range(runs):
            # Nobody always follows the same neighbour, nor is always the first after a pause.
            turn = number % len(working) if working else 0
            for subject in working[turn:] + working[:turn]:
                measure(subject, short, long)
    except BaseException:
        for subject in working:
            clean(subject, (short, long))
        raise
    return working


def clean(subject: Subject, bundles: tuple[Bundle, ...]) -> None:
    """Remove what a runtime that failed half-way may have left."""
    for bundle in bundles:
        root = os.path.join(os.path.dirname(bundle.path), f"state-{subject.name}")
        try:
            subject.timed("--root", root, "delete", "--force", bundle.id)
        except Failed as error:
            print(error, file=sys.stderr)


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


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="bench", description="Time naja beside runc and crun.")
    parser.add_argument("--runs", type=int, default=30, help="rounds per runtime (default: 30)")
    parser.add_argument(
        "--runtime", action="append", default=[], metavar="NAME=COMMAND", help="measure this (repeatable)"
    )
    options = parser.parse_args()
    # Ended by a signal, the bench cleans up as it does after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    become_subreaper()
    try:
        hybrid = hide_unified()
        with tempfile.TemporaryDirectory(prefix="naja-bench-") as directory:
            working = bench(subjects_named(options.runtime), options.runs, directory)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if not working:
        print("bench: nothing to measure", file=sys.stderr)
        return 1
    load = os.getloadavg()[0]
    if load > (os.cpu_count() or 1):
        print(f"bench: the load is {load:.1f}, the machine has other things to do", file=sys.stderr)
    layout = "cgroup v1 (the v2 tree of the hybrid layout hidden)" if hybrid else "as the host is"
    print(f"{options.runs} rounds, {os.cpu_count()} cores, Linux {os.uname().release}, {layout}\n")
    print(table(working))
    return 0


if __name__ == "__main__":
    sys.exit(main())
