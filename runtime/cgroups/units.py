"""Containers as units of systemd: their names, where their cgroups are, their properties. Pure,
but for the questions where a user's systemd has its own cgroup, and what drivers there are.

The meaning of linux.cgroupsPath with systemd, "slice:prefix:name", and the choice of properties are
runc's, which engines rely on (runc's docs/systemd.md); systemd.resource-control(5).
"""

from __future__ import annotations

from ..errors import NajaError, Unsupported
from .limits_v2 import cpu_weight, swap_max
from .resources import ORIGIN, Section
from .statistics import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..systemd.bus import Property
    from .hierarchies import Hierarchies

_ORIGIN = "/linux/cgroupsPath"
_INFINITY = 2**64 - 1
_DEFAULT_PERIOD = 100000


def unit_name(cgroups_path: str, id: str) -> str:
    """Return the name of the container's unit: a scope, where the path does not end in a slice."""
    _, prefix, name = _split(cgroups_path, id)
    return name if name.endswith(".slice") else f"{prefix}-{name}.scope"


def slice_name(cgroups_path: str, id: str, *, rootless: bool) -> str:
    """Return the name of the slice that the unit belongs to."""
    return _split(cgroups_path, id)[0] or ("user.slice" if rootless else "system.slice")


def _split(cgroups_path: str, id: str) -> tuple[str, str, str]:
    if not cgroups_path:
        return "", "naja", id
    parts = cgroups_path.split(":")
    if len(parts) != 3 or "/" in cgroups_path:
        raise NajaError(
            f"cgroupsPath {cgroups_path!r}", why="with systemd it is slice:prefix:name", origin=_ORIGIN
        )
    return parts[0], parts[1], parts[2]


def expand_slice(name: str) -> str:
    """Return a slice's path: "a-b.slice" lies in "a.slice" (systemd.slice(5)). Raises NajaError."""
    stem, dot, kind = name.rpartition(".")
    if stem == "-":
        return ""
    parts = stem.split("-")
    if not dot or kind != "slice" or "/" in name or "" in parts:
        raise NajaError(f"slice {name!r}", why="it is no name of a slice", origin=_ORIGIN)
    return "".join(f"/{'-'.join(parts[: count + 1])}.slice" for count in range(len(parts)))


def locate_unit(hierarchies: Hierarchies, cgroups_path: str, id: str, *, rootless: bool) -> dict[str, str]:
    """Return where systemd puts the unit below each mount point, by hierarchy name. Raises NajaError."""
    unit, slice = unit_name(cgroups_path, id), slice_name(cgroups_path, id, rootless=rootless)
    # Of a slice the name alone tells where it lies (systemd.slice(5)), whatever slice is asked for.
    path = expand_slice(unit) if unit.endswith(".slice") else f"{expand_slice(slice)}/{unit}"
    if not path:
        raise NajaError(f"unit {unit!r}", why="the root slice is nobody's own", origin=_ORIGIN)
    top = ""
    if rootless:
        if hierarchies.kind == "v1":
            raise Unsupported("systemd cgroup without root", why="on cgroup v1 a user's systemd has none")
        from ..systemd.bus import Systemd

        with Systemd(user=True) as systemd:
            top = systemd.property("ControlGroup")
    return dict.fromkeys(hierarchies.mounts, top + path)


def scope_properties(unit: str, slice: str, id: str, kind: str) -> list[Property]:
    """Return the properties of a container's unit that do not depend on its limits."""
    properties: list[Property] = [("Description", "s", f"naja container {id}")]
    if unit.endswith(".slice"):
        properties.append(("Wants", "as", [slice]))
    else:
        properties += [("Slice", "s", slice), ("Delegate", "b", True)]
    accounts = ("Memory", "CPU", "IO" if kind == "v2" else "BlockIO", "Tasks")
    properties += [(f"{account}Accounting", "b", True) for account in accounts]
    return [*properties, ("DefaultDependencies", "b", False)]


