"""What a container can use up, what runs on the host for it, and what else it is given. Pure."""

from __future__ import annotations

import os

from ..config.pattern import escape
from ..features import UNSAFE_ANNOTATIONS
from ..hooks import KINDS
from ..operations.cgroup_limits import WriteFirstPresent, WriteLimits
from ..operations.intelrdt import MakeClassOfService
from ..operations.network import MoveDevice
from .exposure import Exposure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts

_ORIGIN = "/linux/resources"
#: Weight, file (of /linux/resources/unified), and what may be used up without, by the property of
#: /linux/resources. With systemd they are written to the cgroup as well, so the writes tell all.
_LIMITS = {
    "memory/limit": (0.5, "memory.max", "all memory of the host: others are killed for want of it"),
    "pids/limit": (0.5, "pids.max", "all process numbers of the host: nobody can start anything"),
    "cpu/quota": (0.1, "cpu.max", "all processors of the host, though others get their share"),
}
#: Hooks that run inside are the image's programs under the container's limits.
_INSIDE = "startContainer"


def exposures(facts: Facts) -> Iterator[Exposure]:
    """Yield what is not limited, and what is given beside."""
    written = _written(facts)
    for name, (weight, file, what) in _LIMITS.items():
        values = [written.get(f"{_ORIGIN}/{name}"), written.get(f"{_ORIGIN}/unified/{file}")]
        if not any(value and value.split()[0] not in ("-1", "max") for value in values):
            section, _, key = name.partition("/")
            where = facts.origin("linux", "resources", section, key)
            yield Exposure(
                f"no-limit-{section}", weight, where, f"may use up {what}", f"set {_ORIGIN}/{name}"
            )
    if written.get(f"{_ORIGIN}/memory/disableOOMKiller") == "1":
        where = f"{_ORIGIN}/memory/disableOOMKiller"
        what = "at its memory limit it is not ended but stands still, with the locks that it holds"
        yield Exposure("oom-killer-off", 0.2, where, what, f"set {where} to false")
    yield from _hooks(facts)
    yield from _given(facts)


def _written(facts: Facts) -> dict[str, str]:
    """Return what is written into files of cgroups, by origin."""
    found: dict[str, str] = {}
    for writes in facts.all(WriteLimits):
        found.update({origin: value for _, value, origin in writes.limits})
    for either in facts.all(WriteFirstPresent):
        found.setdefault(either.origin, either.choices[0][1])
    return found


def _hooks(facts: Facts) -> Iterator[Exposure]:
    rootfs = os.path.join(facts.bundle, facts.config["root"]["path"])
    for kind in KINDS:
        for index, hook in enumerate((facts.config.get("hooks") or {}).get(kind) or ()):
            if kind == _INSIDE:
                continue
            where, path = f"/hooks/{kind}/{index}", hook["path"]
            if facts.resolve(path).startswith(f"{facts.resolve(rootfs)}/"):
                what = f"{path} is the image's, and runs on the host as a {kind} hook"
                yield Exposure(
                    "hook-of-the-image", 9.5, where, what, f"remove {where}, or take a program of the host's"
                )
            else:
                what = f"{path} runs on the host as a {kind} hook, with the rights of who makes the container"
                yield Exposure("hook", 0.3, where, what, f"remove {where}")


def _given(facts: Facts) -> Iterator[Exposure]:
    for name in facts.config.get("annotations") or ():
        if any(
            name == unsafe or (unsafe[-1] == "." and name.startswith(unsafe)) for unsafe in UNSAFE_ANNOTATIONS
        ):
            where = f"/annotations/{escape(name)}"
            what = f"the annotation {name} changes more than the container (systemd, CRIU, groups)"
            yield Exposure("annotation", 0.3, where, what, f"remove {where}")
    for move in facts.all(MoveDevice):
        what = f"{move.device} of the host is its own, and gone there"
        yield Exposure("network-device", 0.5, move.origin, what, f"remove {move.origin}")
    for group in facts.all(MakeClassOfService):
        what = f"is in the class of service {group.name} of the host's caches and memory bandwidth"
        yield Exposure("intel-rdt", 0.1, group.origin or "/linux/intelRdt", what, "remove /linux/intelRdt")
