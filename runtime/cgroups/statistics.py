"""What the statistics of v1 and v2 share: reading numbers, and the form of runc's ``events --stats``.

The form is that of runc's types/events.go, which monitoring tools decode: times are nanoseconds,
sizes bytes; of most counters a zero is left out.
"""

from __future__ import annotations

import os

from ..linux.cgroupfs import GONE, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What runc, and the kernel in v1, show for "no limit".
UNLIMITED = 2**64 - 1


def text(directory: str | None, file: str) -> str:
    """Return the text of a file, "" where the cgroup has none, or is gone. Raises OSError."""
    if directory is None:
        return ""
    try:
        return read(f"{directory}/{file}")
    except OSError as error:
        if error.errno not in GONE:
            raise
        return ""


def number(directory: str | None, file: str) -> int:
    """Return the number in a file, UNLIMITED for "max", 0 where there is no file. Raises OSError."""
    content = text(directory, file)
    return UNLIMITED if content == "max" else int(content or 0)


def table(directory: str | None, file: str) -> dict[str, int]:
    """Return the lines "key number" of a file. Raises OSError."""
    pairs = (line.split() for line in text(directory, file).split("\n") if line)
    return {key: int(value) for key, value in pairs}


def numbers(ranges: str) -> list[int]:
    """Return the numbers in a list like "0-2,5" (cpuset(7), List format)."""
    found: list[int] = []
    for part in ranges.split(",") if ranges else ():
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def nonzero(**values: Any) -> dict[str, Any]:
    """Return those values that are neither 0 nor empty."""
    return {key: value for key, value in values.items() if value}


def page_sizes(directory: str | None, suffix: str) -> list[str]:
    """Return the sizes of huge pages that a cgroup counts ("2MB"), by its files "hugetlb.SIZE" + suffix."""
    try:
        names = os.listdir(directory) if directory else []
    except FileNotFoundError:
        names = []
    return sorted(
        name[len("hugetlb.") : -len(suffix)]
        for name in names
        if name.startswith("hugetlb.") and name.endswith(suffix) and name.count(".") == suffix.count(".") + 1
    )
