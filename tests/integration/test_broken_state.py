"""What a container's files may hold after a crash: each verb says so in a line, `delete --force` ends it."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from naja.linux import process
from tests.support.leaks import cgroups_named

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Result, Runtime

    Spoil = Callable[[str], None]


def _content(change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(path: str) -> None:
        with open(path, "r+b") as file:
            content = change(file.read())
            file.seek(0)
            file.truncate()
            file.write(content)

    return spoil


def _member(value: Any, *place: str) -> Spoil:
    """Put another value into the record, or take one out (where it is ...)."""

    def change(content: bytes) -> bytes:
        document = json.loads(content)
        part = document
        for name in place[:-1]:
            part = part[name]
        if value is ...:
            del part[place[-1]]
        else:
            part[place[-1]] = value
        return json.dumps(document).encode()

    return _content(change)


def _instead(make: Callable[[str], Any]) -> Spoil:
    def spoil(path: str) -> None:
        os.unlink(path)
        make(path)

    return spoil


def _socket(path: str) -> None:
    directory = os.open(os.path.dirname(path), os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    os.close(directory)


#: What may be found in the place of any file of JSON.
FILES: dict[str, Spoil] = {
    "empty": _content(lambda _: b""),
    "cut": _content(lambda content: content[: len(content) // 2]),
    "zeroed": _content(lambda content: bytes(len(content))),
    "noise": _content(lambda _: os.urandom(300)),
    "array": _content(lambda _: b"[]"),
    "null": _content(lambda _: b"null"),
    "number": _content(lambda _: b"7"),
    "object": _content(lambda _: b"{}"),
    "deep": _content(lambda _: b"[" * 100000),
    "huge": _instead(lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), 8 << 30)),
    "FIFO": _instead(os.mkfifo),
    "device": _instead(lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))),
    "directory": _instead(os.mkdir),
    "socket": _instead(_socket),
    "link": _instead(lambda path: os.symlink("elsewhere", path)),
    "loop": _instead(lambda path: os.symlink(os.path.basename(path), path)),
}

RECORDS: dict[str, Spoil] = {
    **FILES,
    **{f"no {name}": _member(..., name) for name in ("pid", "status", "cgroup", "bundle", "annotations")},
    "text as pid": _member("1", "pid"),
    "negative pid": _member(-1, "pid"),
    "huge pid": _member(10**40, "pid"),
    "float as pid": _member(1.0, "pid"),
    "truth as pid": _member(True, "pid"),
    "text as start": _member("now", "start_time"),
    "another ID": _member("other", "id"),
    "another status": _member("well", "status"),
    "NUL in the bundle": _member("/\0", "bundle"),
    "half a pair": _member("\ud800", "created"),
    "number as annotation": _member({"a": 1}, "annotations"),
    "number as trait": _member([1], "traits"),
    "text as traits": _member("no process", "traits"),
    "no object of cgroups": _member([], "cgroup"),
    "no places": _member(..., "cgroup", "places"),
    "other places": _member({"freezer": 7}, "cgroup", "places"),
    "places without names": _member([["freezer"]], "cgroup", "made"),
    "the root": _member({"freezer": "/"}, "cgroup", "places"),
    "a way up": _member({"freezer": "/sys/fs/cgroup/freezer/../../.."}, "cgroup", "places"),
    "a kind": _member("v3", "cgroup", "kind"),
    "a unit": _member("../x", "cgroup", "unit"),
    "a group": _member(["/home/x"], "cgroup", "resctrl"),
}

VERBS = {
    "state": ("state",),
    "kill": ("kill", "KILL"),
    "exec": ("exec", "/bin/true"),
    "start": ("start",),
    "pause": ("pause",),
    "resume": ("resume",),
    "ps": ("ps",),
    "events": ("events", "--stats"),
    "update": ("update", "--pids-limit", "10"),
    "delete": ("delete",),
}


def call(naja: Runtime, bundle: Bundle, verb: str) -> Result:
    name, *more = VERBS[verb]
    flags = [word for word in more if word.startswith("--")] and more
    words = [name, *flags, bundle.id] if flags else [name, bundle.id, *more]
    return naja.run(*words, check=False, timeout=20)


def is_told(result: Result, path: str) -> bool:
    lines = result.stderr.splitlines()
    return result.status != 0 and len(lines) == 1 and path in lines[0] and "internal error" not in lines[0]


@pytest.fixture(params=["running", "created"])
def victim(request: pytest.FixtureRequest, naja: Runtime, bundle: Bundle) -> tuple[Bundle, int]:
    """A container, and the descriptor that tells of its process's end."""
    bundle.args("/bin/sleep", "1000")
    if request.param == "created":
        naja.create(bundle)
    else:
        naja.run_detached(bundle)
    return bundle, process.pidfd_open(naja.state(bundle)["pid"])


def ended(pidfd: int) -> bool:
    return os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


