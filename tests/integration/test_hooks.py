"""The six kinds of hooks: their order, state, environment, namespaces, timeout, and what a failure does."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
BEFORE_PIVOT = ("prestart", "createRuntime", "createContainer")

#: The status that a hook of each kind is told (runtime.md, lifecycle; config.md, POSIX-platform Hooks).
STATUS = dict(zip(KINDS, ("created", "created", "created", "created", "running", "stopped"), strict=True))


class Recorder:
    """Hooks that append a line of JSON to a file in the root file system, which all of them can reach."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        # startContainer runs in the container, by the same path as on the host.
        self.log = os.path.join(bundle.rootfs, "log")
        self.hooks: dict[str, list[dict[str, Any]]] = bundle.config.setdefault("hooks", {})

    def add(self, kind: str, name: str, script: str = "", **properties: Any) -> None:
        """Add a hook that records its name and state, and then runs ``script``."""
        inside = kind == "startContainer"
        log = "/log" if inside else self.log
        text = f'printf "%s %s\\n" "$1" "$(tr -d "\\n")" >> {log}\n{script}\n'
        path = "/bin/sh"
        self.hooks.setdefault(kind, []).append(
            {"path": path, "args": ["sh", "-c", text, "hook", name], **properties}
        )

    def save(self) -> None:
        self.bundle.save()

    def lines(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the name and the state of each hook that ran, in that order."""
        if not os.path.exists(self.log):
            return []
        found = []
        with open(self.log) as file:
            for line in file:
                name, _, state = line.partition(" ")
                found.append((name, json.loads(state)))
        return found

    def names(self) -> list[str]:
        return [name for name, _ in self.lines()]


@pytest.fixture
def recorder(bundle: Bundle) -> Recorder:
    return Recorder(bundle)


def test_order_and_state(naja: Runtime, bundle: Bundle, recorder: Recorder) -> None:
    bundle.config["annotations"] = {"org.example.key": "value"}
    for kind in KINDS:
        recorder.add(kind, kind)
        recorder.add(kind, kind + "-again")
    bundle.args("/bin/sleep", "1000")

    naja.create(bundle)
    pid = naja.state(bundle)["pid"]
    expected = [name for kind in BEFORE_PIVOT for name in (kind, kind + "-again")]
    assert recorder.names() == expected
    naja.start(bundle)
    # start returns once the process runs and poststart hooks ran; startContainer came before both.
    expected += ["startContainer", "startContainer-again", "poststart", "poststart-again"]
    assert recorder.names() == expected
    naja.kill(bundle)
    naja.wait_for(bundle, "stopped")
    naja.delete(bundle)
    assert recorder.names() == [*expected, "poststop", "poststop-again"]

    for name, state in recorder.lines():
        kind = name.partition("-")[0]
        assert state["id"] == bundle.id
        assert state["bundle"] == bundle.path
        assert state["ociVersion"]
        assert state["status"] == STATUS[kind], name
        assert state["annotations"] == {"org.example.key": "value"}
        # runtime.md, state: the pid as it is seen in the namespace that the hook runs in; none in the end.
        if kind in ("createContainer", "startContainer"):
            assert state["pid"] == 1, name
        elif kind != "poststop":
            assert state["pid"] == pid, name


def test_hooks_of_run(naja: Runtime, bundle: Bundle, recorder: Recorder) -> None:
    for kind in KINDS:
        recorder.add(kind, kind)
    bundle.shell("sleep 0.3")
    naja.run_attached(bundle)
    assert recorder.names() == list(KINDS)


def test_namespaces(naja: Runtime, bundle: Bundle, recorder: Recorder) -> None:
    """prestart and createRuntime run in the runtime's namespaces, createContainer in the container's."""
    record = "readlink /proc/self/ns/mnt >> {log}"
    links = os.path.join(bundle.rootfs, "links")
    for kind in ("prestart", "createRuntime", "createContainer", "poststart", "poststop"):
        recorder.add(kind, kind, record.format(log=links))
    recorder.add("startContainer", "startContainer", record.format(log="/links"))
    bundle.args("/bin/sleep", "1000")
    naja.create(bundle)
    inside = os.readlink(f"/proc/{naja.state(bundle)['pid']}/ns/mnt")
    naja.start(bundle)
    naja.delete(bundle, "--force")
    host = os.readlink("/proc/self/ns/mnt")
    with open(links) as file:
        assert file.read().split() == [host, host, inside, inside, host, host]


@pytest.mark.parametrize("verb", ["create", "run"])
def test_working_directory(
    naja: Runtime, bundle: Bundle, recorder: Recorder, tmp_path: Path, verb: str
) -> None:
    """They start in the bundle, as runc and crun have it, and leave naja where it is."""
    places = os.path.join(bundle.rootfs, "places")
    for kind in KINDS:
        recorder.add(kind, kind, f"pwd >> {'/places' if kind == 'startContainer' else places}")
    bundle.process["cwd"] = "/tmp"
    bundle.save()
    flags = ["--bundle", os.path.basename(bundle.path), "--pid-file", "pid", bundle.id]
    naja.detached(*(["run", "--detach"] if verb == "run" else ["create"]), *flags, cwd=tmp_path)
    if verb == "create":
        naja.run("start", bundle.id, cwd="/usr")
    assert (tmp_path / "pid").exists()
    naja.wait_for(bundle, "stopped")
    naja.run("delete", bundle.id, cwd="/usr")
    with open(places) as file:
        assert file.read().split() == [bundle.path] * 3 + ["/tmp"] + [bundle.path] * 2


def test_poststop_hooks_of_a_bundle_that_is_gone(
    naja: Runtime, bundle: Bundle, recorder: Recorder, tmp_path: Path
) -> None:
    script = f"pwd > {tmp_path}/place"
    recorder.hooks["poststop"] = [{"path": "/bin/sh", "args": ["sh", "-c", script]}]
    naja.run_detached(bundle.save())
    naja.wait_for(bundle, "stopped")
    os.rename(bundle.path, bundle.path + ".gone")
    assert naja.run("delete", bundle.id, cwd="/usr").stderr == ""
    assert (tmp_path / "place").read_text() == "/usr\n"


def test_environment_is_the_hooks_own(
    naja: Runtime, bundle: Bundle, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAJA_TEST_LEAK", "leaked")
    found = os.path.join(bundle.rootfs, "environment")
    recorder.add("createRuntime", "own", f"env > {found}", env=["ONE=1", "TWO=a=b"])
    recorder.save()
    naja.run_attached(bundle)
    with open(found) as file:
        lines = file.read().split("\n")
    assert "ONE=1" in lines
    assert "TWO=a=b" in lines
    assert not any(line.startswith("NAJA_TEST_LEAK") for line in lines)


@pytest.mark.parametrize("kind", BEFORE_PIVOT)
def test_failure_before_the_start_fails_create(
    naja: Runtime, bundle: Bundle, recorder: Recorder, kind: str
) -> None:
    recorder.add(kind, "bad", "echo the reason >&2; exit 3")
    recorder.add(kind, "never")
    recorder.save()
    failed = naja.create(bundle, check=False)
    assert failed.status == 1
    assert "the reason" in failed.stderr
    assert recorder.names() == ["bad"]
    assert naja.ids() == []


@pytest.mark.parametrize("kind", BEFORE_PIVOT)
def test_poststop_follows_a_failed_create(
    naja: Runtime, bundle: Bundle, recorder: Recorder, kind: str
) -> None:
    """runtime.md, lifecycle: after an error it continues with the destruction, and poststop hooks."""
    recorder.add(kind, "bad", "exit 3")
    recorder.add("poststop", "poststop")
    recorder.save()
    assert naja.create(bundle, check=False).status == 1
    assert recorder.names() == ["bad", "poststop"]


def test_failed_start_container_hook_fails_the_start(
    naja: Runtime, bundle: Bundle, recorder: Recorder
) -> None:
    recorder.add("startContainer", "bad", "exit 3")
    recorder.add("poststart", "never")
    bundle.shell("touch /ran")
    naja.create(bundle)
    assert naja.start(bundle, check=False).status == 1
    wait_until(lambda: naja.status(bundle) == "stopped")
    assert not os.path.exists(os.path.join(bundle.rootfs, "ran"))
    assert recorder.names() == ["bad"]
    naja.delete(bundle)


def test_failed_poststart_hook_stops_the_container(naja: Runtime, bundle: Bundle, recorder: Recorder) -> None:
    """An error since specification 1.2.1, a warning before."""
    recorder.add("poststart", "bad", "exit 3")
    bundle.args("/bin/sleep", "1000")
    naja.create(bundle)
    assert naja.start(bundle, check=False).status == 1
    naja.delete(bundle, "--force")
    assert naja.ids() == []


def test_failed_poststop_hook_is_a_warning(naja: Runtime, bundle: Bundle, recorder: Recorder) -> None:
    recorder.add("poststop", "bad", "exit 3")
    recorder.add("poststop", "next")
    recorder.save()
    naja.run_detached(bundle)
    naja.wait_for(bundle, "stopped")
    naja.delete(bundle)
    assert recorder.names() == ["bad", "next"]
    assert naja.ids() == []


@pytest.mark.parametrize("kind", BEFORE_PIVOT)
def test_timeout(naja: Runtime, bundle: Bundle, recorder: Recorder, kind: str) -> None:
    recorder.add(kind, "slow", "exec sleep 1000", timeout=1)
    recorder.save()
    began = time.monotonic()
    failed = naja.create(bundle, check=False)
    assert failed.status == 1
    assert 0.9 < time.monotonic() - began < 8
    assert naja.ids() == []


def test_timeout_that_is_kept(naja: Runtime, bundle: Bundle, recorder: Recorder) -> None:
    recorder.add("createRuntime", "quick", timeout=20)
    recorder.save()
    began = time.monotonic()
    naja.run_attached(bundle)
    assert time.monotonic() - began < 10
    assert recorder.names() == ["quick"]


def test_a_hook_that_is_not_there(naja: Runtime, bundle: Bundle) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/no/such/hook"}]}
    bundle.save()
    failed = naja.create(bundle, check=False)
    assert failed.status == 1
    assert "/no/such/hook" in failed.stderr
    assert naja.ids() == []


def test_a_hook_that_does_not_read_its_state(naja: Runtime, bundle: Bundle) -> None:
    """The state, here larger than a pipe, must neither block the runtime nor kill it by SIGPIPE."""
    bundle.config["annotations"] = {f"org.example.{number}": "x" * 1000 for number in range(200)}
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}
    bundle.save()
    naja.run_attached(bundle)
