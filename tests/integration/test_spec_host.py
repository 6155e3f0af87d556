"""A first container without an image: what ``make run`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Runtime


def run(naja: Runtime, bundle: Path, *args: str) -> str:
    naja.run("spec", "--host", "--bundle", str(bundle), *args)
    return naja.run("run", "--bundle", str(bundle), "first").stdout


def test_the_hosts_programs_run_inside(naja: Runtime, tmp_path: Path) -> None:
    assert run(naja, tmp_path, "hostname") == "naja\n"


def test_the_hosts_files_are_safe(naja: Runtime, tmp_path: Path) -> None:
    script = "touch /usr/x /etc/x; cat /etc/shadow; touch /tmp/x && ls /tmp; ls /root /home"
    assert run(naja, tmp_path, "sh", "-c", f"({script}) 2>/dev/null").split() == ["x", "/home:", "/root:"]


def test_the_tour(naja: Runtime, tmp_path: Path) -> None:
    shown = run(naja, tmp_path)
    for words in ("uid=0", "naja", "pids.max: 64", "268435456", "Read-only file system", "to /tmp: yes"):
        assert words in shown
