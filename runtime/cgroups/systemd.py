"""The managers of cgroups that belong to a unit of systemd, on v1 hosts and on v2."""

from __future__ import annotations

from ..errors import NajaError, Unsupported
from ..operations.scope import LimitUnit
from ..systemd.bus import Systemd
from . import devices, units
from .base import Manager
from .v1 import ManagerV1
from .v2 import ManagerV2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation


def restore_unit(record: dict[str, Any]) -> Manager:
    """Return the manager that ``Manager.record`` told of."""
    return UnitV1(record) if record["kind"] == "v1" else UnitV2(record)


def limit_operation(unit: str, resources: dict[str, Any], kind: str, *, user: bool) -> Operation:
    """Return the operation that tells systemd the limits in ``resources``, and the devices if it has them."""
    allow_all, exceptions = False, None
    if "devices" in resources:
        allow_all, rules = devices.rules(resources["devices"])
        try:
            exceptions = devices.exceptions(allow_all, rules)
        except Unsupported:
            if kind == "v1":
                raise
            # Systemd's list has no order either; on v2 naja's own filter decides alone.
            allow_all, exceptions = True, []
    return LimitUnit(
        unit,
        units.limit_properties(resources, kind),
        user=user,
        allow_all_devices=allow_all,
        device_exceptions=exceptions,
    )


class _Unit(Manager):
    """What both do: tell systemd before the cgroup's files are written, and when the unit ends."""

    def _settings(self, resources: dict[str, Any]) -> list[Operation]:
        tell = limit_operation(self.unit, resources, self.kind, user=self.rootless)
        return [tell, *super()._settings(resources)]

    def delete(self) -> None:
        """Stop the unit, and remove what systemd leaves of its cgroups. Raises NajaError."""
        try:
            self._stop()
        except NajaError:
            # Where systemd never answered there is no unit either.
            if self.exists():
                raise
        super().delete()

    def _stop(self) -> None:
        # Of a create that was killed there may be no more than the mark, which a slice of others can bear.
        found = not self.invocation and self.exists() and not self.unit.endswith(".slice")
        if not (self.invocation or found):
            return
        with Systemd(user=self.rootless) as systemd:
            invocation = self.invocation or systemd.invocation(self.unit)
            # Is the mark there, the unit that had the name a moment ago is ours.
            if invocation and (not found or any(map(self._owns, self.places.values()))):
                systemd.stop(f"stop systemd unit {self.unit}", invocation)


class UnitV1(_Unit, ManagerV1):
    """On a v1 or hybrid host."""


class UnitV2(_Unit, ManagerV2):
    """On a v2 host."""
