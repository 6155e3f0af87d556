"""What naja, runc and crun make of linux.resources: the files of a container's cgroup, side by side.

    python -m conformance.cgroup_files [--variant v2|hybrid|v1|systemd ...] [--config NAME ...]
                                       [--show changed|differences|all]

Boots one guest (tests/vm) for each variant, runs every config in it with every runtime, and prints
Markdown: for the config "plain" all files, for the others those that a runtime has left otherwise
than with "plain" ("changed"); or of both only what the runtimes do differently; or all files of all.
Differences are marked, and explained by conformance/cgroup_known.py. The exit status is 1 where one
is not explained, and 2 where there is no guest.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import NamedTuple

from conformance.cgroup_known import KNOWN, Known
from conformance.cgroup_survey import CONFIGS, REFUSED, RUNTIMES
from tests.vm.machine import ROOT, VARIANTS, Machine, MachineError


class Row(NamedTuple):
    """A file in one config: what each runtime left in it, None where it is missing."""

    config: str
    file: str
    contents: dict[str, str | None]

    @property
    def differs(self) -> bool:
        """Whether the runtimes disagree; a refusal in other words is no difference."""
        if self.file == REFUSED:
            return None in self.contents.values()
        return len(set(self.contents.values())) > 1


def rows(config: str, survey: dict[str, dict[str, str]]) -> list[Row]:
    """Return a row for each file that a runtime's container has, of ``survey`` by runtime.

    Where a runtime refused the config, the first row says so, and the others leave that runtime out.
    """
    refused = {runtime: files[REFUSED] for runtime, files in survey.items() if REFUSED in files}
    made = {runtime: files for runtime, files in survey.items() if runtime not in refused}
    found = [Row(config, REFUSED, {runtime: refused.get(runtime) for runtime in survey})] if refused else []
    every = sorted(set().union(*made.values()))
    found += [Row(config, file, {runtime: made[runtime].get(file) for runtime in made}) for file in every]
    return found


def explanation(variant: str, row: Row) -> Known | None:
    """Return the first explanation of a difference, None where there is none."""
    return next((known for known in KNOWN if known.explains(variant, row.config, row.file)), None)


def section(variant: str, config: str, shown: list[Row]) -> list[str]:
    """Return the lines of Markdown for one config."""
    lines = [f"### {variant}: {config}", "", f"`{json.dumps(CONFIGS[config])}`", ""]
    lines += [f"| file | {' | '.join(RUNTIMES)} | |", "|---|" + "---|" * (len(RUNTIMES) + 1)]
    for row in shown:
        cells = [_cell(row, runtime) for runtime in RUNTIMES]
        mark = ""
        if row.differs:
            known = explanation(variant, row)
            mark = f"≠ {known.key}" if known else "≠ UNEXPLAINED"
        lines.append(f"| {row.file} | {' | '.join(cells)} | {mark} |")
    return [*lines, ""]


def _cell(row: Row, runtime: str) -> str:
    if runtime not in row.contents:
        return "refused"
    content = row.contents[runtime]
    if content is None:
        return "no" if row.file == REFUSED else "no file"
    return content.replace("|", "\\|") or "empty"


def report(variant: str, survey: dict[str, dict[str, dict[str, str]]], show: str) -> tuple[str, int]:
    """Return the tables of a variant, with the explanations that they need, and how many are missing."""
    lines, same, different = [f"## {variant}", ""], [], []
    plain = {row.file: row for row in rows("plain", survey["plain"])}
    for config, by_runtime in survey.items():
        found = rows(config, by_runtime)
        if config != "plain" and show != "all":
            found = [row for row in found if _changed(row, plain.get(row.file))]
        different += [row for row in found if row.differs]
        if show == "differences":
            # What is above a sub-cgroup only the runtime has that makes one.
            found = [row for row in found if row.differs and not row.file.startswith("../")]
        if found:
            lines += section(variant, config, found)
        else:
            same.append(config)
    if same:
        lines += [f"{'No difference' if show == 'differences' else 'As plain'}: {', '.join(same)}.", ""]
    explained = [explanation(variant, row) for row in different]
    lines += [f"- **{known.key}**: {known.why}" for known in KNOWN if known in explained]
    return "\n".join([*lines, ""]), explained.count(None)


def _changed(row: Row, plain: Row | None) -> bool:
    if plain is None:
        return True
    if row.file == REFUSED:
        return any(
            (plain.contents[runtime] is None) != (row.contents[runtime] is None) for runtime in RUNTIMES
        )
    return any(plain.contents.get(runtime) != content for runtime, content in row.contents.items())


def take(variant: str, configs: list[str], timeout: float) -> dict[str, dict[str, dict[str, str]]]:
    """Make the survey in a guest: contents by config, runtime and file. Raises MachineError."""
    command = [sys.executable, "-m", "conformance.cgroup_survey", *configs]
    outcome = Machine(variant).run(command, timeout, directory=ROOT)
    if outcome.status:
        raise MachineError(f"the survey ended with {outcome.status}:\n{outcome.stderr}")
    taken: dict[str, dict[str, dict[str, str]]] = json.loads(outcome.stdout)
    return taken


def main() -> int:
    """Survey and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="cgroup_files", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="kind of host (default: v2)")
    parser.add_argument("--config", action="append", choices=CONFIGS, help="one config (default: all)")
    parser.add_argument("--show", choices=("changed", "differences", "all"), default="changed")
    parser.add_argument("--timeout", type=float, default=1200, help="seconds that a guest may live")
    options = parser.parse_args()
    configs = list(dict.fromkeys(["plain", *(options.config or CONFIGS)]))
    missing = 0
    for variant in options.variant or ["v2"]:
        try:
            survey = take(variant, configs, options.timeout)
        except MachineError as error:
            print(f"{variant}: {error}", file=sys.stderr)
            return 2
        text, unexplained = report(variant, survey, options.show)
        print(text, flush=True)
        missing += unexplained
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
