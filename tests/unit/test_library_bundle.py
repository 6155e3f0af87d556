"""naja.Bundle: each step is a place in config.json, and what no container can be made of is not written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from naja import AlreadyExists, Bundle, ConfigError
from naja.types import Config


def test_it_begins_as_spec_does() -> None:
    config = Bundle().config
    assert config["process"]["terminal"] is False
    assert config["root"] == {"path": "rootfs", "readonly": True}
    assert {"type": "network"} in config["linux"]["namespaces"]


def test_a_config_that_is_given_is_copied() -> None:
    given: Config = {"ociVersion": "1.3.0", "hostname": "a"}
    assert Bundle(given).hostname("b").args("ls").config["hostname"] == "b"
    assert given == {"ociVersion": "1.3.0", "hostname": "a"}


def test_each_step(tmp_path: Path) -> None:
    bundle = (
        Bundle()
        .rootfs(tmp_path, readonly=False)
        .args("/bin/ls", Path("/data"))
        .env({"A": "1", "TERM": "dumb"}, B="2")
        .cwd(Path("/tmp"))
        .user(7, groups=[8])
        .capabilities("CAP_KILL")
        .rlimit("RLIMIT_NOFILE", 64)
        .rlimit("RLIMIT_CORE", 0, 5)
        .terminal()
        .hostname("box")
        .annotations({"org.example": "x"})
        .mount(tmp_path, "/data", readonly=True)
        .mount("proc", "/p", type="proc", options=["ro"])
        .tmpfs("/scratch", size="16m", mode=0o755)
        .limit(memory="64m", swap=128 << 20, pids=32, cpus=0.5)
        .host_network()
    )
    config = bundle.validate().config
    process = config["process"]
    assert config["root"] == {"path": str(tmp_path), "readonly": False}
    assert process["args"] == ["/bin/ls", "/data"]
    assert process["env"][-3:] == ["A=1", "TERM=dumb", "B=2"]
    assert "TERM=xterm" not in process["env"]
    assert (process["cwd"], process["terminal"]) == ("/tmp", True)
    assert process["user"] == {"uid": 7, "gid": 7, "additionalGids": [8]}
    assert process["capabilities"]["bounding"] == ["CAP_KILL"]
    assert process["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 5},
    ]
    assert (config["hostname"], config["annotations"]) == ("box", {"org.example": "x"})
    assert config["mounts"][-3:] == [
        {
            "destination": "/data",
            "type": "bind",
            "source": str(tmp_path),
            "options": ["rbind", "nosuid", "nodev", "rro"],
        },
        {"destination": "/p", "type": "proc", "source": "proc", "options": ["ro"]},
        {
            "destination": "/scratch",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=755", f"size={16 << 20}"],
        },
    ]
    resources = config["linux"]["resources"]
    assert resources["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert resources["pids"] == {"limit": 32}
    assert resources["cpu"] == {"period": 100_000, "quota": 50_000}
    assert {"type": "network"} not in config["linux"]["namespaces"]


@pytest.mark.parametrize(
    ("text", "bytes"),
    [("64m", 64 << 20), ("1.5G", 3 << 29), ("10", 10), (" 4KiB ", 4096), (5, 5), ("2MB", 2 << 20)],
)
def test_sizes(text: str | int, bytes: int) -> None:
    assert Bundle().limit(memory=text).config["linux"]["resources"]["memory"]["limit"] == bytes


@pytest.mark.parametrize("text", ["", "m", "64x", "one", "1mk"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        Bundle().limit(memory=text)


def test_write(tmp_path: Path) -> None:
    path = Bundle.from_host("ls").write(tmp_path / "new" / "box")
    assert path == tmp_path / "new" / "box"
    config = json.loads((path / "config.json").read_text())
    assert config["process"]["args"] == ["ls"]
    assert config["linux"]["resources"]["pids"] == {"limit": 64}
    # Links to the host's programs, as on the host.
    assert os.path.islink(path / "rootfs" / "bin") == os.path.islink("/bin")
    with pytest.raises(AlreadyExists, match="exists already: remove it first"):
        Bundle().write(path)


def test_what_is_wrong_is_not_written(tmp_path: Path) -> None:
    bundle = Bundle().cwd("not absolute")
    with pytest.raises(ConfigError) as wrong:
        bundle.write(tmp_path / "box")
    assert wrong.value.origin == "/process/cwd"
    assert not (tmp_path / "box").exists()


def test_without_root() -> None:
    linux = Bundle.from_host("id").rootless().config["linux"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    assert "resources" not in linux
