"""linux.intelRdt as operations on the resctrl file system. Pure. config-linux.md, IntelRdt."""

from __future__ import annotations

from ..errors import NajaError
from ..operations.intelrdt import EnterClassOfService, MakeClassOfService

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation


def prepare(settings: dict[str, Any], id: str, *, root: str = "") -> list[Operation]:
    """Return the operations that make the container's class of service. Raises NajaError.

    ``root`` is where resctrl is mounted, "" to find out when they are applied.
    """
    schemata = _schemata(settings)
    return [
        MakeClassOfService(
            _directory(settings, id),
            schemata,
            # A class that is named but not described is one that an administrator has made.
            must_exist=bool(settings.get("closID")) and not schemata,
            # One with a name of its own may be shared, and outlives the container that asked for it first.
            lasting=bool(settings.get("closID")),
            monitored=id if settings.get("enableMonitoring") else "",
            root=root,
        )
    ]


def enter(settings: dict[str, Any], id: str, *, root: str = "") -> list[Operation]:
    """Return the operations that put a process of the container into its class of service."""
    group = _directory(settings, id)
    if settings.get("enableMonitoring"):
        group = f"{group}/mon_groups/{id}".lstrip("/")
    return [EnterClassOfService(group, root=root)]


def _directory(settings: dict[str, Any], id: str) -> str:
    """Return the directory of the class of service: "/" is the name of the top one."""
    return (settings.get("closID") or id).strip("/")


def _schemata(settings: dict[str, Any]) -> list[str]:
    """Return the lines for the schemata file: first the two old settings, then those that can say all."""
    for index, line in enumerate(settings.get("schemata") or ()):
        if "\n" in line:
            raise NajaError(f"{line!r} is more than one line", origin=f"/linux/intelRdt/schemata/{index}")
    lines: list[str] = []
    caches, bandwidth = settings.get("l3CacheSchema"), settings.get("memBwSchema")
    if caches:
        # Bandwidth has a setting of its own, which wins.
        old = caches.split("\n")
        lines += [line for line in old if line.strip() and not (bandwidth and line.startswith("MB:"))]
    if bandwidth:
        lines.append(bandwidth)
    return lines + list(settings.get("schemata") or ())
