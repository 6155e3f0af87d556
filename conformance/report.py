"""What one validation program found about one runtime."""

from __future__ import annotations

import os
from dataclasses import dataclass

from conformance import sandbox, suite, tap

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
    #: How long it took.
    seconds: float = 0

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

    def worse_than(self, peer: Report) -> bool:
        """Say whether the peer passed something that this runtime did not."""
        if self.broken or peer.broken:
            return not peer.broken
        mine, theirs = self.results, peer.results
        return mine.ok < theirs.ok or len(mine.failures) > len(theirs.failures)


def measure(
    built: suite.Suite, program: str, runtime: str, *, timeout: float, keep: str | None = None
) -> Report:
    """Run one program on a runtime; what it prints goes to ``keep``, a directory, as well."""
    binary = os.path.join(built.directory, program)
    outcome = sandbox.run([binary], built.directory, {"RUNTIME": runtime}, timeout)
    if keep:
        os.makedirs(keep, exist_ok=True)
        with open(os.path.join(keep, f"{program}.tap"), "w") as file:
            file.write(f"{outcome.stdout}\n# exit status {outcome.status}\n{outcome.stderr}")
    results = tap.parse(outcome.stdout)
    errors = [line for line in map(str.strip, outcome.stderr.splitlines()) if line not in NOISE]
    return Report(program, results, broken(outcome, results), errors, outcome.seconds)


def broken(outcome: sandbox.Outcome, results: tap.Results) -> str:
    """Say how a program that did not run to its end ended; "" where it did."""
    if outcome.status is None:
        return "its time was over"
    if outcome.status:
        return f"exit status {outcome.status}"
    return "" if results.complete else f"cut short: {results.planned} results promised, others came"


def totals(reports: list[Report]) -> str:
    """Return the sums of a runtime's results, in words."""
    ok = sum(report.results.ok for report in reports)
    not_ok = sum(len(report.results.failures) for report in reports)
    failed = sum(bool(report.broken) for report in reports)
    return f"{ok} ok, {not_ok} not ok, {failed} programs failed"
