"""Measure an OCI runtime with runtime-tools, the community's own conformance suite.

    python conformance/runtime_tools.py [--runtime naja|runc|crun|PATH] [PROGRAM...]
    python conformance/runtime_tools.py --compare [--runtime ...] [PROGRAM...]

Prints a table with a line for each validation program, every failure with its explanation, and the
totals; with --compare the runtimes side by side, and what the first one fails where a peer does better.
The exit status is 0 where every such failure is explained (known.py), 1 where one is not, and 2 where
the suite could not be run.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import os
import shutil
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if not __package__:
    sys.path[0] = ROOT

from conformance import compare, report, shim, suite  # noqa: E402
from conformance.known import explain  # noqa: E402

#: What is compared where no runtimes are named; a peer that is not there is left out.
COMPARED = ("naja", "crun", "runc")


def main(argv: list[str]) -> int:
    """Run the suite as the command line asks; return the exit status."""
    options = parse_arguments(argv)
    try:
        if os.geteuid():
            raise suite.SuiteError("runtime-tools needs root")
        runtimes = find_runtimes(options)
        built = suite.prepare(options.cache)
        unknown = set(options.programs) - set(built.programs)
        if unknown:
            raise suite.SuiteError(f"no such program in runtime-tools: {', '.join(sorted(unknown))}")
    except suite.SuiteError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    print(f"runtime-tools {built.version}, {', '.join(runtimes.values())}\n")
    programs = options.programs or built.programs
    return (measure_all if options.compare else measure_one)(built, programs, runtimes, options)


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="runtime_tools.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="validation programs; all by default")
    parser.add_argument(
        "--runtime",
        action="append",
        metavar="[NAME=]PATH",
        help="the runtime to measure: a name or a path; repeatable to compare",
    )
    parser.add_argument("--compare", action="store_true", help="naja, crun and runc side by side")
    parser.add_argument("--oci-version", help="what config.json shall claim (crun 1.8 knows only 1.0.x)")
    parser.add_argument(
        "--cache", default=os.path.join(ROOT, "build", "runtime-tools"), help="for what is built"
    )
    parser.add_argument("--timeout", type=float, default=180, help="seconds that a program may take")
    parser.add_argument("--jobs", type=int, default=1, help="programs that run at the same time")
    parser.add_argument("--tap", metavar="DIRECTORY", help="keep there what each program printed")
    options = parser.parse_args(argv)
    if len(options.runtime or ()) > 1 and not options.compare:
        parser.error("several runtimes are measured with --compare")
    options.cache = os.path.abspath(options.cache)
    return options


def find_runtimes(options: argparse.Namespace) -> dict[str, str]:
    """Return the paths of the runtimes by name, the one to measure first. Raises SuiteError."""
    first, *peers = options.runtime or (COMPARED if options.compare else COMPARED[:1])
    found = dict([named(first)])
    for word in peers:
        try:
            found.update([named(word)])
        except suite.SuiteError as error:
            print(f"conformance: left out: {error}", file=sys.stderr)
    return found


def named(word: str) -> tuple[str, str]:
    """Return the name and the path of a runtime from NAME=PATH, or only one of them. Raises SuiteError."""
    name, _, path = word.rpartition("=")
    return name or os.path.basename(path), find_runtime(path)


def find_runtime(name: str) -> str:
    """Return the absolute path of a runtime; naja's is that beside this Python. Raises SuiteError."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    path = beside if "/" not in name and os.access(beside, os.X_OK) else shutil.which(name)
    if not path:
        raise suite.SuiteError(f"no runtime {name!r} beside {sys.executable} or in PATH")
    return os.path.abspath(path)


def measure_one(
    built: suite.Suite, programs: list[str], runtimes: dict[str, str], options: argparse.Namespace
) -> int:
    """Measure one runtime; return the exit status."""
    (runtime,) = runtimes.values()
    runtime = versioned(runtime, options.oci_version, options.cache)
    print(f"{'program':34} {'ok':>5} {'not ok':>6} {'skipped':>7} {'seconds':>7}  state")

    def measured(program: str) -> report.Report:
        found = report.measure(built, program, runtime, timeout=options.timeout, keep=options.tap)
        results = found.results
        counts = f"{results.ok:5} {len(results.failures):6} {results.skipped:7} {found.seconds:7.1f}"
        print(f"{program:34} {counts}  {found.state}", flush=True)
        return found

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return summarize(list(pool.map(measured, programs)))


def measure_all(
    built: suite.Suite, programs: list[str], runtimes: dict[str, str], options: argparse.Namespace
) -> int:
    """Measure runtimes side by side, a program on one after the other; return the exit status."""
    used = {
        name: versioned(path, options.oci_version or shim.needed(path), options.cache)
        for name, path in runtimes.items()
    }
    print(compare.heading(list(used)))

    def measured(program: str) -> compare.Row:
        row = {}
        for name, path in used.items():
            keep = options.tap and os.path.join(options.tap, os.path.basename(name))
            row[name] = report.measure(built, program, path, timeout=options.timeout, keep=keep)
        print(compare.line(row), flush=True)
        return row

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return compare.summarize(list(pool.map(measured, programs)))


def versioned(runtime: str, version: str | None, cache: str) -> str:
    """Return a runtime for which config.json claims a version; itself without one."""
    return shim.write(cache, runtime, version) if version else runtime


def summarize(reports: list[report.Report]) -> int:
    """Print the failures and the totals; return the exit status."""
    explained = unexplained = 0
    for found in reports:
        for problem, times in collections.Counter(found.problems()).items():
            why = explain(found.program, problem)
            explained += times if why else 0
            unexplained += 0 if why else times
            print(f"\n{found.program}: {problem}{f' ({times} times)' if times > 1 else ''}")
            print(f"    {why or 'UNEXPLAINED'}")
    print(f"\n{explained} failures explained, {unexplained} unexplained")
    print(f"runtime-tools: {report.totals(reports)}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
