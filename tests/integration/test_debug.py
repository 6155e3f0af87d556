"""``--debug``: each operation is told as it is applied, with its process, its descriptors and its time."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.rootless import let_through

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

RANGES = [{"containerID": 0, "hostID": 200000, "size": 1000}]
_END = r"(in|failed after) [0-9.]+ ms|next, unheard|as a child of the runtime.*"
_MESSAGE = re.compile(rf"(runtime|stage|init)\[[1-9][0-9]*\]: .*, ({_END})")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def flags(log: Path) -> list[str]:
    return ["--debug", "--log", str(log), "--log-format", "json"]


def told(log: Path) -> list[str]:
    """Return what was told, each in the form that is promised."""
    entries: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    messages = [entry["msg"] for entry in entries if entry["level"] == "debug"]
    for message in messages:
        assert _MESSAGE.fullmatch(message), message
    return messages


def planned(naja: Runtime, bundle: Bundle, *options: str) -> list[tuple[str, str]]:
    """Return the actor and the description of each operation of the bundle's plan."""
    phases = json.loads(naja.run("plan", "--json", *options, bundle.path).stdout)
    return [
        (phase["actor"], one["description"].replace("_ses.ID", f"_ses.{bundle.id}"))
        for phase in phases
        for one in phase["operations"]
    ]


def is_told(messages: list[str], plan: list[tuple[str, str]]) -> None:
    """Assert that each operation of a plan was told of, by who did it."""
    for actor, description in plan:
        who = {"stage": ("stage", "runtime", "init")}.get(actor, (actor,))
        assert any(m.split("[")[0] in who and f"]: {description}" in m for m in messages), description


def user_namespace(bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux.update(uidMappings=RANGES, gidMappings=RANGES)
    subprocess.run(["chown", "-R", "-h", "200000:200000", bundle.rootfs], check=True)
    let_through(bundle.path)


def seccomp(bundle: Bundle) -> None:
    """A filter that ends whoever sends a message."""
    rules = [{"names": ["sendmsg", "sendto"], "action": "SCMP_ACT_KILL_PROCESS"}]
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}


def hooks(bundle: Bundle) -> None:
    bundle.config["hooks"] = {
        kind: [{"path": "/bin/true"}] for kind in ("createRuntime", "createContainer", "startContainer")
    }


def as_it_is(bundle: Bundle) -> None:
    """Change nothing."""


@pytest.mark.parametrize("change", [as_it_is, user_namespace, seccomp, hooks])
def test_run(naja: Runtime, bundle: Bundle, log: Path, change: Any) -> None:
    change(bundle)
    bundle.shell("echo hi; exit 3")
    naja.argv = [*naja.argv, *flags(log)]
    done = naja.run_attached(bundle, check=False)
    assert (done.status, done.stdout, done.stderr) == (3, "hi\n", "")
    is_told(told(log), planned(naja, bundle, "--run"))


@pytest.mark.parametrize("change", [as_it_is, user_namespace, seccomp, hooks])
def test_create_and_start(naja: Runtime, bundle: Bundle, log: Path, change: Any) -> None:
    """What is left for the start is told there."""
    change(bundle)
    naja.argv = [*naja.argv, *flags(log)]
    naja.create(bundle.args("/bin/sleep", "1000"))
    created = told(log)
    assert not any("execute /bin/sleep" in message for message in created)
    naja.start(bundle)
    started = told(log)[len(created) :]
    assert started[-1].endswith("execute /bin/sleep 1000 [/process/args/0], next, unheard")
    assert started[0].startswith(f"init[{naja.state(bundle)['pid']}]: wait at the gate")
    is_told(created + started, planned(naja, bundle))


def test_started_by_somebody_who_does_not_ask(naja: Runtime, bundle: Bundle, log: Path) -> None:
    naja.detached(*flags(log), "create", "--bundle", bundle.args("/bin/true").path, bundle.id)
    done = naja.start(bundle)
    assert (done.stdout, done.stderr) == ("", "")
    naja.wait_for(bundle, "stopped")


def test_exec(naja: Runtime, bundle: Bundle, log: Path) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    naja.argv = [*naja.argv, *flags(log)]
    assert naja.exec(bundle, "echo", "hi").stdout == "hi\n"
    messages = told(log)
    assert any(message.startswith("stage[") and "join" in message for message in messages)
    assert messages[-1].endswith("execute echo hi [/process/args/0], next, unheard")


def test_on_which_descriptor(naja: Runtime, bundle: Bundle, log: Path) -> None:
    naja.run(*flags(log), "run", "--bundle", bundle.args("/bin/true").path, bundle.id)
    (root,) = [message for message in told(log) if "bind the root file system" in message]
    number = re.search(r", rootfs is ([0-9]+),", root)
    assert number
    (proc,) = [message for message in told(log) if ": mount proc on /proc" in message]
    assert f", rootfs is {number[1]}, in " in proc


def test_what_fails_is_told(naja: Runtime, bundle: Bundle, log: Path) -> None:
    bundle.mount("/x", "bind", "/nowhere", "bind")
    command = naja.command(*flags(log), "run", "--bundle", bundle.path, bundle.id)
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert any("/nowhere on /x" in message and "failed after" in message for message in told(log))
    assert json.loads(log.read_text().splitlines()[-1])["level"] == "error"


def test_as_text_and_on_stderr(naja: Runtime, bundle: Bundle, log: Path) -> None:
    bundle.shell("true\ntrue")
    naja.run("--debug", "--log", str(log), "run", "--bundle", bundle.path, bundle.id)
    assert re.search(
        r'^time="[^"]+" level=debug msg="init\[[0-9]+\]: mount proc on /proc', log.read_text(), re.M
    )
    done = naja.run("--debug", "run", "--bundle", bundle.path, bundle.id)
    assert all(line.startswith("naja: debug: ") for line in done.stderr.splitlines())
    assert "naja: debug: init[" in done.stderr


def test_nobody_is_told_unasked(naja: Runtime, bundle: Bundle, log: Path) -> None:
    naja.run("--log", str(log), "run", "--bundle", bundle.args("/bin/true").path, bundle.id)
    assert log.read_text() == ""
