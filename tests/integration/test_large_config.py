"""A container whose config is large: a verb reads it again only where it needs something of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

_MANY = {f"org.example.key{number}": f"value {number}" for number in range(20000)}


def kept(naja: Runtime, bundle: Bundle, name: str) -> str:
    """Return the path of a file that is kept of a container."""
    return os.path.join(naja.root, bundle.id, name)


def test_verbs_that_need_nothing_of_the_config(naja: Runtime, bundle: Bundle) -> None:
    """The record is small, and is all that start, kill and delete read."""
    bundle.config["process"]["args"] = ["/bin/sleep", "100"]
    bundle.config["annotations"] = _MANY
    bundle.save()
    naja.create(bundle)
    assert naja.state(bundle)["annotations"] == _MANY
    assert os.path.getsize(kept(naja, bundle, "state.json")) < 8192
    os.unlink(kept(naja, bundle, "config.json"))
    naja.start(bundle)
    naja.kill(bundle)
    assert naja.delete(bundle, "--force").stderr == ""


@pytest.mark.parametrize("count", [0, 3, 20000])
def test_hooks_are_told_all_annotations(naja: Runtime, bundle: Bundle, count: int) -> None:
    annotations = dict([*_MANY.items()][:count])
    said = {kind: os.path.join(bundle.path, kind) for kind in ("poststart", "poststop")}
    bundle.config["annotations"] = annotations
    bundle.config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"cat > {path}"]}] for kind, path in said.items()
    }
    bundle.save()
    naja.run_attached(bundle)
    for path in said.values():
        with open(path, encoding="utf-8") as file:
            assert json.load(file).get("annotations", {}) == annotations


def test_a_record_of_before(naja: Runtime, bundle: Bundle) -> None:
    """A container that an older naja has made is looked up in its config."""
    bundle.config["process"]["args"] = ["/bin/sleep", "100"]
    bundle.config["annotations"] = {"key": "value"}
    bundle.config["hooks"] = {
        "poststop": [{"path": "/bin/touch", "args": ["touch", f"{bundle.path}/stopped"]}]
    }
    bundle.save()
    naja.create(bundle)
    with open(kept(naja, bundle, "state.json"), "r+", encoding="utf-8") as file:
        record = json.load(file)
        record.pop("traits", None)
        file.seek(0)
        file.truncate()
        json.dump(record, file)
    assert naja.state(bundle)["annotations"] == {"key": "value"}
    naja.start(bundle)
    naja.delete(bundle, "--force")
    assert os.path.exists(f"{bundle.path}/stopped")
