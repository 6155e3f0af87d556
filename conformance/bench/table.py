"""What was measured, as tables: in Markdown for people, as plain data for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Table:
    """Values by row and column; a column is a runtime, the first of them naja."""

    title: str
    rows: dict[str, dict[str, float]]
    #: Digits after the point.
    digits: int = 1
    #: Whether columns with the first one's ratio to each other are of use.
    ratios: bool = True

    def columns(self) -> list[str]:
        """Return the names of the columns, in the order in which they come first."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    def markdown(self) -> str:
        """Return the table in Markdown."""
        columns = self.columns()
        peers = columns[1:] if self.ratios else []
        heading = [self.title, *columns, *(f"{columns[0]}/{peer}" for peer in peers)]
        lines = [f"| {' | '.join(heading)} |", "|---|" + "---:|" * (len(heading) - 1)]
        for name, row in self.rows.items():
            cells = [f"{row[column]:.{self.digits}f}" if column in row else "" for column in columns]
            cells += [ratio(row, columns[0], peer) for peer in peers]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def plain(self) -> dict[str, Any]:
        """Return what JSON can say."""
        data = asdict(self)
        del data["digits"], data["ratios"]
        return data


def ratio(row: dict[str, float], first: str, peer: str) -> str:
    """Return a ratio of two of a row's values; "" where it has none."""
    if first not in row or not row.get(peer):
        return ""
    return f"{row[first] / row[peer]:.2f}"
