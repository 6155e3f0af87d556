"""What ``naja spec`` writes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from naja import config as configs
from naja.config import template
from naja.errors import NajaError

if TYPE_CHECKING:
    from pathlib import Path


def written(bundle: Path, **options: Any) -> Any:
    (bundle / "rootfs").mkdir(exist_ok=True)
    template.write_spec(str(bundle), **{"rootless": False, "host": False, "args": [], **options})
    configs.read(str(bundle))
    return json.loads((bundle / "config.json").read_text())


def by_runc(bundle: Path, *options: str) -> Any:
    """Return what an older runc writes, less what a newer one writes otherwise."""
    if not shutil.which("runc"):
        pytest.skip("needs runc")
    subprocess.run(["runc", "spec", *options], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["capabilities"].pop("ambient", None)
    config.update(ociVersion="1.3.0", hostname="naja")
    if "/sys/devices/virtual/tpm" not in config["linux"]["maskedPaths"]:
        config["linux"]["maskedPaths"].append("/sys/devices/virtual/tpm")
    return config


@pytest.mark.parametrize("rootless", [False, True])
def test_says_what_runc_says(tmp_path: Path, rootless: bool) -> None:
    (tmp_path / "runc").mkdir()
    expected = by_runc(tmp_path / "runc", *(["--rootless"] if rootless else []))
    (tmp_path / "naja").mkdir()
    assert written(tmp_path / "naja", rootless=rootless) == expected


@pytest.mark.parametrize("options", [{}, {"rootless": True}, {"host": True}])
def test_no_capability_can_be_inherited(tmp_path: Path, options: dict[str, bool]) -> None:
    """CVE-2022-24769: not by a program with inheritable capabilities on its file."""
    assert written(tmp_path, **options)["process"]["capabilities"].keys() == {
        "bounding",
        "effective",
        "permitted",
    }


def test_is_never_overwritten(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(NajaError, match="exists already"):
        template.write_spec(str(tmp_path), rootless=False, host=False, args=[])


def test_nowhere(tmp_path: Path) -> None:
    with pytest.raises(NajaError, match="No such file or directory"):
        template.write_spec(str(tmp_path / "none"), rootless=False, host=False, args=[])


def test_host(tmp_path: Path) -> None:
    config = written(tmp_path, host=True, args=["ls", "/"])
    assert config["process"]["args"] == ["ls", "/"]
    mounted = {mount["destination"]: mount for mount in config["mounts"]}
    assert {"/usr", "/etc", "/tmp", "/run"} <= mounted.keys()
    assert "rro" in mounted["/usr"]["options"]
    for name in ("bin", "lib"):
        if os.path.islink(f"/{name}"):
            assert os.readlink(tmp_path / "rootfs" / name) == os.readlink(f"/{name}")
        else:
            assert f"/{name}" in mounted
    if os.path.exists("/etc/shadow"):
        assert "/etc/shadow" in config["linux"]["maskedPaths"]


def test_host_twice(tmp_path: Path) -> None:
    first = written(tmp_path, host=True)
    (tmp_path / "config.json").unlink()
    assert written(tmp_path, host=True) == first


def test_host_for_a_user(tmp_path: Path) -> None:
    config = written(tmp_path, host=True, rootless=True)
    assert {"type": "user"} in config["linux"]["namespaces"]
    assert "resources" not in config["linux"]


def test_host_does_not_replace_files(tmp_path: Path) -> None:
    linked = next((name for name in ("bin", "lib", "sbin") if os.path.islink(f"/{name}")), None)
    if linked is None:
        pytest.skip("needs a host with merged /usr")
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "rootfs" / linked).write_text("mine")
    with pytest.raises(NajaError, match="File exists"):
        written(tmp_path, host=True)