@pytest.mark.parametrize("how", RECORDS)
def test_a_record_that_tells_nothing(naja: Runtime, victim: tuple[Bundle, int], how: str, tag: str) -> None:
    """Each verb names the file in one line; the forced delete finds the process and the cgroups."""
    bundle, pidfd = victim
    path = os.path.join(naja.root, bundle.id, "state.json")
    RECORDS[how](path)
    for verb in VERBS:
        assert is_told(result := call(naja, bundle, verb), path), result
    listed = naja.run("list", "--format", "json")
    assert (json.loads(listed.stdout), path in listed.stderr) == ([], True), listed
    naja.delete(bundle, "--force")
    assert ended(pidfd)
    assert naja.ids() == []
    assert cgroups_named(tag) == []
    os.close(pidfd)


def _member_of_cgroup(**values: Any) -> Spoil:
    def change(content: bytes) -> bytes:
        document = json.loads(content)
        document["cgroup"].update(values)
        return json.dumps(document).encode()

    return _content(change)


def _without_a_place(content: bytes) -> bytes:
    document = json.loads(content)
    document["cgroup"]["places"].popitem()
    return json.dumps(document).encode()


#: Records of the right shape that tell less than there is, or something else.
MISLEADING: dict[str, Spoil] = {
    "no place": _member_of_cgroup(places={}),
    "one place less": _content(_without_a_place),
    "nothing made": _member_of_cgroup(made=[]),
    "neither place nor made": _member_of_cgroup(places={}, made=[]),
    "nothing at all": _member_of_cgroup(places={}, made=[], word=""),
    "all adopted": _member_of_cgroup(made=[], adopted=["/sys/fs/cgroup/elsewhere/x"]),
    "another word": _member_of_cgroup(word="0123456789abcdef"),
    "another kind": _member_of_cgroup(kind="v2"),
    "rootless": _member_of_cgroup(rootless=True),
    "no pid": _member(0, "pid"),
    "another pid": _member(1, "pid"),
    "another start": _member(1, "start_time"),
    "another status": _member("creating", "status"),
}


@pytest.mark.parametrize("how", MISLEADING)
def test_a_record_that_misleads(naja: Runtime, victim: tuple[Bundle, int], how: str, tag: str) -> None:
    """The forced delete ends the process and all cgroups that bear the container's mark."""
    bundle, pidfd = victim
    MISLEADING[how](os.path.join(naja.root, bundle.id, "state.json"))
    naja.delete(bundle, "--force")
    assert ended(pidfd)
    assert (naja.ids(), cgroups_named(tag)) == ([], [])
    os.close(pidfd)


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_neither_record_nor_config(naja: Runtime, bundle: Bundle, how: str) -> None:
    """What waits at its gate can still be tied to the ID."""
    naja.create(bundle.args("/bin/true"))
    pidfd = process.pidfd_open(naja.state(bundle)["pid"])
    for name in ("state.json", "config.json"):
        path = os.path.join(naja.root, bundle.id, name)
        os.unlink(path) if how == "missing" else os.truncate(path, 0)
    naja.delete(bundle, "--force")
    assert ended(pidfd)
    os.close(pidfd)


@pytest.mark.parametrize("how", FILES)
def test_a_config_that_tells_nothing(naja: Runtime, victim: tuple[Bundle, int], how: str) -> None:
    """Who needs what was kept of it says so; the others do without."""
    bundle, pidfd = victim
    path = os.path.join(naja.root, bundle.id, "config.json")
    FILES[how](path)
    assert is_told(result := call(naja, bundle, "exec"), path), result
    for verb in ("state", "ps", "update", "events", "kill"):
        result = call(naja, bundle, verb)
        assert result.status == 0 or is_told(result, path), result
    naja.run("list")
    naja.delete(bundle, "--force")
    assert ended(pidfd)
    os.close(pidfd)


@pytest.mark.parametrize(
    "spoil",
    [
        _member({"poststop": [{"path": 7}]}, "hooks"),
        _member({"poststart": 7}, "hooks"),
        _member([7], "linux", "namespaces"),
        _member([{"type": 7}], "linux", "namespaces"),
        _member(7, "process", "capabilities"),
        _member(7, "process", "env"),
    ],
)
def test_a_config_that_was_changed(naja: Runtime, bundle: Bundle, spoil: Spoil) -> None:
    naja.create(bundle.args("/bin/sleep", "1000"))
    path = os.path.join(naja.root, bundle.id, "config.json")
    spoil(path)
    for verb in VERBS:
        result = call(naja, bundle, verb)
        assert result.status == 0 or len(result.stderr.splitlines()) == 1, result
        assert "internal error" not in result.stderr
    naja.delete(bundle, "--force")


