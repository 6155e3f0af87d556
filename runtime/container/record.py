"""The shape of a container's record: what ``state.json`` has to hold before anything is done about it.

A disk that was full, a crash or a hand may have left anything there. What is checked here is all that the
verbs rely on; whether the process and the cgroups are the container's is asked of the kernel, later.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STATUSES = ("creating", "created", "running")

_MEMBERS: tuple[tuple[str, type], ...] = (
    *(("ociVersion", str), ("id", str), ("status", str), ("bundle", str), ("rootfs", str)),
    *(("pid", int), ("start_time", int), ("created", str), ("owner", int), ("annotations", dict)),
    *(("rootless", bool), ("notify", bool)),
)
_CGROUP_MEMBERS: tuple[tuple[str, type], ...] = (
    *(("kind", str), ("unit", str), ("rootless", bool)),
    *(("places", dict), ("made", list), ("adopted", list), ("resctrl", list)),
)

#: What a verb would have to read a container's config for.
TRAITS = ("annotations", "no process", "shared pids", "poststart", "poststop")

#: More annotations than these are not part of the record, which every verb reads.
_FEW = 100

#: The kernel's PID_MAX_LIMIT, and the largest number of clock ticks.
_LARGEST_PID, _LARGEST_TIME = 1 << 22, (1 << 63) - 1


def traits(config: dict[str, Any]) -> list[str]:
    """Return those of TRAITS that a config has: "annotations" is that there are too many for the record."""
    hooks = config.get("hooks") or {}
    found = {
        "annotations": len(config.get("annotations") or ()) > _FEW,
        "no process": not config.get("process"),
        "shared pids": not has_own_pids(config),
        **{kind: bool(hooks.get(kind)) for kind in ("poststart", "poststop")},
    }
    return [name for name in TRAITS if found[name]]


def has_own_pids(config: dict[str, Any]) -> bool:
    """Tell whether a container has a pid namespace of its own, whose processes all end with the first."""
    entries = config["linux"].get("namespaces") or ()
    return any(entry["type"] == "pid" and not entry.get("path") for entry in entries)


def problem(record: Any, id: str) -> str:
    """Return what is wrong with the record of a container, in a few words; "" where nothing is."""
    if type(record) is not dict:
        return "it is not an object"
    if found := _misfit(record, _MEMBERS):
        return found
    if record["id"] != id:
        return "it is another container's"
    if record["status"] not in _STATUSES:
        return "its status is none"
    if not (0 <= record["pid"] <= _LARGEST_PID and 0 <= record["start_time"] <= _LARGEST_TIME):
        return "its pid or start_time is none"
    return _strange_text(record) or strange_cgroup(record.get("cgroup"))


def config_problem(document: Any) -> str:
    """Return why what is kept as a container's config.json is none that it was made from; "" for most.

    No more than what a container's end needs is looked at: the whole was checked when it was made.
    """
    if type(document) is not dict:
        return "it is not an object"
    for name in ("linux", "root"):
        if type(document.get(name)) is not dict:
            return f"{name} is missing or no object"
    for name in ("process", "hooks", "annotations"):
        if type(document.get(name) or {}) is not dict:
            return f"{name} is no object"
    entries = document["linux"].get("namespaces") or []
    if type(entries) is not list or not all(type(entry) is dict and "type" in entry for entry in entries):
        return "linux/namespaces is no array of namespaces"
    return ""


def document(record: dict[str, Any], status: str, annotations: dict[str, str]) -> dict[str, Any]:
    """Return the state document (runtime.md, State), with what runc adds to it."""
    return {
        "ociVersion": record["ociVersion"],
        "id": record["id"],
        "pid": 0 if status == "stopped" else record["pid"],
        "status": status,
        "bundle": record["bundle"],
        "rootfs": record["rootfs"],
        "created": record["created"],
        "annotations": annotations,
        "owner": owner_name(record["owner"]),
    }


def owner_name(uid: int) -> str:
    """Return the name of a user, or the number where it has none."""
    number = str(uid).encode()
    with open("/etc/passwd", "rb") as file:
        for line in file:
            fields = line.split(b":")
            if len(fields) > 2 and fields[2] == number:
                return os.fsdecode(fields[0])
    return str(uid)


def _misfit(part: dict[str, Any], members: tuple[tuple[str, type], ...], where: str = "") -> str:
    for name, kind in members:
        if type(part.get(name)) is not kind:
            return f"{where}{name} is missing or no {_WORDS[kind]}"
    return ""


_WORDS = {str: "text", int: "number", bool: "truth value", dict: "object", list: "array"}


def _strange_text(record: dict[str, Any]) -> str:
    """Find text that the kernel, or whoever reads the state, could not take."""
    annotations = record["annotations"]
    stdio = record.get("stdio") or [""] * 3
    if type(stdio) is not list or len(stdio) != 3:
        return "stdio is no array of three"
    for text in (*annotations.values(), *stdio):
        if type(text) is not str:
            return "annotations or stdio hold what is no text"
    found = record.get("traits", [])
    if type(found) is not list or not set(TRAITS).issuperset(map(str, found)):
        return "traits are none"
    for name in ("bundle", "rootfs"):
        if not _is_path(record[name]):
            return f"{name} is no absolute path"
    if not (is_text(record["created"]) and is_text(record["ociVersion"])):
        return "created or ociVersion is no text"
    return ""


def strange_cgroup(cgroup: Any) -> str:
    """Return what is wrong with the part of a record that is about cgroups; "" where nothing is."""
    if type(cgroup) is not dict:
        return "cgroup is missing or no object"
    if found := _misfit(cgroup, _CGROUP_MEMBERS, "cgroup/"):
        return found
    if cgroup["kind"] not in ("v1", "v2"):
        return "cgroup/kind is none"
    if not (is_text(unit := cgroup["unit"]) and is_text(cgroup.get("word", ""))):
        return "cgroup/unit or cgroup/word is no name"
    invocation = cgroup.get("invocation", "")
    if type(invocation) is not str or invocation.strip("0123456789abcdef"):
        return "cgroup/invocation is no number"
    return _strange_places(cgroup, f"/{unit}" if unit else "")


def _strange_places(cgroup: dict[str, Any], end: str) -> str:
    places, groups = cgroup["places"], cgroup["resctrl"]
    paths = (*places.values(), *cgroup["made"], *cgroup["adopted"], *groups)
    if not (all(map(_is_cgroup, paths)) and is_text("".join(paths)) and all(map(is_text, places))):
        return "cgroup names what is no cgroup"
    if not all(path.endswith(end) for path in places.values()):
        return "cgroup/places are not those of cgroup/unit"
    return "" if all("/resctrl/" in path for path in groups) else "cgroup/resctrl names no group"


def _is_cgroup(path: Any) -> bool:
    """Tell whether a value could be a cgroup's path: one without ".." that is below a mount point."""
    return type(path) is str and path[:1] == "/" and path.count("/") > 1 and "/../" not in f"{path}/"


def is_text(value: Any) -> bool:
    """Tell whether a value is text that can be part of a path."""
    if type(value) is not str or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False  # Half of a surrogate pair.
    return True


def _is_path(value: Any) -> bool:
    return is_text(value) and value.startswith("/")
