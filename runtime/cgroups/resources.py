"""What the translations of linux.resources to cgroup v1 and v2 share. Pure."""

from __future__ import annotations

from ..errors import NajaError, Unsupported
from ..operations.cgroup_limits import WriteLimits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation

ORIGIN = "/linux/resources"

#: Where 0, or no text, means that nothing was asked for, as engines and runc have it. Elsewhere 0 is
#: a value like any other: no process at all, no swapping, no burst.
_UNSET_WHERE_ZERO = {
    "memory": ("limit", "reservation", "swap", "kernel", "kernelTCP"),
    "cpu": ("shares", "quota", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems"),
    "blockIO": ("weight", "leafWeight"),
    "network": ("classID", "priorities"),
}

#: The throttles of linux.resources.blockIO: key, v1 file, word in v2's io.max.
THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)


class Section:
    """One object of linux.resources ("memory"), of which only what was really asked for is seen."""

    __slots__ = ("name", "values")

    def __init__(self, resources: dict[str, Any], name: str) -> None:
        self.name = name
        unset = _UNSET_WHERE_ZERO.get(name, ())
        values = resources.get(name) or {}
        self.values = {
            key: value
            for key, value in values.items()
            if value is not None and not (key in unset and not value)
        }

    def get(self, key: str) -> Any:
        """Return a value, None where nothing was asked for."""
        return self.values.get(key)

    def origin(self, key: str) -> str:
        """Return the JSON pointer of a value."""
        return f"{ORIGIN}/{self.name}/{key}"

    def refuse(self, key: str, why: str) -> None:
        """Raise Unsupported where a value was asked for."""
        if key in self.values:
            raise Unsupported(f"{self.name}.{key}", why=why, origin=self.origin(key))


class Builder:
    """Collects the operations that set limits, and knows where each controller's files are."""

    def __init__(self, directories: dict[str, str]) -> None:
        #: Directory by controller.
        self.directories = directories
        self.operations: list[Operation] = []
        #: (controller, origin) of everything that was asked for.
        self.needed: list[tuple[str, str]] = []

    def place(self, controller: str, origin: str) -> str:
        """Return the directory of a controller's files. Raises Unsupported where it is not mounted."""
        self.needed.append((controller, origin))
        try:
            return self.directories[controller]
        except KeyError:
            raise Unsupported(f"cgroup controller {controller} is not mounted", origin=origin) from None

    def write(self, controller: str, limits: list[tuple[str, Any, str]]) -> None:
        """Write to files of a controller that depend on one another; nothing where the list is empty."""
        if limits:
            place = self.place(controller, limits[0][2])
            texts = [(file, str(value), origin) for file, value, origin in limits]
            self.operations.append(WriteLimits(place, texts))


def page_limits(resources: dict[str, Any]) -> list[tuple[str, int, str]]:
    """Return (page size, limit, origin) of each huge page limit."""
    return [
        (entry["pageSize"], entry["limit"], f"{ORIGIN}/hugepageLimits/{index}")
        for index, entry in enumerate(resources.get("hugepageLimits") or ())
    ]


def rdma_limits(resources: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return (file, value, origin) of each device's limits (cgroup-v1/rdma; v2 has the same file)."""
    limits = []
    for device, entry in (resources.get("rdma") or {}).items():
        origin = f"{ORIGIN}/rdma/{device}"
        words = [
            f"{word}={entry[key]}"
            for key, word in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
            if entry.get(key) is not None
        ]
        if not words:
            raise NajaError(f"rdma limit of {device}", why="neither hcaHandles nor hcaObjects", origin=origin)
        limits.append(("rdma.max", " ".join([device, *words]), origin))
    return limits