@pytest.mark.parametrize("word", ["", "0123456789abcdef"])
@pytest.mark.parametrize("place", ["another container", "no cgroup"])
def test_nobody_elses_cgroup_is_touched(
    naja: Runtime, busybox_bundle: Callable[[], Bundle], tmp_path: Path, place: str, word: str
) -> None:
    """A record that points elsewhere, with everything else as it should be.

    For what would end the host, tests/unit/test_cgroup_hierarchies.py asks what would be touched.
    """
    bundle, other = busybox_bundle().args("/bin/sleep", "1000"), busybox_bundle().args("/bin/sleep", "1000")
    naja.run_detached(other)
    naja.run_detached(bundle)
    pidfd = process.pidfd_open(naja.state(bundle)["pid"])
    path = os.path.join(naja.root, bundle.id, "state.json")
    with open(path) as file:
        record = json.load(file)
    foreign = tmp_path / "kept" / "below"
    foreign.mkdir(parents=True)
    foreign.parent.chmod(0o1777)

    def instead(real: str) -> str:
        return real.replace(bundle.id, other.id) if place == "another container" else str(foreign.parent)

    places = {name: instead(real) for name, real in record["cgroup"]["places"].items()}
    record["cgroup"].update(places=places, made=[*places.values()], word=word)
    _content(lambda _: json.dumps(record).encode())(path)
    naja.delete(bundle, "--force", check=False)
    assert naja.status(other) == "running"
    assert foreign.exists()
    assert ended(pidfd)
    assert (naja.ids(), cgroups_named(bundle.id)) == ([other.id], [])
    os.close(pidfd)


def test_a_process_that_got_the_pid(naja: Runtime, bundle: Bundle) -> None:
    """Its start time does not fit: it is left alone."""
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    path = os.path.join(naja.root, bundle.id, "state.json")
    child = os.fork()
    if not child:
        os.execvp("sleep", ["sleep", "1000"])
    _member(child, "pid")(path)
    _member("?", "status")(path)
    naja.delete(bundle, "--force")
    assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, 9)
    os.waitpid(child, 0)


def test_list_goes_on(naja: Runtime, busybox_bundle: Callable[[], Bundle]) -> None:
    bundles = [busybox_bundle() for _ in range(3)]
    for bundle in bundles:
        naja.create(bundle)
    FILES["FIFO"](os.path.join(naja.root, bundles[0].id, "state.json"))
    RECORDS["no pid"](os.path.join(naja.root, bundles[2].id, "state.json"))
    for words in ((), ("--quiet",), ("--format", "json")):
        listed = naja.run("list", *words)
        assert bundles[1].id in listed.stdout
        assert [line.split()[3] for line in listed.stderr.splitlines()] == [bundles[0].id, bundles[2].id]
        if words[-1:] == ("json",):
            assert len(json.loads(listed.stdout)) == 1


@pytest.mark.parametrize("how", ["FIFO", "device", "directory", "socket", "huge", "loop"])
@pytest.mark.parametrize("verb", ["create", "run", "validate", "plan"])
def test_a_bundle_without_a_file_for_a_config(naja: Runtime, bundle: Bundle, how: str, verb: str) -> None:
    """It is refused, not waited for."""
    path = os.path.join(bundle.path, "config.json")
    FILES[how](path)
    words = [verb, "--bundle", bundle.path, *([bundle.id] if verb in ("create", "run") else [])]
    assert is_told(result := naja.run(*words, check=False, timeout=20), path), result
    assert naja.ids() == []


def test_a_config_that_is_a_link(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """In a bundle that is the caller's affair."""
    config = os.path.join(bundle.path, "config.json")
    os.rename(config, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", config)
    naja.run_attached(bundle)


def test_options_that_name_a_pipe(naja: Runtime, bundle: Bundle) -> None:
    """What a shell gives for <(...), and for a pipeline."""
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    command = " ".join(naja.command("exec"))
    program = json.dumps({"args": ["/bin/echo", "through"], "cwd": "/"})
    script = f"{command} --process <(echo '{program}') {bundle.id}"
    assert subprocess.check_output(["bash", "-c", script], text=True) == "through\n"
    command = " ".join(naja.command("update"))
    limit = json.dumps({"pids": {"limit": 77}})
    subprocess.check_call(["bash", "-c", f"{command} --resources <(echo '{limit}') {bundle.id}"])
    subprocess.check_call(["bash", "-c", f"echo '{limit}' | {command} --resources - {bundle.id}"])


@pytest.mark.parametrize("words", [["kill", "KILL"], ["kill", "TERM"], ["exec", "/bin/true"], ["start"]])
def test_a_making_that_was_cut_off_at_once(naja: Runtime, tag: str, words: list[str]) -> None:
    """Of a create that was killed there may be a directory and nothing in it."""
    verb, *more = words
    os.makedirs(os.path.join(naja.root, tag), 0o711)
    try:
        refused = naja.run(verb, tag, *more, check=False)
        assert refused.status
        known = ("container not running", "stopped container", "cannot start")
        assert any(word in refused.stderr for word in known), refused
        assert "read the config" not in refused.stderr
    finally:
        naja.run("delete", "--force", tag)
    assert naja.ids() == []
