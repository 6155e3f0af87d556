"""The memory of a container that waits for its start, whose process is the runtime's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.bench.table import Table

if TYPE_CHECKING:
    from conformance.bench.place import Place
    from conformance.bench.subject import Subject
    from conformance.bench.verbs import Verbs

#: Rows of the table, and the lines of smaps_rollup whose sum they are (proc(5)).
ROWS = {
    "resident": ("Rss",),
    "proportional": ("Pss",),
    "private": ("Private_Clean", "Private_Dirty"),
}


def memory_of(pid: int) -> dict[str, float]:
    """Return the memory of a process by row, in KiB."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        next(file)  # The range of addresses.
        values = {name.rstrip(":"): float(value) for name, value, *_ in map(str.split, file)}
    return {row: sum(values[name] for name in names) for row, names in ROWS.items()}


def created(subjects: list[Subject], verbs: Verbs, place: Place) -> Table:
    """Return the table of what a created container takes. Raises Failed."""
    rows: dict[str, dict[str, float]] = {row: {} for row in ROWS}
    for subject in subjects:
        root = place.root(subject)
        subject.cost(*root, *verbs.create(verbs.long))
        with open(place.pid_file) as file:
            found = memory_of(int(file.read()))
        subject.cost(*root, "delete", "--force", verbs.long.id)
        place.reap()
        for row, value in found.items():
            rows[row][subject.name] = value / 1024
    return Table("memory of a created container, MiB", rows)
