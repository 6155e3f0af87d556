"""The verb exec: what the process gets from its file, from options, and from the container."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundle import CAPABILITIES, Bundle
from tests.support.command import Result, Runtime

pytestmark = pytest.mark.root

_STATUS = ["/bin/grep", "-E", "^Cap|NoNewPrivs", "/proc/self/status"]


@pytest.fixture
def running(naja: Runtime, bundle: Bundle) -> Bundle:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    return bundle


@pytest.fixture
def from_file(naja: Runtime, running: Bundle, tmp_path: Path) -> Any:
    """Run a process that a file describes: ``from_file(args, **members)``."""

    def run(args: list[str], **members: Any) -> Result:
        path = tmp_path / "process.json"
        path.write_text(json.dumps({"args": args, "cwd": "/", **members}))
        return naja.run("exec", "--process", str(path), running.id, check=False)

    return run


def status_of(result: Result) -> dict[str, int]:
    """Read the lines of /proc/self/status that _STATUS asks for."""
    assert result.status == 0, str(result)
    return {
        name: int(value, 16)
        for name, value in (line.split(":\t") for line in result.stdout.split("\n") if line)
    }


def mask(*names: str) -> int:
    from naja.linux import capabilities

    return capabilities.mask(list(names))


def test_a_file_that_names_no_capabilities_has_the_containers(from_file: Any) -> None:
    """As with runc and crun; a file that names an empty set has none."""
    sets = status_of(from_file(_STATUS))
    assert sets["CapEff"] == sets["CapPrm"] == sets["CapBnd"] == mask(*CAPABILITIES)
    assert status_of(from_file(_STATUS, capabilities={}))["CapBnd"] == 0
    some = status_of(from_file(_STATUS, capabilities={"bounding": ["CAP_KILL"]}))
    assert some["CapBnd"] == mask("CAP_KILL")


def test_added_capabilities_are_ambient_where_they_are_inheritable(naja: Runtime, bundle: Bundle) -> None:
    """Else a user other than root would not have them after execve(2)."""
    sets = bundle.process["capabilities"]
    sets["bounding"] = [*CAPABILITIES, "CAP_CHOWN", "CAP_FOWNER"]
    sets["inheritable"] = ["CAP_CHOWN", "CAP_KILL"]
    sets["permitted"] = [*CAPABILITIES, "CAP_CHOWN"]
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    words = ("exec", "--user", "1000:1000", "--cap", "CAP_CHOWN", "--cap", "CAP_FOWNER")
    result = naja.run(*words, bundle.id, *_STATUS)
    sets = status_of(result)
    assert sets["CapAmb"] == sets["CapEff"] == mask("CAP_CHOWN")
    assert sets["CapInh"] == mask("CAP_CHOWN", "CAP_KILL")
    assert result.stderr == ""


def test_a_file_that_names_no_label_has_the_containers(naja: Runtime, bundle: Bundle, from_file: Any) -> None:
    """A process without its profile or label would be freer than the rest of the container."""
    # What the container itself could not have here is written into the config that naja keeps of it.
    path = Path(naja.root) / bundle.id / "config.json"
    for member, module, sign in (
        ("apparmorProfile", "AppArmor", "/sys/module/apparmor/parameters/enabled"),
        ("selinuxLabel", "SELinux", "/sys/fs/selinux/enforce"),
    ):
        if Path(sign).exists():
            continue
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "process": {**config["process"], member: "a:b:c"}}))
        for given in ({}, {member: ""}):
            result = from_file(["/bin/true"], **given)
            assert result.status == 255
            assert f"{module} is not active" in result.stderr
        path.write_text(json.dumps(config))


def test_a_file_that_names_no_oom_score_has_the_containers(
    naja: Runtime, bundle: Bundle, from_file: Any
) -> None:
    """The caller's own, which an engine may have made low, is not for the container's processes."""
    naja.delete(bundle, "--force")
    bundle.process["oomScoreAdj"] = 300
    naja.run_detached(bundle.save())
    score = ["/bin/cat", "/proc/self/oom_score_adj"]
    assert from_file(score).stdout == "300\n"
    assert from_file(score, oomScoreAdj=400).stdout == "400\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cwd", "tmp"], "--cwd: must be an absolute path, not 'tmp'"),
        (["-g", "-3"], "invalid value for --additional-gids: '-3' is not a group ID"),
        (["-g", "4294967296"], "invalid value for --additional-gids: '4294967296' is not a group ID"),
        (["-e", "FOO"], "'FOO' is not NAME=VALUE, asked for by --env"),
        (["-e", "=x"], "'=x' is not NAME=VALUE, asked for by --env"),
        (["--console-socket", "/none"], "asked for by --console-socket"),
    ],
)
def test_options_are_checked(naja: Runtime, running: Bundle, words: list[str], message: str) -> None:
    result = naja.run("exec", *words, running.id, "/bin/true", check=False)
    assert result.status == 255
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert "config.json" not in result.stderr


def test_a_cgroup_of_no_controller(naja: Runtime, running: Bundle) -> None:
    for words, message in (
        (["--cgroup", "nonsense:/"], "nonsense is no controller of the container's"),
        (["--cgroup", "none"], "asked for by --cgroup"),
    ):
        result = naja.run("exec", *words, running.id, "/bin/true", check=False)
        assert result.status == 255
        assert message in result.stderr
        assert "config.json" not in result.stderr
    for words in ([], ["--cgroup", "/"], ["--cgroup", "pids:/"]):
        assert naja.run("exec", *words, running.id, "/bin/true").status == 0


def test_an_empty_command(naja: Runtime, running: Bundle, from_file: Any) -> None:
    """Engines make 127 of these words."""
    for result in (naja.run("exec", running.id, "", check=False), from_file([""])):
        assert result.status == 255
        assert 'exec: "": executable file not found in $PATH' in result.stderr


@pytest.mark.parametrize("size", [512, 2048, 16384])
@pytest.mark.parametrize("program", [["/bin/sh", "-c", "exit 7"], ["no-such-program"]])
def test_a_small_stack(naja: Runtime, running: Bundle, size: int, program: list[str]) -> None:
    """Where there is no room for two on it, the stage has a memory of its own, and all else is the same."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (size << 10, resource.RLIM_INFINITY))

    result = naja.exec(running, *program, check=False, preexec_fn=limit)
    assert result.status == (7 if "exit 7" in program else 255)
    assert ("executable file not found" in result.stderr) == (program == ["no-such-program"])
