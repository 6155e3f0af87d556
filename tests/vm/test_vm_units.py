"""Units of systemd that have the name of a container's: whose they are, and what becomes of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


@pytest.fixture(autouse=True)
def _only_systemd(manager: str) -> None:
    if manager != "systemd":
        pytest.skip("needs systemd")


def show(unit: str, name: str) -> str:
    """Return a property of a unit, as systemd has it."""
    words = ("systemctl", "show", "--property", name, "--value", unit)
    return subprocess.check_output(words, text=True).strip()


class Stranger:
    """Somebody else's scope, with a process in it."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.process = subprocess.Popen(
            ["systemd-run", "--scope", f"--unit={unit}", "--quiet", "sleep", "1000"]
        )

    def wait_for(self, state: str) -> None:
        wait_until(lambda: show(self.unit, "ActiveState") == state, timeout=60, what=f"{self.unit} {state}")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def stranger() -> Iterator[Callable[[str], Stranger]]:
    """Start scopes; they end with the test."""
    made: list[Stranger] = []

    def start(unit: str) -> Stranger:
        made.append(Stranger(unit))
        made[-1].wait_for("active")
        return made[-1]

    yield start
    for one in made:
        one.end()
        subprocess.run(["systemctl", "reset-failed", one.unit], check=False, stderr=subprocess.DEVNULL)


def unit_of(bundle: Bundle) -> str:
    return f"naja-{bundle.id}.scope"


def test_somebody_elses_scope_of_that_name(
    naja: Runtime, bundle: Bundle, stranger: Callable[[str], Stranger]
) -> None:
    """It is refused, and the undo leaves the unit and its processes alone."""
    other = stranger(unit_of(bundle))
    before = show(other.unit, "InvocationID")
    for verb in ("create", "run"):
        done = naja.run(verb, "--bundle", bundle.path, bundle.id, check=False, timeout=60)
        assert done.status
        assert "UnitExists" in done.stderr
        assert "already" in done.stderr
    assert other.process.poll() is None
    assert (show(other.unit, "ActiveState"), show(other.unit, "InvocationID")) == ("active", before)
    assert naja.ids() == []


def test_a_slice_of_that_name(naja: Runtime, bundle: Bundle) -> None:
    """systemd takes a start of one that is there; it has processes, and is not stopped by the undo."""
    bundle.linux["cgroupsPath"] = "-.slice::system.slice"
    bundle.save()
    before = show("system.slice", "ActiveEnterTimestampMonotonic")
    done = naja.run("create", "--bundle", bundle.path, bundle.id, check=False, timeout=60)
    assert "it exists and has processes in it" in done.stderr
    assert show("system.slice", "ActiveState") == "active"
    assert show("system.slice", "ActiveEnterTimestampMonotonic") == before


@pytest.mark.parametrize("path", ["system.slice:x:system-{}.slice", "system.slice:x:{}.slice", "::{}.slice"])
def test_a_container_in_a_slice_of_its_own(naja: Runtime, bundle: Bundle, path: str) -> None:
    """What systemd says of the unit is true of the container, wherever its name puts the slice."""
    bundle.linux["cgroupsPath"] = path.format(bundle.id)
    bundle.linux["resources"]["pids"] = {"limit": 77}
    naja.run_detached(bundle.args("/bin/sleep", "1000").save(), timeout=60)
    unit = bundle.linux["cgroupsPath"].rpartition(":")[2]
    directory = show(unit, "ControlGroup")
    assert (show(unit, "ActiveState"), show(unit, "TasksMax")) == ("active", "77")
    with open(f"/proc/{naja.state(bundle)['pid']}/cgroup") as file:
        assert file.read() == f"0::{directory}\n"
    assert naja.exec(bundle, "cat", "/proc/self/cgroup").stdout == f"0::{directory}\n"
    naja.delete(bundle, "--force")
    assert show(unit, "ActiveState") == "inactive"
    assert not os.path.exists(f"/sys/fs/cgroup{directory}")


