"""How fast and how large naja is beside its peers, all measured in turn on one bundle.

    python -m conformance.bench                     the verbs, their memory, and heavy containers
    python -m conformance.bench --picture run.svg   and a picture of where the time of `run` goes
    python -m conformance.bench --many --drift      what must not change; long

Prints Markdown tables of medians and of naja's ratios to each peer (`--json`: all as JSON); needs root.
Every runtime sees the same host: a private mount namespace with /run in memory, and without the v2 tree of a
hybrid cgroup layout, which crun 1.8 refuses.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import Any

from conformance.bench.counter import counts_instructions
from conformance.bench.heavy import heavy
from conformance.bench.many import PRESENT, RUNS, drift, present
from conformance.bench.memory import created
from conformance.bench.picture import picture
from conformance.bench.place import Place, hide_unified
from conformance.bench.subject import Failed, Subject, subjects_named
from conformance.bench.table import Table
from conformance.bench.timeline import timelines
from conformance.bench.verbs import Verbs
from tests.support.leaks import become_subreaper

#: Rounds of what is steady, or takes long.
FEW = 5


def working(subjects: list[Subject], verbs: Verbs, place: Place) -> list[Subject]:
    """Return the runtimes that can do what is measured."""
    found = []
    for subject in subjects:
        try:
            verbs.live(subject, subject.cost)
            found.append(subject)
        except Failed as error:
            print(f"{subject.name} is left out: {error}", file=sys.stderr)
            place.clean(subject)
    return found


def measure(
    subjects: list[Subject], verbs: Verbs, place: Place, options: argparse.Namespace
) -> tuple[list[Table], list[str]]:
    """Measure what the command line asks for; return tables, and complaints. Raises Failed."""
    if options.many or options.drift:
        tables, complaints = [], []
        for subject in subjects if options.peers else subjects[:1]:
            found = [present(subject, verbs, place, options.runs)] if options.many else []
            found += [drift(subject, verbs, place)] if options.drift else []
            for table, what in found:
                tables.append(table)
                complaints += what
        return tables, complaints
    tables = verbs.costs(subjects, options.runs)
    few = min(FEW, options.runs)
    tables += [verbs.peaks(subjects, few), created(subjects, verbs, place)]
    tables += [heavy(subjects, verbs, place, few)]
    if options.picture:
        parts = timelines(subjects, verbs, place, options.runs)
        if not parts:
            raise Failed("a picture takes strace")
        with open(options.picture, "w") as file:
            file.write(picture(parts, f"run: milliseconds under strace, {machine()}"))
        rows = {part: {name: by[part] for name, by in parts.items() if part in by} for part in _parts(parts)}
        tables.append(Table("ms of run under strace, median", rows, ratios=False))
    return tables, []


def _parts(parts: dict[str, dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(part for by in parts.values() for part in by))


def machine() -> str:
    """Return what was measured on, in words."""
    return f"{os.cpu_count()} cores, Linux {os.uname().release}"


def report(tables: list[Table], complaints: list[str], options: argparse.Namespace, hybrid: bool) -> None:
    """Print what was found."""
    layout = "cgroup v1 (the v2 tree of the hybrid layout hidden)" if hybrid else "as the host is"
    if options.json:
        data: dict[str, Any] = {
            "machine": {"cores": os.cpu_count(), "kernel": os.uname().release, "cgroups": layout},
            "rounds": options.runs,
            "instructions": counts_instructions(),
            "tables": [table.plain() for table in tables],
            "complaints": complaints,
        }
        print(json.dumps(data, indent=1))
        return
    print(f"{options.runs} rounds, {machine()}, {layout}")
    if not counts_instructions():
        print("This machine does not count instructions.")
    for table in tables:
        print(f"\n{table.markdown()}")
    for complaint in complaints:
        print(f"\n{complaint}", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure naja beside runc and crun.")
    parser.add_argument("--runs", type=int, default=30, help="rounds per runtime (default: 30)")
    parser.add_argument(
        "--runtime", action="append", default=[], metavar="NAME=COMMAND", help="measure this (repeatable)"
    )
    parser.add_argument("--json", action="store_true", help="print all as JSON")
    parser.add_argument(
        "--picture", metavar="FILE", help="draw where the time of run goes: SVG; takes strace"
    )
    parser.add_argument(
        "--many", action="store_true", help=f"no verb is slower beside {PRESENT} containers; naja only"
    )
    parser.add_argument(
        "--drift", action="store_true", help=f"the last of {RUNS} runs cost what the first did; naja only"
    )
    parser.add_argument("--peers", action="store_true", help="--many and --drift for all runtimes")
    return parser


def main() -> int:
    """Measure and print; returns the exit code, 1 also where something is not as it must be."""
    options = parser().parse_args()
    # Ended by a signal, the bench cleans up as it does after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    become_subreaper()
    try:
        hybrid = hide_unified()
        with Place.made() as place:
            verbs = Verbs(place)
            subjects = working(subjects_named(options.runtime), verbs, place)
            if not subjects:
                raise Failed("nothing to measure")
            try:
                tables, complaints = measure(subjects, verbs, place, options)
            except BaseException:
                for subject in subjects:
                    place.clean(subject)
                raise
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    load = os.getloadavg()[0]
    if load > (os.cpu_count() or 1):
        print(f"bench: the load is {load:.1f}, the machine has other things to do", file=sys.stderr)
    report(tables, complaints, options, hybrid)
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
