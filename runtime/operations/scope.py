"""Operations that let systemd make and limit a container's cgroup. Done by the runtime."""

from __future__ import annotations

from ..errors import NajaError
from ..linux.cgroupfs import read
from ..systemd.bus import BusError, Systemd, variants
from .base import Context, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..systemd.bus import Property


class StartUnit(Operation):
    """Start a transient unit, with the stage or the init in it: there are none without a process."""

    __slots__ = ("properties", "unit", "user")

    def __init__(self, unit: str, properties: list[Property], *, user: bool) -> None:
        self.unit = unit
        self.properties = properties
        #: True for the systemd of the calling user.
        self.user = user
        self.origin = "/linux/cgroupsPath"

    def describe(self) -> str:
        return f"start systemd unit {self.unit}: {_assignments(self.properties)}"

    def apply(self, context: Context) -> None:
        what = f"start systemd unit {self.unit}"
        # A slice has no processes of its own.
        scope = not self.unit.endswith(".slice")
        # Where no stage is needed, the init is there already. (0 would be naja itself.)
        pid = context.values["stage"] or context.values["init"]
        process: list[Property] = [("PIDs", "au", [pid])] if scope else []
        with Systemd(user=self.user) as systemd:
            # A slice without a file is not refused where it is there, and goes on as it was.
            before = "" if scope else systemd.invocation(self.unit)
            result = self._start(systemd, what, self.properties + process)
            # By its name alone, another one's unit that has taken its place would be ours, too.
            invocation = systemd.invocation(self.unit)
            if invocation not in ("", before) and (result == "done" or systemd.is_down(invocation)):
                context.values["unit invocation"] = invocation
        if result != "done":
            raise NajaError(what, why=f"systemd's job ended with {result!r}", origin=self.origin)

    def _start(self, systemd: Systemd, what: str, properties: list[Property]) -> str:
        """Return the result of the job. Raises BusError where there is a unit of that name."""
        arguments: tuple[Any, ...] = (self.unit, "replace", variants(properties), [])
        try:
            return systemd.run_job(what, "StartTransientUnit", "ssa(sv)a(sa(sv))", *arguments)
        except BusError as error:
            if not (error.name.endswith(".UnitExists") and systemd.is_down(self.unit)):
                raise
        # What is left of one that failed: once more without it.
        systemd.forget(what, self.unit)
        return systemd.run_job(what, "StartTransientUnit", "ssa(sv)a(sa(sv))", *arguments)


class LimitUnit(Operation):
    """Tell systemd a unit's limits and devices, so that it does not take them back."""

    __slots__ = ("allow_all_devices", "device_exceptions", "properties", "unit", "user")

    def __init__(
        self,
        unit: str,
        properties: list[Property],
        *,
        user: bool,
        allow_all_devices: bool,
        device_exceptions: list[str] | None,
    ) -> None:
        self.unit = unit
        self.properties = properties
        self.user = user
        self.allow_all_devices = allow_all_devices
        #: As the kernel writes them ("c 1:3 rwm"); None where devices are left as they are.
        self.device_exceptions = device_exceptions
        self.origin = "/linux/resources"

    def describe(self) -> str:
        return f"set properties of systemd unit {self.unit}: {_assignments(self.properties)}"

    def apply(self, context: Context) -> None:
        properties = self.properties
        if self.device_exceptions is not None:
            properties = properties + device_properties(
                self.allow_all_devices, self.device_exceptions, drivers()
            )
        with Systemd(user=self.user) as systemd:
            # For the life of the unit, not for ever: the second argument.
            what = f"set properties of systemd unit {self.unit}"
            systemd.call(what, "SetUnitProperties", "sba(sv)", self.unit, True, variants(properties))


def _assignments(properties: list[Property]) -> str:
    return ", ".join(f"{name}={value}" for name, _, value in properties)


def device_properties(allow_all: bool, exceptions: list[str], majors: dict[str, str]) -> list[Property]:
    """Return the device rules for systemd, which would else reset those of v1 when it reloads.

    ``exceptions`` are as the kernel writes them ("c 1:3 rwm"), ``majors`` the names of drivers in
    /proc/devices by "c 136". That all but some are allowed systemd cannot say: it is left to the cgroup.
    """
    if allow_all:
        return [("DevicePolicy", "s", "auto"), ("DeviceAllow", "a(ss)", [])]
    allowed = []
    for exception in exceptions:
        kind, device, access = exception.split()
        major, minor = device.split(":")
        group = "char" if kind == "c" else "block"
        if major == "*":
            allowed.append((f"{group}-*", access))
        elif minor != "*":
            allowed.append((f"/dev/{group}/{device}", access))
        elif driver := majors.get(f"{kind} {major}"):
            allowed.append((f"{group}-{driver}", access))
    return [("DevicePolicy", "s", "strict"), ("DeviceAllow", "a(ss)", allowed)]


def drivers() -> dict[str, str]:
    """Return the names of the drivers of devices, by "c MAJOR" and "b MAJOR" (proc(5), /proc/devices)."""
    names: dict[str, str] = {}
    kind = "c"
    for line in read("/proc/devices").split("\n"):
        if line.startswith("Block"):
            kind = "b"
        words = line.split()
        if len(words) == 2 and words[0].isdigit():
            names.setdefault(f"{kind} {words[0]}", words[1])
    return names
