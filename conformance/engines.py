"""The matrix of engines: what works behind each of them with naja, and with runc and crun.

    python -m conformance.engines [--runtime NAME=PROGRAM ...] [--engine NAME ...] [--scenario NAME ...]

Prints what took part, a Markdown table, scenario by engine, in each cell the runtimes side by side, and
the reason of each failure below it; needs root, and Debian's containerd, docker.io, podman, buildah,
containernetworking-plugins, iptables, uidmap and busybox-static. Ends with 1 where the first runtime
fails in what another one passes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import traceback

from tests.engines.catalogue import CATALOGUE, Engines
from tests.engines.shims import type_of
from tests.support.command import runtime_command

#: The last: it passed, but something stayed on the host.
PASSED, FAILED, LEFT = "✓", "✗", "†"

#: The outcome of a cell: one of the above, and why.
Outcome = tuple[str, str]
#: By engine, scenario and runtime.
Outcomes = dict[tuple[str, str, str], Outcome]


def play(engines: Engines, engine: str, scenario: str) -> Outcome:
    """Play a scenario; a failure is an outcome."""
    try:
        left = engines.play(engine, scenario)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return FAILED, f"{type(error).__name__}: {error} ({place.line})"
    return (LEFT, "left behind: " + "; ".join(left)) if left else (PASSED, "")


def play_twice(engines: Engines, engine: str, scenario: str) -> Outcome:
    """Play a scenario, and once more if it did not pass: on a busy machine something may take too long."""
    outcome = play(engines, engine, scenario)
    if outcome[0] == PASSED:
        return outcome
    print(f"played again: {engine}, {scenario}: {outcome[1]}", file=sys.stderr, flush=True)
    return play(engines, engine, scenario)


def measure(runtimes: dict[str, str], chosen: list[str], scenarios: list[str], *, brief: bool) -> Outcomes:
    """Play everything with each runtime, in a sandbox for each.

    ``brief`` spares the peers what the first one passes; nobody does better in that.
    """
    first = next(iter(runtimes))
    outcomes: Outcomes = {}
    for runtime, program in runtimes.items():
        wanted = {
            name: [
                scenario
                for scenario in CATALOGUE[name].scenarios
                if not CATALOGUE[name].missing(program)
                if not scenarios or scenario in scenarios
                if not brief or outcomes.get((name, scenario, first), ("",))[0] != PASSED
            ]
            for name in chosen
        }
        if any(wanted.values()):
            play_all(runtime, program, wanted, outcomes)
    return outcomes


def play_all(runtime: str, program: str, wanted: dict[str, list[str]], outcomes: Outcomes) -> None:
    """Play scenarios, by engine, with a runtime; add what came of them."""
    with Engines(program) as engines:
        for name, scenarios in wanted.items():
            dead = ""
            try:
                if scenarios:
                    engines.engine(name)
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                dead = f"{name} does not start with {runtime}: {error}"
                print(dead, file=sys.stderr, flush=True)
            for scenario in scenarios:
                outcome = (FAILED, dead) if dead else play_twice(engines, name, scenario)
                outcomes[name, scenario, runtime] = outcome
                print(f"{runtime:8} {name:22} {scenario:36} {outcome[0]}", file=sys.stderr, flush=True)


def table(outcomes: Outcomes, chosen: list[str], runtimes: list[str]) -> str:
    """Return the matrix as a Markdown table; an empty cell is a thing that the engine does not have."""
    lines = ["| " + ", ".join(runtimes) + " | " + " | ".join(chosen) + " |", "|---|" + ":---:|" * len(chosen)]
    for scenario in dict.fromkeys(scenario for _, scenario, _ in outcomes):
        cells = []
        for engine in chosen:
            found = [outcomes.get((engine, scenario, runtime)) for runtime in runtimes]
            cells.append(" ".join(outcome[0] if outcome else "-" for outcome in found) if any(found) else "")
        lines.append(f"| {scenario} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def versions(runtimes: dict[str, str]) -> str:
    """Return the first line of what each program that takes part says of its version."""
    found = []
    for program in (*runtimes.values(), "containerd", "dockerd", "podman", "conmon", "buildah"):
        if path := shutil.which(program):
            flag = "-v" if type_of(path) else "--version"
            done = subprocess.run([path, flag], capture_output=True, text=True, check=False)
            found += (done.stdout or done.stderr).splitlines()[:1]
    return "\n".join([*found, f"Linux {os.uname().release}"])


def reasons(outcomes: Outcomes) -> list[str]:
    """Return a line of Markdown for each failure."""
    lines = []
    for (engine, scenario, runtime), (verdict, why) in outcomes.items():
        if verdict != PASSED:
            lines.append(f"- {engine}, {scenario}, {runtime}: {' '.join(why.split())[-400:]}")
    return lines


def worse(outcomes: Outcomes, first: str) -> list[str]:
    """Return what the first runtime fails in and some other one passes."""
    return [
        f"{engine}: {scenario}"
        for (engine, scenario, runtime), (verdict, _) in outcomes.items()
        if runtime == first and verdict != PASSED
        if any(key[:2] == (engine, scenario) and outcome[0] == PASSED for key, outcome in outcomes.items())
    ]


def shim() -> str:
    """Return containerd's shim beside naja, which may not be there."""
    naja = shutil.which(runtime_command()[0]) or ""
    return os.path.join(os.path.dirname(naja), "containerd-shim-naja-v2")


def programs(words: list[str]) -> dict[str, str]:
    """Return the paths of NAME=PROGRAM words, of naja, runc and crun where none are given."""
    found = {}
    for word in words or [f"naja={runtime_command()[0]}", f"shim={shim()}", "runc=runc", "crun=crun"]:
        name, _, program = word.partition("=")
        path = shutil.which(program or name)
        if path is None:
            print(f"{name} is left out: {program or name} is not there", file=sys.stderr)
        else:
            found[name] = path
    return found


def main() -> int:
    """Play, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="engines", description="Play scenarios behind real engines.")
    parser.add_argument("--runtime", action="append", default=[], metavar="NAME=PROGRAM", help="repeatable")
    parser.add_argument("--engine", action="append", default=[], choices=list(CATALOGUE), help="repeatable")
    parser.add_argument("--scenario", action="append", default=[], metavar="NAME", help="repeatable")
    parser.add_argument("--brief", action="store_true", help="peers play only what the first one fails in")
    options = parser.parse_args()
    runtimes = programs(options.runtime)
    chosen = []
    for name in options.engine or CATALOGUE:
        if missing := CATALOGUE[name].missing():
            print(f"{name} is left out: it needs {', '.join(missing)}", file=sys.stderr)
        else:
            chosen.append(name)
    if not runtimes or not chosen:
        return 1
    outcomes = measure(runtimes, chosen, options.scenario, brief=options.brief)
    print(versions(runtimes), table(outcomes, chosen, list(runtimes)), sep="\n\n")
    print("", *reasons(outcomes), sep="\n")
    return 1 if worse(outcomes, next(iter(runtimes))) else 0


if __name__ == "__main__":
    sys.exit(main())
