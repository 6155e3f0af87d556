"""The state on disk: IDs, the record, the lock, removal, and who is alive."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from naja.container import user_root
from naja.container.record import config_problem, problem
from naja.container.state import (
    BrokenRecord,
    StateDirectory,
    alive,
    check_id,
    default_root,
    ids,
    start_time,
    status,
)
from naja.errors import NajaError
from naja.linux import process

CGROUP: dict[str, Any] = {
    **{"kind": "v1", "unit": "", "rootless": False, "adopted": [], "resctrl": []},
    **{"places": {"freezer": "/sys/fs/cgroup/freezer/c"}, "made": ["/sys/fs/cgroup/freezer/c"]},
}
RECORD: dict[str, Any] = {
    **{
        "ociVersion": "1.2.0",
        "id": "c",
        "bundle": "/b",
        "rootfs": "/b/rootfs",
        "created": "then",
        "owner": 0,
    },
    **{"status": "created", "pid": 1, "start_time": 1, "annotations": {"a": "b"}, "cgroup": CGROUP},
    **{"owner": 0, "rootless": False, "notify": False, "stdio": ["", "pipe:[1]", ""]},
}


@pytest.mark.parametrize("id", ["a", "A-b_c.d+e", "0", "..a", "a" * 200])
def test_good_ids(id: str) -> None:
    check_id(id)


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "/", "a b", "é", "a\n", "a\0", "a:b"])
def test_bad_ids(tmp_path: Path, id: str) -> None:
    with pytest.raises(NajaError, match="invalid container ID format"):
        check_id(id)
    with pytest.raises(NajaError, match="invalid container ID format"):
        StateDirectory.create(str(tmp_path / "root"), id)
    assert not (tmp_path / "root").exists()


def test_create_open_list_remove(tmp_path: Path) -> None:
    root = str(tmp_path / "deep" / "root")
    assert ids(root) == []
    made = StateDirectory.create(root, "b")
    StateDirectory.create(root, "a").close()
    (tmp_path / "deep" / "root" / "file").touch()
    (tmp_path / "deep" / "root" / "link").symlink_to(tmp_path)
    assert ids(root) == ["a", "b"]
    assert Path(made.path).stat().st_mode & 0o777 == 0o711
    with pytest.raises(NajaError, match="container with given ID already exists"):
        StateDirectory.create(root, "a")
    made.remove()
    made.remove()
    made.close()
    assert ids(root) == ["a"]
    with pytest.raises(NajaError, match="container does not exist"):
        StateDirectory.open(root, "b")
    with pytest.raises(NajaError, match="container does not exist"):
        StateDirectory.open(str(tmp_path / "nowhere"), "b")


def test_a_link_is_no_container(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(NajaError, match="open the state directory"):
        StateDirectory.open(str(tmp_path), "link")


def test_the_record_survives_and_may_be_missing(tmp_path: Path) -> None:
    directory = StateDirectory.create(str(tmp_path), "c")
    assert directory.read() == {}
    record = {**RECORD, "bundle": os.fsdecode(b"/b\xff"), "list": [1, None, True]}
    directory.write(record)
    directory.write(record | {"pid": 2})
    assert StateDirectory.open(str(tmp_path), "c").read() == record | {"pid": 2}
    assert os.listdir(directory.path) == ["state.json"]


def test_a_record_has_its_blocks_before_it_replaces_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else ext4 writes it out, and whoever removes it waits; where none can be had it goes without."""
    reserved = []

    def reserve(descriptor: int, _start: int, size: int) -> None:
        reserved.append((os.fstat(descriptor).st_size, size))
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", reserve)
    directory = StateDirectory.create(str(tmp_path), "c")
    directory.write(RECORD)
    assert reserved == [(0, len((tmp_path / "c" / "state.json").read_bytes()))]
    assert directory.read() == RECORD
    directory.remove()


@pytest.mark.parametrize("content", ["", "{", "[]", "nul"])
def test_a_broken_record_is_an_error(tmp_path: Path, content: str) -> None:
    directory = StateDirectory.create(str(tmp_path), "c")
    (tmp_path / "c" / "state.json").write_text(content)
    with pytest.raises(BrokenRecord, match=f"the state of container c, {tmp_path}/c/state.json"):
        directory.read()
    directory.remove()
    assert ids(str(tmp_path)) == []


