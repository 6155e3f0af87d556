"""What is more than an everyday container: many at a time, many mounts, an engine's seccomp profile."""

from __future__ import annotations

import os
import statistics
import sys
import time
from typing import TYPE_CHECKING

from conformance.bench.place import rewrite
from conformance.bench.seccomp import docker_profile
from conformance.bench.subject import Failed
from conformance.bench.table import Table
from conformance.bench.verbs import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.bench.place import Place
    from conformance.bench.subject import Subject
    from conformance.bench.verbs import Verbs

AT_ONCE = 8
MOUNTS = 1000


def heavy(subjects: list[Subject], verbs: Verbs, place: Place, runs: int) -> Table:
    """Return the table of the runs of such containers, in milliseconds. Raises Failed."""
    rows: dict[str, Callable[[Subject], float]] = {
        f"{AT_ONCE} runs at a time": lambda subject: at_once(subject, verbs, place)
    }
    mounts = place.bundle("mounts", "/bin/true")
    volume = os.path.join(place.directory, "volume")
    os.mkdir(volume)
    for number in range(MOUNTS):
        mounts.config["mounts"].append(
            {"destination": f"/mnt/{number}", "type": "bind", "source": volume, "options": ["bind", "ro"]}
        )
    # crun sets the limits first, and then holds a descriptor for each mount.
    mounts.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 4 * MOUNTS, "soft": 4 * MOUNTS}]
    rewrite(mounts)
    rows[f"run, {MOUNTS} mounts"] = lambda subject: run(subject, mounts.path, mounts.id, place)
    if profile := docker_profile(mounts.process["capabilities"]["bounding"]):
        filtered = place.bundle("filtered", "/bin/true")
        filtered.linux["seccomp"] = profile
        filtered.config["mounts"] = mounts.config["mounts"]
        filtered.process["rlimits"] = mounts.process["rlimits"]
        rewrite(filtered)
        name = f"run, {MOUNTS} mounts and Docker's seccomp profile"
        rows[name] = lambda subject: run(subject, filtered.path, filtered.id, place)
    found: dict[str, dict[str, float]] = {}
    for row, measure in rows.items():
        able = [subject for subject in subjects if can(measure, subject, place)]
        times: dict[str, list[float]] = {subject.name: [] for subject in able}
        for _, subject in in_turn(able, runs):
            times[subject.name].append(measure(subject))
        found[row] = {name: statistics.median(taken) for name, taken in times.items()}
    return Table("ms, median", found)


def can(measure: Callable[[Subject], float], subject: Subject, place: Place) -> bool:
    """Tell whether a runtime does this at all, and warm it up."""
    try:
        measure(subject)
    except Failed as error:
        print(f"{subject.name} is left out: {error}", file=sys.stderr)
        place.clean(subject)
        return False
    return True


def run(subject: Subject, bundle: str, id: str, place: Place) -> float:
    """Return the milliseconds of a container from its beginning to its end. Raises Failed."""
    return subject.timed(*place.root(subject), "run", "--bundle", bundle, id)


def at_once(subject: Subject, verbs: Verbs, place: Place) -> float:
    """Return the milliseconds that several runs take together, begun at once. Raises Failed."""
    words = [
        (*place.root(subject), "run", "--bundle", verbs.short.path, place.id(f"o{number}"))
        for number in range(AT_ONCE)
    ]
    began = time.perf_counter()
    running = [subject.start(*each) for each in words]
    statuses = [os.waitpid(pid, 0)[1] for pid in running]
    took = (time.perf_counter() - began) * 1e3
    for each, status in zip(words, statuses, strict=True):
        subject.judge(status, each)
    return took
