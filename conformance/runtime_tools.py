"""Measure an OCI runtime with runtime-tools, the community's own conformance suite.

    python conformance/runtime_tools.py [--runtime naja|runc|crun|PATH] [PROGRAM...]

Prints a table with a line for each validation program, every failure with its explanation, and the
totals. The exit status is 0 where every failure is explained (known.py), 1 where one is not, and 2
where the suite could not be run.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import os
import shutil
import sys
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if not __package__:
    sys.path[0] = ROOT

from conformance import sandbox, shim, suite, tap  # noqa: E402
from conformance.known import explain  # noqa: E402

#: What the suite prints about every failure alike.
NOISE = ("", "exit status 1", "failed to create the container", "failed to start the container")


@dataclass
class Report:
    """What one program found about the runtime."""

    program: str
    results: tap.Results
    #: "" where the program ran to its end; otherwise how it ended.
    broken: str
    #: The lines of its standard error stream that say something: the runtime's own, mostly.
    errors: list[str]

    @property
    def state(self) -> str:
        """The verdict in a word."""
        if self.broken:
            return "FAILED"
        if self.results.failures:
            return "not ok"
        return "ok"

    def problems(self) -> list[str]:
        """Return one line for each failure; where the suite says nothing, the runtime's errors speak."""
        spoken = "; ".join(self.errors)
        failures = map(str, self.results.failures)
        lines = [f"{failure}: {spoken}" if failure in NOISE else failure for failure in failures]
        if self.broken:
            lines.append(f"{self.broken}: {spoken}")
        return [" ".join(line.split()) for line in lines]


def main(argv: list[str]) -> int:
    """Run the suite as the command line asks; return the exit status."""
    options = parse_arguments(argv)
    try:
        if os.geteuid():
            raise suite.SuiteError("runtime-tools needs root")
        runtime = find_runtime(options.runtime)
        built = suite.prepare(options.cache)
        if options.oci_version:
            runtime = shim.write(options.cache, runtime, options.oci_version)
        unknown = set(options.programs) - set(built.programs)
        if unknown:
            raise suite.SuiteError(f"no such program in runtime-tools: {', '.join(sorted(unknown))}")
    except suite.SuiteError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    print(f"runtime-tools {built.version}, runtime {runtime}\n")
    print(f"{'program':34} {'ok':>5} {'not ok':>6} {'skipped':>7} {'seconds':>7}  state")
    programs = options.programs or built.programs
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        reports = list(pool.map(lambda program: measure(built, program, runtime, options), programs))
    return summarize(reports)


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="runtime_tools.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="validation programs; all by default")
    parser.add_argument("--runtime", default="naja", help="the runtime to measure: a name or a path")
    parser.add_argument("--oci-version", help="what config.json shall claim (crun 1.8 knows only 1.0.x)")
    parser.add_argument(
        "--cache", default=os.path.join(ROOT, "build", "runtime-tools"), help="for what is built"
    )
    parser.add_argument("--timeout", type=float, default=180, help="seconds that a program may take")
    parser.add_argument("--jobs", type=int, default=1, help="programs that run at the same time")
    parser.add_argument("--tap", metavar="DIRECTORY", help="keep there what each program printed")
    return parser.parse_args(argv)


def find_runtime(name: str) -> str:
    """Return the absolute path of a runtime; naja's is that beside this Python. Raises SuiteError."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    path = beside if "/" not in name and os.access(beside, os.X_OK) else shutil.which(name)
    if not path:
        raise suite.SuiteError(f"no runtime {name!r} beside {sys.executable} or in PATH")
    return os.path.abspath(path)


def measure(built: suite.Suite, program: str, runtime: str, options: argparse.Namespace) -> Report:
    """Run one program, print its line of the table, and return its report."""
    binary = os.path.join(built.directory, program)
    outcome = sandbox.run([binary], built.directory, {"RUNTIME": runtime}, options.timeout)
    results = tap.parse(outcome.stdout)
    errors = [line for line in map(str.strip, outcome.stderr.splitlines()) if line not in NOISE]
    report = Report(program, results, broken(outcome, results), errors)
    counts = f"{results.ok:5} {len(results.failures):6} {results.skipped:7} {outcome.seconds:7.1f}"
    print(f"{program:34} {counts}  {report.state}", flush=True)
    if options.tap:
        os.makedirs(options.tap, exist_ok=True)
        with open(os.path.join(options.tap, f"{program}.tap"), "w") as file:
            file.write(f"{outcome.stdout}\n# exit status {outcome.status}\n{outcome.stderr}")
    return report


def broken(outcome: sandbox.Outcome, results: tap.Results) -> str:
    """Say how a program that did not run to its end ended; "" where it did."""
    if outcome.status is None:
        return "its time was over"
    if outcome.status:
        return f"exit status {outcome.status}"
    return "" if results.complete else f"cut short: {results.planned} results promised, others came"


def summarize(reports: list[Report]) -> int:
    """Print the failures and the totals; return the exit status."""
    explained = unexplained = 0
    for report in reports:
        for problem, times in collections.Counter(report.problems()).items():
            why = explain(report.program, problem)
            explained += times if why else 0
            unexplained += 0 if why else times
            print(f"\n{report.program}: {problem}{f' ({times} times)' if times > 1 else ''}")
            print(f"    {why or 'UNEXPLAINED'}")
    ok = sum(report.results.ok for report in reports)
    not_ok = sum(len(report.results.failures) for report in reports)
    failed = sum(bool(report.broken) for report in reports)
    print(f"\n{explained} failures explained, {unexplained} unexplained")
    print(f"runtime-tools: {ok} ok, {not_ok} not ok, {failed} programs failed")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