def test_files_and_sockets_beside_the_record(tmp_path: Path) -> None:
    root = tmp_path / ("long" * 40)
    directory = StateDirectory.create(str(root), "c")
    directory.write_file("config.json", b"first, and longer")
    directory.write_file("config.json", b"second")
    assert directory.read_file("config.json") == b"second"
    listener = directory.listen("gate")
    assert not os.get_inheritable(listener)
    directory.connect("gate").close()
    os.close(listener)
    with pytest.raises(ConnectionRefusedError):
        directory.connect("gate")
    (kept := tmp_path / "kept").touch()
    (root / "c" / "link").symlink_to(kept)
    with pytest.raises(NajaError, match="link: it is a symbolic link"):
        directory.read_file("link")
    directory.write_file("link", b"a file takes its place")
    assert directory.read_file("link") == b"a file takes its place"
    assert kept.read_bytes() == b""
    directory.remove()
    assert ids(str(root)) == []


def test_remove_follows_no_link(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    directory = StateDirectory.create(str(tmp_path), "c")
    inside = Path(directory.path)
    (inside / "deep" / "deeper").mkdir(parents=True)
    (inside / "deep" / "deeper" / "link").symlink_to(kept)
    (inside / "link").symlink_to(kept)
    os.mkfifo(inside / "fifo")
    directory.remove()
    assert not inside.exists()
    assert (kept / "file").exists()


def test_the_lock_is_exclusive_and_ends_with_its_holder(tmp_path: Path) -> None:
    directory = StateDirectory.create(str(tmp_path), "c")
    code = (
        "import sys, time; from naja.container.state import StateDirectory\n"
        "d = StateDirectory.open(sys.argv[1], 'c'); d.lock(); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(NajaError, match="busy"):
            directory.lock(wait=False)
        holder.kill()
        directory.lock()
    other = StateDirectory.open(str(tmp_path), "c")
    with pytest.raises(NajaError, match="busy"):
        other.lock(wait=False)
    directory.unlock()
    other.lock(wait=False)


def test_who_waited_for_a_deleted_container_is_told(tmp_path: Path) -> None:
    directory = StateDirectory.create(str(tmp_path), "c")
    waiter = StateDirectory.open(str(tmp_path), "c")
    directory.lock()
    directory.remove()
    directory.close()
    with pytest.raises(NajaError, match="container does not exist"):
        waiter.lock()


def test_a_directory_that_was_made_anew_is_not_removed(tmp_path: Path) -> None:
    """A create whose directory was deleted before it had the lock undoes nothing of the next one's."""
    first = StateDirectory.create(str(tmp_path), "c")
    StateDirectory.open(str(tmp_path), "c").remove()
    StateDirectory.create(str(tmp_path), "c")
    first.remove()
    assert ids(str(tmp_path)) == ["c"]


def test_who_makes_a_container_has_its_directory_alone(tmp_path: Path) -> None:
    StateDirectory.create(str(tmp_path), "c").claim()
    made = StateDirectory.create(str(tmp_path), "d")
    other = StateDirectory.open(str(tmp_path), "d")
    other.write({"id": "d"})
    with pytest.raises(NajaError, match="already exists"):
        made.claim()  # It was deleted, and made anew, before it could be locked.
    other.remove()
    with pytest.raises(NajaError, match="does not exist"):
        made.claim()


def test_a_process_is_known_by_pid_and_start_time() -> None:
    own = start_time(os.getpid())
    assert own > 0
    assert alive(os.getpid(), own)
    assert not alive(os.getpid(), own + 1)
    assert not alive(0, 0)
    with subprocess.Popen(["sleep", "60"]) as child:
        started = start_time(child.pid)
        assert alive(child.pid, started)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not alive(child.pid, started), "a zombie does not run"
    assert start_time(child.pid) == 0


def test_a_name_with_parentheses_is_parsed(tmp_path: Path) -> None:
    program = tmp_path / "a) Z (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "60"]) as child:
        assert start_time(child.pid) >= start_time(os.getpid())
        child.kill()


def test_status() -> None:
    own = {"pid": os.getpid(), "start_time": start_time(os.getpid())}
    for word in ("creating", "created", "running"):
        assert status({"status": word, **own}) == word
    assert status({"status": "running", "pid": os.getpid(), "start_time": 1}) == "stopped"
    assert status({"status": "running", "pid": 0, "start_time": 0}) == "stopped"
    assert status({}) == "stopped"


def test_the_default_root_of_root_in_a_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Podman without privileges is such a root; what it passes of its environment has no $USER."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(process, "open", lambda *_: io.BytesIO(b"0 7 1\n1 100000 65536\n"), raising=False)
    monkeypatch.delenv("USER", raising=False)
    assert default_root() == "/run/user/7/naja"
    monkeypatch.setenv("USER", "somebody")
    assert default_root() == "/run/user/7/naja"
    monkeypatch.setenv("USER", "root")
    assert default_root() == "/run/naja"
    monkeypatch.delenv("USER")
    monkeypatch.setattr(process, "open", lambda *_: io.BytesIO(b"0 0 4294967295\n"), raising=False)
    assert default_root() == "/run/naja"


def test_the_default_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.setenv("USER", "root")
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    assert default_root() == "/run/user/7/naja"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_root() == "/run/naja"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(user_root, "find", lambda: "found")
    assert default_root() == "/run/naja"
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    assert default_root() == "found"


def test_a_users_root_is_his_alone(tmp_path: Path) -> None:
    """What a login makes comes first; then a directory in /tmp, unless somebody else has been there."""
    user = os.geteuid()
    run, temporary = tmp_path / "run", tmp_path / "tmp"
    for directory in (run, temporary):
        directory.mkdir()

    def find() -> str:
        return user_root.find(str(run), str(temporary))

    made = temporary / f"naja-{user}"
    assert find() == str(made)
    assert made.stat().st_mode & 0o777 == 0o700
    assert find() == str(made)
    (run / str(user)).mkdir(0o700)
    assert find() == str(run / str(user) / "naja")
    (run / str(user)).chmod(0o770)
    assert find() == str(made)
    made.chmod(0o711)
    with pytest.raises(NajaError, match=r"others have rights on it \(mode 0711\): set XDG_RUNTIME_DIR"):
        find()
    made.rmdir()
    made.symlink_to(run)
    with pytest.raises(NajaError, match="it is not a directory"):
        find()
    made.unlink()
    made.write_text("")
    with pytest.raises(NajaError, match="it is not a directory"):
        find()


@pytest.mark.root
def test_a_root_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    made = tmp_path / "naja-0"
    made.mkdir(0o700)
    os.chown(made, 65534, 65534)
    with pytest.raises(NajaError, match="it belongs to user 65534"):
        user_root.find("/no/such", str(tmp_path))
    with pytest.raises(NajaError, match="make the state root /no/such/naja-0: No such file"):
        user_root.find("/no/such", "/no/such")


STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    10**40,
    "",
    "\0",
    "\ud800",
    "x",
    [],
    [{}],
    [None],
    {},
    {"a": 1},
)


def test_whatever_a_record_holds_is_judged() -> None:
    """Any value in any place, and any member missing: a word on it, or a record that can be used."""
    assert problem(RECORD, "c") == ""
    for part, whole in (
        (RECORD, lambda changed: changed),
        (CGROUP, lambda changed: RECORD | {"cgroup": changed}),
    ):
        for name in part:
            without = {key: value for key, value in part.items() if key != name}
            assert problem(whole(without), "c") or name == "stdio"
            for value in STRANGE:
                found = problem(whole(part | {name: value}), "c")
                assert found or not value or type(value) is type(part[name])


@pytest.mark.parametrize(
    "change",
    [
        {"places": {"freezer": "/"}},
        {"places": {"freezer": "/sys/fs/cgroup/freezer/c/../.."}},
        {"made": ["/sys/fs/cgroup/../../home/x"]},
        {"made": ["relative/x"]},
        {"resctrl": ["/home/x/y"]},
        {"unit": "sshd.service"},
    ],
)
def test_a_record_of_cgroups_that_are_none(change: dict[str, Any]) -> None:
    assert problem(RECORD | {"cgroup": CGROUP | change}, "c")


def test_whatever_is_kept_as_config_is_judged() -> None:
    config: dict[str, Any] = {
        "linux": {"namespaces": [{"type": "pid"}]},
        "process": {},
        "root": {},
        "hooks": {},
    }
    assert config_problem(config) == ""
    for name in config:
        for value in ("x", 7, [], [7]):
            assert config_problem(config | {name: value}) or not value
    assert config_problem(config | {"linux": {"namespaces": 7}})
    assert config_problem(7)
