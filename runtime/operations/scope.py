"""The operation that lets systemd make a container's cgroup. Done by the runtime."""

from __future__ import annotations

from runtime.cgroups import units
from runtime.cgroups.bus import BusError, Systemd, variants
from runtime.errors import NajaError
from runtime.operations.base import Context, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.cgroups.units import Property


class StartUnit(Operation):
    """Start a transient unit with the container's process in it."""

    __slots__ = ("allow_all_devices", "device_exceptions", "properties", "unit", "user")

    def __init__(
        self,
        unit: str,
        properties: list[Property],
        *,
        user: bool,
        allow_all_devices: bool,
        device_exceptions: list[str],
    ) -> None:
        self.unit = unit
        self.properties = properties
        #: True for the systemd of the calling user.
        self.user = user
        self.allow_all_devices = allow_all_devices
        #: As the kernel writes them: "c 1:3 rwm".
        self.device_exceptions = device_exceptions
        self.origin = "/linux/cgroupsPath"

    def describe(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, _, value in self.properties)
        return f"start systemd unit {self.unit}: {settings}"

    def apply(self, context: Context) -> None:
        what = f"start systemd unit {self.unit}"
        devices = units.device_properties(self.allow_all_devices, self.device_exceptions, units.drivers())
        process: list[Property] = [("PIDs", "au", [context.pid])]
        # A slice has no processes of its own.
        if self.unit.endswith(".slice"):
            process = []
        properties = variants(self.properties + devices + process)
        arguments: tuple[Any, ...] = (self.unit, "replace", properties, [])
        with Systemd(user=self.user) as systemd:
            try:
                result = systemd.run_job(what, "StartTransientUnit", "ssa(sv)a(sa(sv))", *arguments)
            except BusError as error:
                if not error.name.endswith(".UnitExists"):
                    raise
                # What is left of one that failed: once more without it.
                systemd.call(what, "ResetFailedUnit", "s", self.unit)
                result = systemd.run_job(what, "StartTransientUnit", "ssa(sv)a(sa(sv))", *arguments)
        if result != "done":
            raise NajaError(what, why=f"systemd's job ended with {result!r}", origin=self.origin)
