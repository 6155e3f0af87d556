"""The managers of cgroups that belong to a unit of systemd, on v1 hosts and on v2."""

from __future__ import annotations

from runtime.cgroups import devices as device_rules
from runtime.cgroups import units
from runtime.cgroups.base import Manager
from runtime.cgroups.bus import BusError, Systemd, variants
from runtime.cgroups.v1 import ManagerV1
from runtime.cgroups.v2 import ManagerV2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def restore_unit(record: dict[str, Any]) -> Manager:
    """Return the manager that ``Manager.record`` told of."""
    return UnitV1(record) if record["kind"] == "v1" else UnitV2(record)


class _Unit(Manager):
    """What both do: tell systemd before the cgroup's files are written, and when the unit ends."""

    def apply(self, resources: dict[str, Any]) -> None:
        """Set new limits, of the unit and in the cgroups. Raises NajaError."""
        properties = units.limit_properties(resources, self.kind)
        if "devices" in resources:
            allow_all, rules = device_rules.rules(resources["devices"])
            exceptions = device_rules.exceptions(allow_all, rules)
            properties += units.device_properties(allow_all, exceptions, units.drivers())
        with Systemd(user=self.rootless) as systemd:
            # For the life of the unit, not for ever: the second argument.
            what = f"set properties of systemd unit {self.unit}"
            systemd.call(what, "SetUnitProperties", "sba(sv)", self.unit, True, variants(properties))
        super().apply(resources)

    def delete(self) -> None:
        """Stop the unit, and remove what systemd leaves of its cgroups. Raises NajaError."""
        what = f"stop systemd unit {self.unit}"
        with Systemd(user=self.rootless) as systemd:
            for run, method, arguments in (
                (systemd.run_job, "StopUnit", (self.unit, "replace")),
                (systemd.call, "ResetFailedUnit", (self.unit,)),
            ):
                try:
                    run(what, method, "s" * len(arguments), *arguments)
                except BusError as error:
                    # It ended when its last process did, or has not failed.
                    if not error.name.endswith(".NoSuchUnit"):
                        raise
        super().delete()


class UnitV1(_Unit, ManagerV1):
    """On a v1 or hybrid host."""


class UnitV2(_Unit, ManagerV2):
    """On a v2 host."""
