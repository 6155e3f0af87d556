"""What start, state, kill and delete will want to know of a container, found out when it is made.

The launcher does these verbs by it without Python (naja.startup.steps) where all is as it was.
"""

from __future__ import annotations

import os

from ..config import json
from ..operations import ownership
from ..startup.facts import FILE, packed
from .record import document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["facts"]

#: No larger record or document is dealt with.
_MOST = 6 << 10
#: All of a container's cgroups are held at once.
_MOST_CGROUPS = 64


def _size(*names: str) -> int:
    """Return how many bytes getdents64(2) returns for entries of these names."""
    return sum([19 + len(name) + 8 & ~7 for name in names])


def facts(record: dict[str, Any], content: bytes, *, simple: bool, gate: bool) -> bytes:
    """Return the file of facts of a container whose record will be ``content``; b"" where there is none.

    ``simple`` tells that in its state directory there is nothing but what each has, ``gate`` whether that is
    there.
    """
    cgroup, traits = record["cgroup"], record["traits"]
    if record["notify"] or cgroup["unit"]:
        return b""
    shown = json.dumps(document(record, "created", record["annotations"]), 2)
    if len(content) > _MOST or len(shown) > _MOST:
        return b""
    pid, places = record["pid"], [*cgroup["places"].values()]
    removable = not (cgroup["adopted"] or cgroup["resctrl"]) and set(places) == set(cgroup["made"])
    head, status, tail = content.partition(b'"status":"' + record["status"].encode())
    first, _, rest = shown.partition(f'"pid": {pid}')
    second, _, third = rest.partition('"status": "created')
    is_v1 = cgroup["kind"] == "v1"
    freezer = cgroup["places"].get("freezer" if is_v1 else "", "")
    name, thawed = ("freezer.state", b"THAWED\n") if is_v1 else ("cgroup.freeze", b"0\n")
    inhabited = freezer or (places or [""])[0]
    mark_name, word = ownership.make_mark(cgroup["word"], rootless=record["rootless"])
    numbers = {
        "may state": "annotations" not in traits,
        "may start": status.endswith(b"created") and "no process" not in traits and "poststart" not in traits,
        "may kill": "shared pids" not in traits,
        "may delete": simple and removable and "poststop" not in traits and len(places) < _MOST_CGROUPS,
        "has freezer": bool(freezer),
        "has links": is_v1 and bool(inhabited),
        "pid": pid,
        "entries": _size(".", "..", "state.json", "config.json", FILE, *(("gate",) if gate else ())),
    }
    texts = {
        "record 1": head + b'"status":"',
        "record 2": tail,
        "document 1": f'{first}"pid": '.encode(),
        "document 2": f'{second}"status": "'.encode(),
        "document 3": f"{third}\n".encode(),
        "pid": b"%d" % pid,
        "id": record["id"].encode(),
        "process": b"/proc/%d" % pid,
        "statistics": b"/proc/%d/stat" % pid,
        "start time": b"%d " % record["start_time"],
        "freezer": os.fsencode(inhabited),
        "frozen": os.fsencode(f"{freezer}/{name}"),
        "frozen name": name.encode(),
        "thawed": thawed,
        "thaw": thawed[:-1],
        "inhabitants": b"cgroup.procs" if is_v1 else b"cgroup.events",
        "nobody": b"" if is_v1 else b"populated 0\nfrozen 0\n",
        "mark name": mark_name.encode(),
        "mark": f"{ownership.MADE} {word}".encode(),
        "cgroups": b"\0".join([*map(os.fsencode, places), b""]),
    }
    return packed(numbers, texts)
