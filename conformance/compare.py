"""Runtimes side by side, program by program: the first one is to be as good as the best of the others."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from conformance.known import explain
from conformance.report import totals

if TYPE_CHECKING:
    from conformance.report import Report

#: What each runtime's report of one program is, by the runtime's name; the first is measured.
Row = dict[str, "Report"]


def heading(names: list[str]) -> str:
    """Return the table's first lines."""
    runtimes = "".join(f"{name:>16}" for name in names)
    counts = f"{'ok not ok  ':>16}" * len(names)
    return f"{'':34}{runtimes}\n{'program':34}{counts}"


def line(row: Row) -> str:
    """Return the table's line for a program; at its end stands how the first runtime compares."""
    cells = "".join(f"{cell(report):>16}" for report in row.values())
    program = next(iter(row.values())).program
    return f"{program:34}{cells}  {verdict(row)}".rstrip()


def cell(report: Report) -> str:
    """Return both counts, with an F behind them where the program failed."""
    return f"{report.results.ok} {len(report.results.failures):5} {'F' if report.broken else ' '}"


def verdict(row: Row) -> str:
    """Say which peers do better than the first runtime, or else which do worse; "" where none differs."""
    first, *peers = row
    better = [name for name in peers if row[first].worse_than(row[name])]
    worse = [name for name in peers if row[name].worse_than(row[first])]
    if better:
        return f"{', '.join(better)} better"
    return f"{', '.join(worse)} worse" if worse else ""


def differences(row: Row) -> list[tuple[str, str]]:
    """Return what the first runtime fails where a peer does better, each with why ("" where nobody knows)."""
    first, *peers = row
    mine = row[first]
    better = [row[name] for name in peers if mine.worse_than(row[name])]
    if not better:
        return []
    shared = set.intersection(*(set(peer.problems()) for peer in better))
    own = [problem for problem in mine.problems() if problem not in shared] or ["fewer results than a peer"]
    return [(problem, explain(mine.program, problem)) for problem in own]


def summarize(rows: list[Row]) -> int:
    """Print what differs to the first runtime's disadvantage, and the totals; return the exit status."""
    unexplained = 0
    for row in rows:
        program = next(iter(row.values())).program
        for (problem, why), times in collections.Counter(differences(row)).items():
            unexplained += not why
            print(f"\n{program}: {problem}{f' ({times} times)' if times > 1 else ''}")
            print(f"    {why or 'UNEXPLAINED'}")
    print()
    for name in rows[0]:
        print(f"{name}: {totals([row[name] for row in rows])}")
    return 1 if unexplained else 0
