"""``--systemd-cgroup`` where there is no systemd; tests/vm has a machine where there is one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

pytestmark = pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="this machine has systemd")


def test_without_a_bus_the_error_says_so_and_nothing_is_left(naja: Runtime, bundle: Bundle) -> None:
    if naja.name == "runc":
        pytest.skip("runc has words of its own")
    bundle.linux["cgroupsPath"] = f"system.slice:naja:{bundle.id}"
    bundle.save()
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bus"}
    result = naja.run(
        "--systemd-cgroup", "run", "--bundle", bundle.path, bundle.id, check=False, env=environment
    )
    assert result.status != 0
    assert "reach systemd over the system bus unix:path=/nonexistent/bus" in result.stderr
    assert naja.ids() == []


def test_a_path_that_names_no_unit_is_refused(naja: Runtime, bundle: Bundle) -> None:
    if naja.name == "runc":
        pytest.skip("runc has words of its own")
    result = naja.run("--systemd-cgroup", "run", "--bundle", bundle.path, bundle.id, check=False)
    assert result.status != 0
    assert "slice:prefix:name" in result.stderr
