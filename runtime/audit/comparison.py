"""What one container could do to the host that another could not."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import Report
    from .exposure import Exposure


def compare(old: Report, new: Report) -> tuple[list[Exposure], list[Exposure]]:
    """Return the exposures that only the old report has, and those that only the new one has.

    One whose weight has changed is among both.
    """
    before, after = ({one.identity() for one in report.exposures} for report in (old, new))
    closed = [one for one in old.exposures if one.identity() not in after]
    opened = [one for one in new.exposures if one.identity() not in before]
    return closed, opened


def text(old: Report, new: Report) -> str:
    """Return the comparison for people: "-" is closed, "+" open."""
    closed, opened = compare(old, new)
    lines = [f"- {one.lines()[0]}" for one in closed]
    lines += [f"{sign} {line}" for one in opened for sign, line in zip("+ ", one.lines(), strict=True)]
    scores = f"score {old.score:.1f} {old.word} → {new.score:.1f} {new.word}"
    return "\n".join([*lines, scores]) + "\n"
