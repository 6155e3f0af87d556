"""Where the time of ``run`` goes: what passes between a few system calls, as strace(1) sees them."""

from __future__ import annotations

import os
import re
import shutil
import statistics
from typing import TYPE_CHECKING

from conformance.bench.subject import Failed
from conformance.bench.verbs import in_turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.bench.place import Place
    from conformance.bench.subject import Subject
    from conformance.bench.verbs import Verbs

#: Parts of a run in their order, each with the call that it ends with, and whose call that is.
PARTS = (
    ("launcher, sealing", "runtime", re.compile(r"execve(at)?\(")),
    ("start", "runtime", re.compile(r"openat\(.*/precompiled\.")),
    ("imports", "runtime", re.compile(r'open(at)?\(.*config\.json"')),
    ("config, plan, cgroups", "", re.compile(r"(clone3?|vfork)\((?!.*CLONE_THREAD)")),
    ("namespaces, mounts, identity", "", re.compile(r'execve(at)?\(.*"/bin/true"(?!.*ENOENT)')),
    ("the program", "program", re.compile(r"\+\+\+ exited with")),
    ("taking it away", "runtime", re.compile(r"\+\+\+ exited with")),
)
#: What comes before config.json, if at all: not everything has a launcher, or imports its modules one day.
OPTIONAL = ("launcher, sealing", "start")
_CONFIG = PARTS[2][2]
_CALLS = "trace=execve,execveat,open,openat,clone,clone3,vfork"
_LINE = re.compile(r"(\d+) +([0-9.]+) (.*)")


def timelines(subjects: list[Subject], verbs: Verbs, place: Place, runs: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of each part of a run by runtime; {} without strace. Raises Failed."""
    tracer = shutil.which("strace")
    if tracer is None:
        return {}
    log = os.path.join(place.directory, "strace")
    before = (tracer, "--follow-forks", "--seccomp-bpf", "-ttt", "-e", _CALLS, "-o", log)
    found: dict[str, dict[str, list[float]]] = {subject.name: {} for subject in subjects}
    for number, subject in in_turn(subjects, runs + 1):
        words = (*place.root(subject), "run", "--bundle", verbs.short.path, verbs.short.id)
        _, status = os.waitpid(subject.start(*words, before=before), 0)
        subject.judge(status, words)
        with open(log, errors="replace") as file:
            parts = split(file)
        if number:
            for part, took in parts.items():
                found[subject.name].setdefault(part, []).append(took)
    return {name: {p: statistics.median(times) for p, times in by.items()} for name, by in found.items()}


def split(lines: Iterable[str]) -> dict[str, float]:
    """Return the milliseconds of each part that a trace has. Raises Failed where it is of no run."""
    calls = [match.groups() for line in lines if (match := _LINE.match(line))]
    parts: dict[str, float] = {}
    if not calls:
        raise Failed("strace says nothing")
    (runtime, start, _), *calls = calls
    actors, before = {"runtime": runtime}, float(start)
    for part, actor, pattern in PARTS:
        for index, (pid, when, text) in enumerate(calls):
            if part in OPTIONAL and _CONFIG.search(text):
                break
            if pattern.search(text) and actors.get(actor, pid) == pid:
                name = part if part != "imports" or "start" in parts else "start"
                parts[name], before = (float(when) - before) * 1e3, float(when)
                actors["program"] = pid
                del calls[: index + 1]
                break
    if len(parts) < len(PARTS) - len(OPTIONAL):
        raise Failed(f"strace has seen no run, but {', '.join(parts)}")
    return parts