def test_a_service_is_no_scope(naja: Runtime, bundle: Bundle) -> None:
    service = unit_of(bundle).replace(".scope", ".service")
    subprocess.run(["systemd-run", f"--unit={service}", "--quiet", "sleep", "1000"], check=True)
    try:
        naja.run_attached(bundle, timeout=60)
        assert show(service, "ActiveState") == "active"
    finally:
        subprocess.run(["systemctl", "stop", service], check=True)


def test_what_is_left_of_a_scope_that_failed(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Only its name is taken; it is forgotten, and the container has it."""
    unit = unit_of(bundle)
    words = (
        "systemd-run",
        "--scope",
        f"--unit={unit}",
        "--property=RuntimeMaxSec=1",
        "--quiet",
        "sleep",
        "99",
    )
    subprocess.run(words, check=False, timeout=120)
    wait_until(lambda: show(unit, "ActiveState") == "failed", timeout=60, what="failure")
    naja.run_detached(bundle.args("/bin/sleep", "1000"), timeout=60)
    assert show(unit, "ActiveState") == "active"
    naja.delete(bundle, "--force")
    assert show(unit, "LoadState") == "not-found"


def test_the_scope_of_a_stopped_container_is_somebody_elses_by_now(
    naja: Runtime, bundle: Bundle, stranger: Callable[[str], Stranger]
) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"), timeout=60)
    naja.kill(bundle)
    wait_until(lambda: show(unit_of(bundle), "LoadState") == "not-found", timeout=60, what="end of the scope")
    other = stranger(unit_of(bundle))
    naja.run("kill", "--all", bundle.id, "KILL")
    naja.delete(bundle, "--force")
    assert other.process.poll() is None
    assert show(other.unit, "ActiveState") == "active"


def halt(naja: Runtime, bundle: Bundle, tmp_path: Path) -> subprocess.Popen[bytes]:
    """Begin a create that stands still in a hook for good."""
    reached = tmp_path / "reached"
    script = f"echo $$ > {reached}.new; mv {reached}.new {reached}; exec sleep 1000"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    bundle.args("/bin/sleep", "1000").save()
    null = subprocess.DEVNULL
    creating = subprocess.Popen(
        naja.command("create", "--bundle", bundle.path, bundle.id), stdin=null, stdout=null, stderr=null
    )
    wait_until(reached.exists, timeout=60, what="the hook")
    return creating


def kill(creating: subprocess.Popen[bytes], tmp_path: Path) -> None:
    creating.kill()
    creating.wait()
    os.kill(int((tmp_path / "reached").read_text()), signal.SIGKILL)


def test_a_create_that_was_killed_leaves_no_unit(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    kill(halt(naja, bundle, tmp_path), tmp_path)
    naja.delete(bundle, "--force")
    wait_until(lambda: show(unit_of(bundle), "LoadState") == "not-found", timeout=60, what="end of the scope")


def test_a_create_that_was_killed_and_whose_name_somebody_has(
    naja: Runtime, bundle: Bundle, tmp_path: Path, stranger: Callable[[str], Stranger]
) -> None:
    kill(halt(naja, bundle, tmp_path), tmp_path)
    wait_until(lambda: show(unit_of(bundle), "LoadState") == "not-found", timeout=60, what="end of the scope")
    other = stranger(unit_of(bundle))
    naja.delete(bundle, "--force")
    assert other.process.poll() is None
    assert show(other.unit, "ActiveState") == "active"


def test_one_of_many_has_the_scope(naja: Runtime, busybox_bundle: Callable[[], Bundle], tag: str) -> None:
    bundles = [busybox_bundle().args("/bin/sleep", "1000") for _ in range(3)]
    for bundle in bundles:
        bundle.linux["cgroupsPath"] = f"system.slice:naja:{tag}"
        bundle.save()
    unit = f"naja-{tag}.scope"
    null = subprocess.DEVNULL
    for _ in range(3):
        running = [
            subprocess.Popen(
                naja.command("create", "--bundle", b.path, b.id), stdin=null, stdout=null, stderr=null
            )
            for b in bundles
        ]
        won = [bundle for bundle, one in zip(bundles, running, strict=True) if one.wait(timeout=120) == 0]
        assert len(won) == 1
        assert naja.ids() == [won[0].id]
        assert (naja.status(won[0]), show(unit, "ActiveState")) == ("created", "active")
        naja.delete(won[0], "--force")
        wait_until(lambda: show(unit, "LoadState") == "not-found", timeout=60, what="end of the scope")


def test_a_job_that_fails(naja: Runtime, bundle: Bundle) -> None:
    """The unit that it waits for fails; nothing is left of the container's."""
    path = "/run/systemd/system/naja-failing.service"
    with open(path, "w") as file:
        file.write("[Service]\nType=oneshot\nExecStart=/bin/false\n")
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    try:
        bundle.config["annotations"] = {
            "org.systemd.property.Requires": "['naja-failing.service']",
            "org.systemd.property.After": "['naja-failing.service']",
        }
        bundle.save()
        done = naja.run("create", "--bundle", bundle.path, bundle.id, check=False, timeout=60)
        assert "systemd's job ended with 'dependency'" in done.stderr
        assert naja.ids() == []
        wait_until(lambda: show(unit_of(bundle), "LoadState") == "not-found", timeout=60, what="its end")
    finally:
        os.unlink(path)
        subprocess.run(["systemctl", "reset-failed", "naja-failing.service"], check=False)
        subprocess.run(["systemctl", "daemon-reload"], check=True)


def test_without_a_bus_root_reaches_systemd(naja: Runtime, bundle: Bundle) -> None:
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}
    bundle.linux["resources"]["pids"] = {"limit": 17}
    naja.run_detached(bundle.args("/bin/sleep", "1000"), env=environment, timeout=60)
    unit = unit_of(bundle)
    assert (show(unit, "ActiveState"), show(unit, "TasksMax")) == ("active", "17")
    naja.run("update", "--pids-limit", "19", bundle.id, env=environment, timeout=60)
    assert show(unit, "TasksMax") == "19"
    naja.run("delete", "--force", bundle.id, env=environment, timeout=60)
    assert show(unit, "LoadState") == "not-found"


