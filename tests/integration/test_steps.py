"""start, state, kill and delete by the steps that the launcher takes: as Python does them, or left to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from naja.startup.facts import FILE
from tests.support.command import Result
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

#: Python does not start with so little memory, and says so. The launcher needs none of it.
WITHOUT_PYTHON = ("/bin/sh", "-c", 'ulimit -v 12000; exec "$@"', "sh")
CANNOT = "cannot start: the limit of memory is too low"

STATUSES = ("created", "running", "paused", "stopped", "deleted")
VERBS = (
    *("state", "start", "kill", "kill KILL", "kill 9", "kill SIGTERM", "kill 0", "kill NONE", "kill --all 9"),
    *("delete", "delete --force", "delete -f"),
)
#: What the launcher does by itself.
BY_STEPS = {
    *(("created", verb) for verb in VERBS if verb not in ("kill NONE", "kill --all 9")),
    *(("running", verb) for verb in VERBS if verb not in ("start", "delete", "kill NONE", "kill --all 9")),
    *(("paused", verb) for verb in ("kill", "kill SIGTERM", "kill 0")),
    *(("stopped", verb) for verb in ("state", "delete", "delete --force", "delete -f")),
}


@pytest.fixture(autouse=True)
def _launcher(naja: Runtime) -> None:
    with open(shutil.which(naja.argv[0]) or "/dev/null", "rb") as file:
        if len(naja.argv) > 1 or file.read(4) != b"\x7fELF":
            pytest.skip("the command is not the launcher")


@pytest.fixture
def sleeping(bundle: Bundle) -> Bundle:
    return bundle.args("/bin/sleep", "1000")


def facts(naja: Runtime, bundle: Bundle) -> str:
    return os.path.join(naja.root, bundle.id, FILE)


def bring(naja: Runtime, bundle: Bundle, status: str) -> int:
    """Make a container that has this status; return its pid."""
    naja.create(bundle)
    pid = int(naja.state(bundle)["pid"])
    if status in ("running", "paused", "stopped"):
        naja.start(bundle)
    if status == "paused":
        naja.run("pause", bundle.id)
    if status == "stopped":
        naja.kill(bundle)
        naja.wait_for(bundle, "stopped")
    if status == "deleted":
        naja.delete(bundle, "--force")
    return pid


def words(verb: str, id: str) -> list[str]:
    name, *rest = verb.split()
    options = [word for word in rest if word.startswith("-")]
    return [name, *options, id, *(word for word in rest if word not in options)]


def without_python(naja: Runtime, *words: str, **options: Any) -> Result:
    """Run a verb that has the launcher alone."""
    argv = naja.argv
    naja.argv = [*WITHOUT_PYTHON, *argv]
    try:
        return naja.run(*words, check=False, **options)
    finally:
        naja.argv = argv


def remains(naja: Runtime, bundle: Bundle, pid: int) -> dict[str, Any]:
    """What there is of a container; a process that was just killed gets the time to end."""
    directory = os.path.join(naja.root, bundle.id)
    found: dict[str, Any] = {"files": sorted({*naja.ids()})}
    if os.path.isdir(directory):
        found["inside"] = sorted({*os.listdir(directory)} - {FILE})
        with open(f"{directory}/state.json") as file:
            record = json.load(file)
        found["record"] = {name: record[name] for name in ("id", "status", "bundle", "traits", "owner")}
    with open("/proc/self/mountinfo") as mounts:
        points = [line.split()[4] for line in mounts if " - cgroup" in line]
    path = bundle.linux["cgroupsPath"]
    found["cgroups"] = [point for point in points if os.path.isdir(f"{point}/{path}")]
    found["status"] = naja.run("state", bundle.id, check=False).stdout.partition('"status": ')[2][:9]
    return found


def outcome(naja: Runtime, bundle: Bundle, status: str, verb: str, *, by_python: bool) -> tuple[object, ...]:
    pid = bring(naja, bundle, status)
    if by_python and status != "deleted":
        os.unlink(facts(naja, bundle))
    done = naja.run(*words(verb, bundle.id), check=False)
    # Who waits at the gate ends with any signal, a first process that does not handle it with none.
    ends = verb in ("kill KILL", "kill 9", "kill --all 9") or status == "created"
    if done.status == 0 and verb.startswith("kill") and verb != "kill 0" and ends:
        naja.wait_for(bundle, "stopped")
    left = remains(naja, bundle, pid)
    naja.delete(bundle, "--force")
    shown = re.sub(r'"pid": [1-9]\d*|"created": "[^"]*"', "", done.stdout)
    return done.status, shown, done.stderr, left


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", STATUSES)
def test_it_is_as_python_does_it(naja: Runtime, sleeping: Bundle, status: str, verb: str) -> None:
    by_steps, by_python = (
        outcome(naja, sleeping, status, verb, by_python=by_python) for by_python in (False, True)
    )
    assert by_steps == by_python


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("status", STATUSES)
def test_what_needs_no_python(naja: Runtime, sleeping: Bundle, status: str, verb: str) -> None:
    """And what does has changed nothing before Python would have had its turn."""
    pid = bring(naja, sleeping, status)
    before = remains(naja, sleeping, pid)
    done = without_python(naja, *words(verb, sleeping.id))
    if (status, verb) in BY_STEPS:
        assert (done.status, done.stderr) == (0, ""), str(done)
    else:
        assert (done.status, CANNOT in done.stderr, done.stdout) == (1, True, ""), str(done)
        assert remains(naja, sleeping, pid) == before
    naja.delete(sleeping, "--force")


def spoil(path: str) -> None:
    with open(path, "r+b") as file:
        content = file.read()
        file.seek(len(content) // 2)
        file.write(bytes((content[len(content) // 2] ^ 1,)))


def replace(path: str, content: bytes) -> None:
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(content)


def make_fifo(path: str) -> None:
    os.unlink(path)
    os.mkfifo(path, 0o600)


SPOILED: dict[str, Callable[[str], None]] = {
    "facts with a bit that is wrong": lambda directory: spoil(f"{directory}/{FILE}"),
    "facts cut off": lambda directory: os.truncate(f"{directory}/{FILE}", 100),
    "no facts": lambda directory: os.truncate(f"{directory}/{FILE}", 0),
    "facts that others may write": lambda directory: os.chmod(f"{directory}/{FILE}", 0o622),
    "facts of somebody else": lambda directory: os.chown(f"{directory}/{FILE}", 1, 1),
    "a directory of somebody else": lambda directory: os.chown(directory, 1, 1),
    "a directory that others may write to": lambda directory: os.chmod(directory, 0o733),
    "a pipe as facts": lambda directory: make_fifo(f"{directory}/{FILE}"),
    "a record with a bit that is wrong": lambda directory: spoil(f"{directory}/state.json"),
    "a record cut off": lambda directory: os.truncate(f"{directory}/state.json", 100),
    "a pipe as a record": lambda directory: make_fifo(f"{directory}/state.json"),
}


@pytest.mark.parametrize("what", SPOILED)
@pytest.mark.parametrize("verb", ["state", "start", "kill KILL", "kill TERM", "delete --force"])
def test_what_is_not_as_it_was_written(naja: Runtime, sleeping: Bundle, what: str, verb: str) -> None:
    naja.create(sleeping)
    pid = naja.state(sleeping)["pid"]
    directory = os.path.join(naja.root, sleeping.id)
    SPOILED[what](directory)
    before = sorted(os.listdir(directory))
    done = without_python(naja, *words(verb, sleeping.id), timeout=10)
    assert (done.status, CANNOT in done.stderr) == (1, True), str(done)
    assert sorted(os.listdir(directory)) == before
    os.kill(pid, 0)
    os.chown(directory, 0, 0)
    naja.delete(sleeping, "--force")


def test_facts_of_the_container_that_had_the_id_before(naja: Runtime, sleeping: Bundle) -> None:
    naja.create(sleeping)
    with open(facts(naja, sleeping), "rb") as file:
        old = file.read()
    naja.delete(sleeping, "--force")
    naja.create(sleeping)
    replace(facts(naja, sleeping), old)
    os.chmod(facts(naja, sleeping), 0o600)
    for verb in ("state", "start", "kill KILL", "delete --force"):
        assert CANNOT in without_python(naja, *words(verb, sleeping.id)).stderr
    assert naja.status(sleeping) == "created"
    naja.delete(sleeping, "--force")


def test_a_cgroup_that_is_not_the_containers_any_more(naja: Runtime, sleeping: Bundle) -> None:
    bring(naja, sleeping, "stopped")
    with open(os.path.join(naja.root, sleeping.id, "state.json")) as file:
        places = json.load(file)["cgroup"]["places"]
    first, *others = places.values()
    os.rmdir(first)
    os.mkdir(first)
    assert CANNOT in without_python(naja, "delete", sleeping.id).stderr
    assert all(map(os.path.isdir, [first, *others]))
    naja.delete(sleeping)
    assert os.path.isdir(first)
    assert not any(map(os.path.isdir, others))
    os.rmdir(first)


def test_a_file_more_in_the_state_directory(naja: Runtime, sleeping: Bundle) -> None:
    """Another command has left it there, and Python knows what it is about."""
    naja.create(sleeping)
    directory = os.path.join(naja.root, sleeping.id)
    with open(f"{directory}/note", "w") as note:
        note.write("something else")
    before = sorted(os.listdir(directory))
    assert CANNOT in without_python(naja, "delete", sleeping.id).stderr
    assert sorted(os.listdir(directory)) == before
    assert naja.status(sleeping) == "created"
    assert naja.delete(sleeping).status == 0
    assert naja.ids() == []


@pytest.mark.parametrize("hook", ["poststart", "poststop"])
def test_hooks_are_pythons(naja: Runtime, sleeping: Bundle, tmp_path: Path, hook: str) -> None:
    said = tmp_path / "said"
    sleeping.config["hooks"] = {hook: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {hook} > {said}"]}]}
    sleeping.save()
    naja.create(sleeping)
    naja.start(sleeping)
    naja.delete(sleeping, "--force")
    assert said.read_text() == f"{hook}\n"


@pytest.mark.parametrize("by_python", [False, True])
def test_a_program_that_cannot_be_executed(naja: Runtime, bundle: Bundle, by_python: bool) -> None:
    """The gate is open, and the init has something to say: Python hears it."""
    program = os.path.join(bundle.rootfs, "bin", "none")
    with open(program, "w") as file:
        file.write("no program")
    os.chmod(program, 0o755)
    naja.create(bundle.args("/bin/none"))
    if by_python:
        os.unlink(facts(naja, bundle))
    log = os.path.join(naja.root, "log")
    done = naja.run("--log", log, "--log-format=json", "start", bundle.id, check=False)
    assert (done.status, done.stdout) == (1, "")
    assert "exec format error" in done.stderr.lower()
    assert len(done.stderr.splitlines()) == 1
    with open(log) as file:
        assert "exec format error" in json.load(file)["msg"].lower()
    assert naja.status(bundle) == "stopped"
    naja.delete(bundle)


def test_of_many_who_start_one_does(naja: Runtime, sleeping: Bundle) -> None:
    naja.create(sleeping)
    done: list[Result] = []

    def start() -> None:
        done.append(naja.run("start", sleeping.id, check=False))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.status for result in done) == [0, 1, 1, 1, 1, 1]
    assert all("already running" in result.stderr for result in done if result.status)
    assert naja.status(sleeping) == "running"
    naja.delete(sleeping, "--force")


def test_of_many_who_delete_with_force_all_succeed(naja: Runtime, sleeping: Bundle) -> None:
    bring(naja, sleeping, "running")
    command = naja.command("delete", "--force", sleeping.id)
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    for process in running:
        _, complaint = process.communicate(timeout=60)
        assert (process.returncode, complaint) == (0, "")
    assert naja.ids() == []


def test_a_start_waits_for_the_lock(naja: Runtime, sleeping: Bundle) -> None:
    naja.create(sleeping)
    directory = os.path.join(naja.root, sleeping.id)
    with subprocess.Popen(["flock", directory, "sleep", "1000"], process_group=0) as holder:
        wait_until(lambda: subprocess.run(["flock", "-n", directory, "true"], check=False).returncode != 0)
        with subprocess.Popen(naja.command("start", sleeping.id)) as starting:
            with pytest.raises(subprocess.TimeoutExpired):
                starting.wait(0.5)
            os.killpg(holder.pid, signal.SIGKILL)
            assert starting.wait(30) == 0
    naja.delete(sleeping, "--force")


def test_nobody_reads_the_state(naja: Runtime, sleeping: Bundle) -> None:
    naja.create(sleeping)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(naja.command("state", sleeping.id), stdout=writing, check=False)
    os.close(writing)
    assert done.returncode == 128 + signal.SIGPIPE
    with open("/dev/full", "w") as full:
        refused = subprocess.run(
            naja.command("state", sleeping.id), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (refused.returncode, "ENOSPC" in refused.stderr) == (1, True)
    closed = subprocess.run(
        ["/bin/sh", "-c", '"$@" >&-', "sh", *naja.command("state", sleeping.id)], check=False
    )
    assert closed.returncode == 0
    naja.delete(sleeping, "--force")


@pytest.mark.parametrize(
    "options",
    [
        ("--systemd-cgroup",),
        ("--log={log}", "--log-format", "json"),
        ("--log", "{log}", "--log-format=text"),
        ("--log=", "--log-format=json"),
    ],
)
def test_options_that_engines_give(
    naja: Runtime, sleeping: Bundle, tmp_path: Path, options: tuple[str, ...]
) -> None:
    naja.create(sleeping)
    given = [option.format(log=tmp_path / "log") for option in options]
    done = without_python(naja, *given, "state", sleeping.id)
    assert (done.status, json.loads(done.stdout)["status"]) == (0, "created"), str(done)
    assert (tmp_path / "log").exists() == any("{log}" in option for option in options)
    naja.delete(sleeping, "--force")


@pytest.mark.parametrize(
    "options",
    [
        ("--debug",),
        ("--log-format=xml",),
        ("--rootless=maybe",),
        ("--log=/no/such/directory/log",),
        ("--root=",),
        ("--root",),
        ("--nothing",),
        ("--version",),
    ],
)
def test_other_options_are_pythons(naja: Runtime, sleeping: Bundle, options: tuple[str, ...]) -> None:
    naja.create(sleeping)
    assert CANNOT in without_python(naja, *options, "state", sleeping.id).stderr
    naja.delete(sleeping, "--force")


@pytest.mark.parametrize(
    "words",
    [
        ("state",),
        ("state", ""),
        ("state", "{id}", ""),
        ("state", "{id}", "more"),
        ("state", "./{id}"),
        ("state", "--", "{id}"),
        ("state", "--help", "{id}"),
        ("kill", "{id}", "9", "9"),
        ("delete --force", "{id}"),
        ("delete", "--force=false", "{id}"),
        ("",),
    ],
)
def test_other_words_are_pythons(naja: Runtime, sleeping: Bundle, words: tuple[str, ...]) -> None:
    naja.create(sleeping)
    done = without_python(naja, *(word.format(id=sleeping.id) for word in words))
    assert CANNOT in done.stderr
    assert naja.status(sleeping) == "created"
    naja.delete(sleeping, "--force")


def test_the_default_root_is_that_of_the_environment(naja: Runtime, sleeping: Bundle, tmp_path: Path) -> None:
    """A user's ($XDG_RUNTIME_DIR), which may be root's too: that Python tells."""
    naja.root = str(tmp_path / "naja")
    naja.create(sleeping)
    command = [*naja.argv, "state", sleeping.id]
    environment = {"XDG_RUNTIME_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
    limited = subprocess.run(
        [*WITHOUT_PYTHON, *command], env=environment, capture_output=True, text=True, check=False
    )
    assert CANNOT in limited.stderr
    naja.delete(sleeping, "--force")


def test_words_to_complete_are_no_command(naja: Runtime, sleeping: Bundle) -> None:
    naja.create(sleeping)
    environment = {**os.environ, "_NAJA_COMPLETE": "bash_complete"}
    assert CANNOT in without_python(naja, "state", sleeping.id, env=environment).stderr
    naja.delete(sleeping, "--force")


def test_a_run_that_stays_has_facts_too(naja: Runtime, sleeping: Bundle) -> None:
    naja.run_detached(sleeping)
    done = without_python(naja, "state", sleeping.id)
    assert json.loads(done.stdout)["status"] == "running"
    assert without_python(naja, "delete", "--force", sleeping.id).status == 0
    assert naja.ids() == []


#: Runs a command where there is a v2 tree and no other.
ON_V2 = 'umount --lazy /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'


def test_a_life_on_cgroup_v2(naja: Runtime, sleeping: Bundle) -> None:
    with open("/proc/mounts") as mounts:
        if not any(line.split()[2] == "cgroup2" for line in mounts):
            pytest.skip("needs a v2 tree")
    del sleeping.linux["resources"]
    sleeping.save()
    argv = ["unshare", "--mount", "/bin/sh", "-c", ON_V2, "sh"]
    whole, naja.argv = [*argv, *naja.argv], [*argv, *WITHOUT_PYTHON, *naja.argv]
    limited = naja.argv

    def life(verbs: tuple[str, ...]) -> list[int]:
        naja.argv = whole
        naja.create(sleeping)
        naja.argv = limited
        return [naja.run(*words(verb, sleeping.id), check=False).status for verb in verbs]

    assert life(("state", "start", "state", "kill 9")) == [0, 0, 0, 0]
    naja.argv = limited
    naja.wait_for(sleeping, "stopped")
    assert naja.delete(sleeping).status == 0
    assert life(("start", "delete --force")) == [0, 0]
    assert naja.ids() == []