def limit_properties(resources: dict[str, Any], kind: str) -> list[Property]:
    """Return the limits that systemd has properties for, so that it does not take them back.

    The rest is written to the cgroup's files only, which systemd leaves alone. Needs systemd 244.
    """
    cpu, memory = Section(resources, "cpu"), Section(resources, "memory")
    properties = _memory(memory, kind)
    if (shares := cpu.get("shares")) is not None:
        weight: Property = ("CPUWeight", "t", cpu_weight(shares))
        properties.append(weight if kind == "v2" else ("CPUShares", "t", shares))
    quota, period = cpu.get("quota"), cpu.get("period")
    if quota is not None or period is not None:
        properties += _bandwidth(quota or -1, period)
    for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
        if (ranges := cpu.get(key)) is not None:
            properties.append((name, "ay", bitmask(ranges)))
    weight_io = Section(resources, "blockIO").get("weight")
    if kind == "v1" and weight_io is not None:
        properties.append(("BlockIOWeight", "t", weight_io))
    if (limit := Section(resources, "pids").get("limit")) is not None:
        properties.append(("TasksMax", "t", _tasks(_or_infinity(limit))))
    for file, value in (resources.get("unified") or {}).items():
        properties += _unified(file, value.strip())
    return properties


def _or_infinity(value: int) -> int:
    return _INFINITY if value < 0 else value


def _tasks(limit: int) -> int:
    """Return the least that systemd takes for a limit of no tasks; the cgroup's file says 0 afterwards."""
    return limit or 1


def _memory(memory: Section, kind: str) -> list[Property]:
    properties: list[Property] = []
    limit, reservation = memory.get("limit"), memory.get("reservation")
    if limit is not None:
        properties.append(("MemoryMax" if kind == "v2" else "MemoryLimit", "t", _or_infinity(limit)))
    if kind == "v2":
        if reservation is not None:
            properties.append(("MemoryLow", "t", _or_infinity(reservation)))
        if swap := swap_max(limit, memory.get("swap"), memory.origin("swap")):
            properties.append(("MemorySwapMax", "t", _size(swap)))
    return properties


def _bandwidth(quota: int, period: int | None) -> list[Property]:
    properties: list[Property] = [("CPUQuotaPeriodUSec", "t", period)] if period else []
    per_second = _INFINITY
    if quota > 0:
        # systemd counts in whole percents: rounded up, for the exact value is written afterwards.
        per_second = -(-(quota * 1000000 // (period or _DEFAULT_PERIOD)) // 10000) * 10000
    return [*properties, ("CPUQuotaPerSecUSec", "t", per_second)]


def _size(text: str) -> int:
    return _INFINITY if text == "max" else int(text)


def bitmask(ranges: str) -> bytes:
    """Return a list of CPUs or nodes ("0-2,5") as systemd takes it: a bit each, lowest byte first."""
    bits = 0
    for number in numbers(ranges):
        bits |= 1 << number
    return bits.to_bytes((bits.bit_length() + 7) // 8 or 1, "little")


_UNIFIED_SIZES = {
    "memory.min": "MemoryMin",
    "memory.low": "MemoryLow",
    "memory.high": "MemoryHigh",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
}


def _unified(file: str, value: str) -> list[Property]:
    """Return the property that stands for a v2 file, if there is one."""
    try:
        if file == "pids.max":
            return [("TasksMax", "t", _tasks(_size(value)))]
        if file in _UNIFIED_SIZES:
            return [(_UNIFIED_SIZES[file], "t", _size(value))]
        if file == "cpu.weight":
            return [("CPUWeight", "t", int(value))]
        if file == "cpu.max":
            quota, *period = value.split()
            return _bandwidth(-1 if quota == "max" else int(quota), int(period[0]) if period else None)
        if file in ("cpuset.cpus", "cpuset.mems"):
            name = "AllowedCPUs" if file == "cpuset.cpus" else "AllowedMemoryNodes"
            return [(name, "ay", bitmask(value))]
    except ValueError:
        what = f"unified resource {file} = {value!r}"
        raise NajaError(what, why="this is no such value", origin=f"{ORIGIN}/unified/{file}") from None
    return []
