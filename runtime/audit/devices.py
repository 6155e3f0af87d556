"""Which of the host's devices a container may use: by the rules of its cgroup, and by nodes. Pure."""

from __future__ import annotations

from ..cgroups.devices import DEFAULTS
from ..operations.cgroup_limits import AllowDevices, FilterDevices
from ..operations.devices import BindDevice, MakeDevice
from .exposure import Exposure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts

    #: type, major, minor (-1 for any)
    Device = tuple[str, int, int]

_ORIGIN = "/linux/resources/devices"

#: What the driver of a major number is for: weight, and what could be done with it.
_MAJORS = {
    ("c", 1): (5.0, "the memory of the host (mem, port, kmsg)"),
    ("c", 4): (0.5, "consoles of the host"),
    ("c", 10): (1.0, "one of the miscellaneous devices"),
    ("c", 13): (1.5, "keyboards and mice of the host"),
    ("c", 21): (3.0, "disks by SCSI commands"),
    ("c", 29): (0.5, "the screen of the host"),
    ("c", 195): (0.7, "the graphics card"),
    ("c", 226): (0.7, "the graphics card"),
    ("b", 7): (1.5, "loop devices of the host"),
}
#: Devices that are less, or more, than their driver.
_KNOWN = {
    **{("c", 1, minor): (0.0, "") for minor in (3, 5, 7, 8, 9)},
    ("c", 5, 0): (0.0, ""),
    ("c", 5, 2): (0.0, ""),
    ("c", 10, 200): (0.2, "tun, network devices of its own"),
    ("c", 10, 229): (0.5, "FUSE, file systems of its own"),
    ("c", 10, 232): (0.7, "KVM, virtual machines of its own"),
    ("c", 10, 237): (1.5, "loop-control, loop devices of the host"),
}
_BLOCK = (4.0, "a disk of the host, below its file systems")
_CHARACTER = (0.7, "a device of the host")


def exposures(facts: Facts) -> Iterator[Exposure]:
    """Yield what devices expose; in a user namespace, where none can be made, only those that are there."""
    found: set[Device] = set()
    for place, device, access in _allowed(facts):
        weight, what = _judge(device)
        found.add(device)
        if weight and not facts.confined and set(access) & set("rw"):
            said = f"may use {_text(device)} ({access}): {what}"
            fix = f"remove the rule from {_ORIGIN}"
            yield Exposure("device-allowed", weight * 0.7, place, said, fix)
    if allows_all(facts) and not facts.confined:
        what = "may use every device of the host of which it has a node"
        fix = f'begin {_ORIGIN} with {{"allow": false, "access": "rwm"}}, and allow what it needs'
        yield Exposure("devices-all", 2.0, facts.origin("linux", "resources", "devices"), what, fix)
    yield from _nodes(facts)


def allows_all(facts: Facts) -> bool:
    """Tell whether the cgroup leaves the container all devices: in each hierarchy, or for want of one."""
    filters: list[AllowDevices | FilterDevices] = [*facts.all(AllowDevices), *facts.all(FilterDevices)]
    return not filters or any(operation.allow_all for operation in filters)


def _allowed(facts: Facts) -> Iterator[tuple[str, Device, str]]:
    """Yield origin, device and access of the rules that allow more than every container has."""
    default = {(kind, major, minor) for _, kind, major, minor, _ in DEFAULTS}
    for listed in facts.all(AllowDevices):
        for exception in () if listed.allow_all else listed.exceptions:
            kind, number, access = exception.split()
            major, minor = (-1 if part == "*" else int(part) for part in number.split(":"))
            if (kind, major, minor) not in default or ({*access} & {"r", "w"} and major < 0):
                yield _rule_origin(facts, (kind, major, minor)), (kind, major, minor), access
    for filtered in facts.all(FilterDevices):
        for allow, kind, major, minor, access in () if filtered.allow_all else filtered.rules:
            known = (kind, major, minor) in default and not ({*access} & {"r", "w"} and major < 0)
            if allow and not known:
                yield _rule_origin(facts, (kind, major, minor)), (kind, major, minor), access


def _rule_origin(facts: Facts, device: Device) -> str:
    rules = ((facts.config.get("linux") or {}).get("resources") or {}).get("devices") or ()
    for index, rule in enumerate(rules):
        named = (rule.get("type") or "a", rule.get("major"), rule.get("minor"))
        kinds, numbers = (named[0], "a"), [-1 if number is None else number for number in named[1:]]
        if rule["allow"] and (device[0] in kinds or named[0] == "a") and numbers == [*device[1:]]:
            return f"{_ORIGIN}/{index}"
    return _ORIGIN


def _judge(device: Device) -> tuple[float, str]:
    kind, major, _ = device
    if major < 0:
        return (_BLOCK[0], "every disk of the host") if kind == "b" else (3.0, "every device of the host")
    if device in _KNOWN:
        return _KNOWN[device]
    return _MAJORS.get((kind, major), _BLOCK if kind == "b" else _CHARACTER)


def _text(device: Device) -> str:
    kind, *numbers = device
    return f"{kind} {':'.join('*' if number < 0 else str(number) for number in numbers)}"


def _nodes(facts: Facts) -> Iterator[Exposure]:
    nodes: list[MakeDevice | BindDevice] = [*facts.all(MakeDevice), *facts.all(BindDevice)]
    for node in nodes:
        weight, what = _judge((node.kind, node.major, node.minor)) if node.kind in "bcu" else (0.0, "")
        if weight and node.origin:
            said = f"has {node.path} ({_text((node.kind, node.major, node.minor))}): {what}"
            share = 1.0 if facts.reach == 1.0 else 0.5
            yield Exposure("device-node", weight * share, node.origin, said, f"remove {node.origin}")
