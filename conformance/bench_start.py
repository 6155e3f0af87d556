"""What each part of ``runtime/startup`` saves: the same verbs with one of them switched off at a time.

    python -m conformance.bench_start [--runs N]

Prints a Markdown table of medians in milliseconds, and what is lost without the part; needs root. The dump
has all others but the steps in it: they are switched off where there are neither, and compared to that. Each
variant is a copy of the package in a directory of its own, with a command of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from conformance.bench.place import hide_unified
from conformance.bench.subject import Failed, Subject
from conformance.bench.verbs import in_turn
from naja.startup import precompiled
from tests.support.bundle import Bundle, make_rootfs
from tests.support.leaks import become_subreaper

#: The verbs that are timed: one that only looks, one that makes a container, one that joins it.
VERBS = ("state", "run", "exec")

#: Writes the command of a copy; what a variant does before and after stands around it.
_WRITE = """\
import sys
sys.path.insert(0, sys.argv[1])
from naja.linux import libc
from naja.startup import launcher, precompile, precompiled, strip
import ast, os
def change(name, old, new):
    path = os.path.join(precompiled.PACKAGE, name)
    with open(path) as file:
        text = file.read()
    assert old in text, f"{name} has changed: {old}"
    with open(path, "w") as file:
        file.write(text.replace(old, new))
NATIVE = True
"""
_WRITTEN = "launcher.write(sys.argv[2], native=NATIVE)\n"
_WITHOUT_DUMP = "if os.path.exists(launcher._WARM): os.unlink(launcher._WARM)\n"

#: Otherwise ``state`` would tell nothing of Python.
_WITHOUT_STEPS = (
    'change("startup/native/launcher.c", "take_steps(arguments + 4, environment, count)", "-1")\n'
)

_PIPS_SCRIPT = """\
with open(sys.argv[2], "w") as file:
    file.write(f"#!{sys.executable}\\nimport sys\\nsys.path.insert(0, {sys.argv[1]!r})\\n")
    file.write("from naja.cli.main import main\\nmain()\\n")
"""


@dataclass(frozen=True)
class Variant:
    """naja without one part of its start: ``before`` and ``after`` the command is written, in Python."""

    name: str
    file: str
    before: str = ""
    after: str = ""


VARIANTS = (
    Variant("with all", ""),
    Variant("steps instead of Python", "steps.py, native/steps.c"),
    Variant("the dump", "dump.py, native/dump.c, json.c"),
    Variant("pip's script", "launcher.py", after=_PIPS_SCRIPT),
    Variant("a script, not a program", "native/launcher.c", before="NATIVE = False\n"),
    Variant(
        "the program with a C library",
        "native/launcher.c (BARE)",
        before='launcher._BARE = ["-static"]\n',
    ),
    Variant("all of Python's start", "native/interpreter.c, early.py", after="os.unlink(launcher._EARLY)\n"),
    Variant(
        "no early move into a cgroup",
        "native/launcher.c (warm_up), warmup.py",
        before='change("startup/native/launcher.c", "follow(WARM_UP, values, 0);", ";")\n',
    ),
    Variant(
        "_ctypes, not the door",
        "native/kernel.c",
        before='change("linux/libc.py", "if \\"_kernel\\" in", "if False and \\"_kernel\\" in")\n',
        after="os.unlink(libc.FILE)\n",
    ),
    Variant(
        "a fork for every init",
        "native/kernel.c (birth)",
        before='change("linux/birth.py", "if libc.birth is None or", "if True or")\n',
    ),
    Variant("each module from its own file", "precompiled.py", after="os.unlink(precompiled.FILE)\n"),
    Variant("modules one by one", "precompiled.py (preload)", before="precompile._GROUPS = {}\n"),
    Variant(
        # They take a module that a half-started Python has not.
        "docstrings and annotations (and so all of Python's start)",
        "strip.py",
        before="precompile.stripped = lambda path, package: ast.fix_missing_locations(strip.shortened("
        "strip._Absolute(package).visit(ast.parse(open(path).read(), path))))\n",
        after="os.unlink(launcher._EARLY)\n",
    ),
    Variant("Python's own os", "quick/", before="strip.shortened = lambda tree: tree\n"),
)


def build(variant: Variant, directory: str) -> Subject:
    """Make a copy of the package with a command for a variant. Raises Failed."""
    home = os.path.join(directory, variant.name.replace(" ", "-"))
    shutil.copytree(precompiled.PACKAGE, f"{home}/naja", ignore=shutil.ignore_patterns("__pycache__"))
    number = VARIANTS.index(variant)
    program = _WRITE + _WITHOUT_STEPS * (number > 0) + variant.before + _WRITTEN + variant.after
    program += _WITHOUT_DUMP * (number > 1)
    command = [sys.executable, "-c", program, home, f"{home}/command"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{variant.name}: {done.stderr}")
    return Subject(variant.name, [f"{home}/command"])


Times = dict[str, dict[str, list[float]]]


def measure(subject: Subject, bundle: Bundle, root: str, running: str) -> dict[str, float]:
    """Return one time of every verb; ``running`` is a container that runs."""
    return {
        "state": subject.timed("--root", root, "state", running),
        "run": subject.timed("--root", root, "run", "--bundle", bundle.path, bundle.id),
        "exec": subject.timed("--root", root, "exec", running, "/bin/true"),
    }


def table(times: Times) -> str:
    """Return a Markdown table: for each variant the medians, and what they are more than with the part."""
    lines = [
        "| without | in startup/ | " + " | ".join(f"{verb} | loses" for verb in VERBS) + " |",
        "|---|---|" + "---:|" * (2 * len(VERBS)),
    ]
    for variant in VARIANTS:
        cells = []
        for verb in VERBS:
            base = VARIANTS[max(min(VARIANTS.index(variant) - 1, 2), 0)]
            median, whole = (statistics.median(times[name][verb]) for name in (variant.name, base.name))
            cells += [f"{median:.1f}", f"{median - whole:+.1f}"]
        lines.append(f"| {variant.name} | {variant.file} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bench(directory: str, runs: int) -> Times:
    """Measure all variants in turn. Raises Failed."""
    rootfs, root = os.path.join(directory, "rootfs"), os.path.join(directory, "state")
    make_rootfs(rootfs)
    short = Bundle(os.path.join(directory, "short"), f"bench{os.getpid()}s", rootfs).args("/bin/true")
    long = Bundle(os.path.join(directory, "long"), f"bench{os.getpid()}l", rootfs)
    long.args("/bin/sleep", "1000")
    subjects = [build(variant, directory) for variant in VARIANTS]
    subjects[0].timed("--root", root, "run", "--detach", "--bundle", long.path, long.id)
    times: Times = {variant.name: {verb: [] for verb in VERBS} for variant in VARIANTS}
    try:
        for number, subject in in_turn(subjects, runs + 1):
            for verb, took in measure(subject, short, root, long.id).items():
                if number:  # The first round was to warm up.
                    times[subject.name][verb].append(took)
    finally:
        subjects[0].timed("--root", root, "delete", "--force", long.id)
    return times


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="bench_start", description="Time naja without parts of its start.")
    parser.add_argument("--runs", type=int, default=20, help="rounds (default: 20)")
    options = parser.parse_args()
    become_subreaper()
    try:
        hide_unified()
        with tempfile.TemporaryDirectory(prefix="naja-bench-") as directory:
            print(table(bench(directory, options.runs)))
    except Failed as error:
        print(f"bench_start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