def test_annotations_of_a_unit(naja: Runtime, bundle: Bundle) -> None:
    """A byte string is understood; no other slice than that of the path is."""
    prefix = "org.systemd.property."
    bundle.config["annotations"] = {f"{prefix}AllowedCPUs": r"b'\x01'", f"{prefix}Slice": "'system.slice'"}
    naja.run_detached(bundle.args("/bin/sleep", "1000"), timeout=60)
    assert (show(unit_of(bundle), "AllowedCPUs"), show(unit_of(bundle), "Slice")) == ("0", "system.slice")
    naja.delete(bundle, "--force")
    bundle.config["annotations"] = {f"{prefix}Slice": "'other.slice'"}
    done = naja.run_attached(bundle.save(), check=False, timeout=60)
    assert done.status == 1
    assert f"/annotations/{prefix}Slice" in done.stderr


def test_an_attached_run_is_the_main_process_of_its_service(naja: Runtime, bundle: Bundle) -> None:
    """Else systemd would supervise a process that is not its child, and its status would be lost."""
    program = (
        "import os, socket, sys, time\n"
        "speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "speaker.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n"
        "time.sleep(1)\n"
        "sys.exit(3)"
    )
    shutil.rmtree(bundle.rootfs)
    os.unlink(f"{bundle.path}/config.json")
    naja.run("spec", "--host", "--bundle", bundle.path, "/usr/bin/python3", "-c", program)
    with open(f"{bundle.path}/config.json") as file:
        bundle.config = json.load(file)
    bundle.process["terminal"] = False
    bundle.linux["cgroupsPath"] = f"system.slice:naja:{bundle.id}"
    bundle.save()
    service = f"{bundle.id}.service"
    command = naja.command("run", "--bundle", bundle.path, bundle.id)
    words = ["systemd-run", f"--unit={service}", "--property=Type=notify", "--quiet", *command]
    subprocess.run(words, check=True, timeout=120)
    try:
        wait_until(lambda: show(service, "ActiveState") == "failed", timeout=60, what="its end")
        assert (show(service, "Result"), show(service, "ExecMainStatus")) == ("exit-code", "3")
    finally:
        subprocess.run(["systemctl", "reset-failed", service], check=False)
