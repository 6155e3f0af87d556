"""Mount options as engines write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.needs import requires_root

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

pytestmark = requires_root


@pytest.mark.parametrize("empty", ["", ",", "nodev,"])
def test_an_empty_option_asks_for_nothing(naja: Runtime, bundle: Bundle, tmp_path: Path, empty: str) -> None:
    """mount(2) passes over it, and Podman 5 writes one for ``--systemd=always``."""
    bundle.mount("/new", "tmpfs", "tmpfs", "mode=700", empty, "size=1m")
    bundle.mount("/bound", "bind", str(tmp_path), "bind", empty)
    for entry in bundle.config["mounts"]:
        if entry["type"] == "cgroup":
            entry["options"].append(empty)
    result = naja.run_attached(bundle.shell("stat -c %a /new; ls -d /bound"))
    assert (result.stdout, result.stderr) == ("700\n/bound\n", "")
