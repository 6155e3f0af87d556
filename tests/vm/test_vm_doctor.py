"""What `naja doctor` claims in a guest, held against what happens: as root, and as a user."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from naja.cgroups import detect
from tests.support import claims
from tests.support.rootless import AS_NOBODY, let_through, nobodys_bundle, nobodys_runtime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

#: A guest's root is an overlay, on which no second one can be mounted; the claim is about another place.
LEFT_OUT = ("overlay",)


@pytest.fixture(autouse=True)
def _naja_alone(naja: Runtime) -> None:
    if naja.name in ("runc", "crun"):
        pytest.skip("only naja has a doctor")


def plain(bundle: Bundle) -> Bundle:
    bundle.args("/bin/true")
    bundle.process.pop("rlimits", None)
    return bundle.save()


@pytest.mark.timeout(900)
def test_root(naja: Runtime, manager: str, busybox_bundle: Callable[[], Bundle], tmp_path: Path) -> None:
    let_through(str(tmp_path))

    def make() -> Bundle:
        bundle = plain(busybox_bundle())
        # The claims are about where a container is that names no place.
        bundle.linux.pop("cgroupsPath")
        if manager == "systemd":
            bundle.linux["cgroupsPath"] = f"system.slice:naja:{bundle.id}"
        return bundle

    left_out = (*LEFT_OUT, "cgroup-made") if manager == "systemd" else LEFT_OUT
    assert claims.wrong(naja, make, verdicts=False, leave_out=left_out) == []


@pytest.mark.timeout(900)
def test_a_user(naja: Runtime, manager: str, tmp_path: Path, tag: str, busybox_rootfs: str) -> None:
    if manager == "systemd" or os.path.isdir("/run/systemd/system"):
        pytest.skip("to nobody, who has no systemd of its own (test_vm_user.py), it is a host with v2")
    if detect().kind == "v1":
        pytest.skip("tests/integration/test_doctor.py does this on such a host")
    let_through(str(tmp_path))
    runtime = nobodys_runtime(naja, str(tmp_path))
    made: list[str] = []

    def make() -> Bundle:
        made.append(f"{tmp_path}/{len(made)}")
        os.mkdir(made[-1])
        return plain(nobodys_bundle(made[-1], f"{tag}{len(made)}", busybox_rootfs))

    left_out = (*LEFT_OUT, "device-nodes", "controller-devices")
    assert claims.wrong(runtime, make, verdicts=False, leave_out=left_out, **AS_NOBODY) == []


def test_systemd(naja: Runtime, manager: str, bundle: Bundle) -> None:
    """Where it says that there is a systemd, a container can be a unit of it."""
    found: dict[str, Any] = {
        one["key"]: one for one in json.loads(naja.run("doctor", "--json", timeout=120).stdout)["findings"]
    }
    if manager != "systemd":
        bundle.linux["cgroupsPath"] = f"system.slice:naja:{bundle.id}"
        naja.argv = [*naja.argv, "--systemd-cgroup"]
    done = naja.run_attached(plain(bundle), check=False)
    assert (done.status == 0) is found["systemd"]["works"], (found["systemd"], done.stderr)
