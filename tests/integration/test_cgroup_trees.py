"""Cgroups below the container's own, which it has made itself or which are held from above: no verb is stuck.

Each test is run with the host's own hierarchies, and with a v2 tree alone in a mount namespace of naja's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from naja import cgroups
from naja.cgroups import tree
from naja.linux import namespaces
from tests.support.cgroups import ONLY_V2, clear, dig, places, put
from tests.support.child import in_child
from tests.support.command import Runtime, runtime_command
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.bundle import Bundle
    from tests.support.leaks import Watch

HIERARCHIES = cgroups.detect()

pytestmark = pytest.mark.skipif(not HIERARCHIES.mounts, reason="needs cgroups")

#: More than Python calls itself, or may open files, by default; with these names also longer than PATH_MAX.
DEPTH, NAME = 1300, "a-cgroup"


class Host:
    """What a container's cgroup is known by: the tree that naja looks for processes in."""

    def __init__(self, naja: Runtime, kind: str, mount: str) -> None:
        self.naja = naja
        self.kind = kind
        self.mount = mount

    def cgroup(self, name: str) -> str:
        """Return the directory of a cgroup."""
        return f"{self.mount}/{name}"

    def freeze(self, name: str, frozen: bool = True) -> None:
        """Freeze, or thaw, a cgroup by itself."""
        file, value = (
            ("cgroup.freeze", "01") if self.kind == "v2" else ("freezer.state", ("THAWED", "FROZEN"))
        )
        with open(f"{self.cgroup(name)}/{file}", "w") as opened:
            opened.write(value[frozen])

    def is_frozen(self, name: str) -> bool:
        """Tell whether a cgroup is frozen by itself, or about to be."""
        file, thawed = ("cgroup.freeze", "0") if self.kind == "v2" else ("freezer.state", "THAWED")
        with open(f"{self.cgroup(name)}/{file}") as opened:
            return opened.read().strip() != thawed


@pytest.fixture(params=["host", "v2 alone"])
def host(request: pytest.FixtureRequest, naja: Runtime, leak_check: Watch | None, tag: str) -> Iterator[Host]:
    """The runtime under test, on a host of either kind; whatever is left of the test's cgroups is removed."""
    if request.param == "host":
        kind = HIERARCHIES.kind
        mount = HIERARCHIES.mounts.get("" if kind == "v2" else "freezer")
        if mount is None:
            pytest.skip("needs a v1 freezer")
        yield Host(naja, kind, mount)
    else:
        if HIERARCHIES.kind == "v2" or "" not in HIERARCHIES.mounts:
            pytest.skip("needs a v2 tree beside v1 hierarchies")
        yield Host(Runtime(naja.root, [*ONLY_V2, *runtime_command()]), "v2", HIERARCHIES.mounts[""])
    for number in range(3):
        for place in places(f"{tag}{number}"):
            clear(place)


@pytest.fixture
def bundle(busybox_bundle: Callable[[], Bundle]) -> Bundle:
    """A container that does nothing until it is ended."""
    return busybox_bundle().args("/bin/sleep", "1000")


def end_by_force(host: Host, bundle: Bundle) -> None:
    """Delete the container, of which nothing may be left then."""
    host.naja.run("delete", "--force", bundle.id, timeout=60)
    assert host.naja.ids() == []
    assert [place for place in places(bundle.id) if os.path.isdir(place)] == []


def test_a_deep_tree(host: Host, bundle: Bundle) -> None:
    """Every verb that looks at the tree, with a process at the very bottom of it."""
    naja = host.naja
    naja.run_detached(bundle)
    pid = naja.state(bundle)["pid"]
    bottom = dig(host.cgroup(bundle.id), DEPTH, NAME)
    put(bottom, "cgroup.procs", str(pid))
    os.close(bottom)
    assert naja.run("ps", "--format", "json", bundle.id).stdout.strip() == f"[{pid}]"
    naja.run("events", "--stats", bundle.id)
    naja.run("pause", bundle.id)
    assert naja.status(bundle) == "paused"
    naja.run("resume", bundle.id)
    naja.run("kill", "--all", bundle.id, "WINCH")
    assert naja.status(bundle) == "running"
    end_by_force(host, bundle)


def test_a_deep_tree_of_a_container_that_has_ended(host: Host, bundle: Bundle) -> None:
    host.naja.run_detached(bundle)
    os.close(dig(host.cgroup(bundle.id), DEPTH, NAME))
    host.naja.kill(bundle)
    host.naja.wait_for(bundle, "stopped")
    host.naja.delete(bundle)
    assert host.naja.ids() == []


def test_a_deep_tree_that_was_there_before(host: Host, bundle: Bundle) -> None:
    """It is looked through for others, taken, and left as it was."""
    os.mkdir(host.cgroup(bundle.id))
    bottom = dig(host.cgroup(bundle.id), DEPTH, NAME)
    host.naja.run_detached(bundle)
    host.naja.delete(bundle, "--force")
    assert os.fstat(bottom).st_nlink == 2
    sleeper = subprocess.Popen(["sleep", "1000"])
    try:
        put(bottom, "cgroup.procs", str(sleeper.pid))
        refused = host.naja.run_detached(bundle, check=False)
        assert "it exists and has processes in it" in refused.stderr
    finally:
        sleeper.kill()
        sleeper.wait()
        os.close(bottom)


def test_a_deep_tree_that_the_container_makes(host: Host, bundle: Bundle) -> None:
    """The container's root, who sees its own cgroup as writable, does it from inside."""
    for mount in bundle.config["mounts"]:
        if mount["destination"] == "/sys/fs/cgroup":
            mount["options"].remove("ro")
    bundle.linux["namespaces"].append({"type": "cgroup"})
    at = "/sys/fs/cgroup" if host.kind == "v2" else "/sys/fs/cgroup/freezer"
    bundle.shell(
        f"cd {at} && mkdir leaf && echo $$ > leaf/cgroup.procs; i=0\n"
        "while [ $i -lt 1100 ]; do mkdir d && cd d || break; i=$((i + 1)); done\n"
        "echo $i > /made; sleep 1000"
    )
    host.naja.run_detached(bundle)
    made = os.path.join(bundle.rootfs, "made")
    wait_until(lambda: os.path.exists(made) and os.path.getsize(made), timeout=60)
    with open(made) as file:
        assert file.read() == "1100\n"
    end_by_force(host, bundle)


def test_a_wide_tree(host: Host, bundle: Bundle) -> None:
    host.naja.run_detached(bundle)
    top = host.cgroup(bundle.id)
    for number in range(3000):
        os.mkdir(f"{top}/{number}")
    host.naja.run("ps", bundle.id)
    end_by_force(host, bundle)


def test_cgroups_that_are_made_all_the_time(host: Host, bundle: Bundle) -> None:
    """By processes of the container, which fork all the time too."""
    for mount in bundle.config["mounts"]:
        if mount["destination"] == "/sys/fs/cgroup":
            mount["options"].remove("ro")
    del bundle.linux["namespaces"][0]  # No pid namespace, whose end would be that of all of them.
    bundle.linux["namespaces"].append({"type": "cgroup"})
    at = "/sys/fs/cgroup" if host.kind == "v2" else "/sys/fs/cgroup/freezer"
    bundle.shell(
        f"cd {at}; work() {{ i=0; while true; do i=$((i + 1)); mkdir $1$i\n"
        "(echo 0 > $1$i/cgroup.procs; mkdir $1$i/x); usleep 5000; done }\n"
        "work a & work b & work c & echo > /made; wait"
    )
    host.naja.run_detached(bundle)
    wait_until(lambda: os.path.exists(os.path.join(bundle.rootfs, "made")))
    time.sleep(0.3)
    host.naja.run("ps", bundle.id)
    end_by_force(host, bundle)


@pytest.mark.parametrize("depth", [1, DEPTH])
def test_a_frozen_cgroup_inside(host: Host, bundle: Bundle, depth: int) -> None:
    """Who is in it cannot end before it is thawed, on v1."""
    host.naja.run_detached(bundle)
    bottom = dig(host.cgroup(bundle.id), depth, NAME)
    put(bottom, "cgroup.procs", str(host.naja.state(bundle)["pid"]))
    put(bottom, *(("cgroup.freeze", "1") if host.kind == "v2" else ("freezer.state", "FROZEN")))
    os.close(bottom)
    began = time.monotonic()
    end_by_force(host, bundle)
    assert time.monotonic() - began < 9


def test_a_kill_thaws_what_is_frozen_inside(host: Host, bundle: Bundle) -> None:
    host.naja.run_detached(bundle)
    inner = dig(host.cgroup(bundle.id), 2, NAME)
    put(inner, "cgroup.procs", str(host.naja.state(bundle)["pid"]))
    put(inner, *(("cgroup.freeze", "1") if host.kind == "v2" else ("freezer.state", "FROZEN")))
    os.close(inner)
    host.naja.kill(bundle)
    host.naja.wait_for(bundle, "stopped", timeout=5)
    host.naja.delete(bundle)


@pytest.mark.parametrize("own_pids", [True, False], ids=["pid namespace", "none"])
def test_a_cgroup_above_that_is_frozen(host: Host, bundle: Bundle, own_pids: bool) -> None:
    """It is not the container's, and stays as it is; the killed end all the same."""
    if not own_pids:
        bundle.linux["namespaces"].remove({"type": "pid"})
    bundle.linux["cgroupsPath"] = f"/{bundle.id}/inner"
    bundle.shell("sleep 1000 & sleep 1000 & wait")
    host.naja.run_detached(bundle)
    host.freeze(bundle.id)
    try:
        host.naja.delete(bundle, "--force")
        assert host.naja.ids() == []
        assert not os.path.isdir(host.cgroup(f"{bundle.id}/inner"))
    finally:
        host.freeze(bundle.id, False)


def read_only(host: Host) -> Runtime:
    """Return the runtime where all cgroup trees are mounted read-only, as they are in containers."""
    trees = "for m in $(findmnt -rn -o TARGET -t cgroup,cgroup2); do mount -o remount,bind,ro $m; done"
    prefix = host.naja.argv[: -len(runtime_command())]
    argv = ["sh", "-c", f'{trees}; exec "$@"', "sh", *runtime_command()]
    return Runtime(host.naja.root, [*(prefix or ["unshare", "--mount"]), *argv])


@pytest.mark.skipif(shutil.which("findmnt") is None, reason="needs findmnt")
def test_read_only_trees_refuse_a_container_and_leave_nothing(host: Host, bundle: Bundle) -> None:
    naja = read_only(host)
    for verb in ("create", "run"):
        refused = naja.run(verb, "--bundle", bundle.path, bundle.id, check=False)
        assert refused.stderr.startswith("naja: make cgroup ")
        assert refused.stderr.count("\n") == 1
        assert "Read-only file system" in refused.stderr
        assert naja.ids() == []


@pytest.mark.skipif(shutil.which("findmnt") is None, reason="needs findmnt")
def test_who_is_in_a_read_only_tree_is_killed_and_the_tree_named(host: Host, bundle: Bundle) -> None:
    naja = read_only(host)
    host.naja.run_detached(bundle)
    assert "freeze the container: Read-only" in naja.run("pause", bundle.id, check=False).stderr
    naja.run("kill", "--all", bundle.id, "WINCH")
    assert naja.status(bundle) == "running"
    refused = naja.run("delete", "--force", bundle.id, check=False)
    assert refused.stderr.startswith("naja: remove cgroup ")
    assert refused.stderr.count("\n") == 1
    assert naja.status(bundle) == "stopped"
    end_by_force(host, bundle)


@pytest.fixture
def frozen_above(host: Host, bundle: Bundle) -> Iterator[None]:
    """The bundle's cgroup will be below one that is frozen from the start."""
    os.mkdir(host.cgroup(bundle.id))
    bundle.linux["cgroupsPath"] = f"/{bundle.id}/inner"
    bundle.args("/bin/true")
    host.freeze(bundle.id)
    yield
    host.freeze(bundle.id, False)


@pytest.fixture
def signalling(host: Host, bundle: Bundle) -> Iterator[None]:
    """All processes of a container are being signalled: it is frozen for a moment, here for a long one."""
    host.naja.run_detached(bundle)
    slow = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=pidfd_send_signal:delay_enter=1000000"]
    own = len(host.naja.argv) - len(runtime_command())
    argv = host.naja.command("kill", "--all", bundle.id, "WINCH")
    with subprocess.Popen([*argv[:own], *slow, *argv[own:]]) as killing:
        wait_until(lambda: host.is_frozen(bundle.id))
        yield
        assert killing.wait(timeout=20) == 0
    assert not host.is_frozen(bundle.id) or host.naja.status(bundle) == "paused"
    host.naja.delete(bundle, "--force")


@pytest.mark.usefixtures("signalling")
@pytest.mark.parametrize("verb", ["state", "list", "exec", "pause", "resume"])
def test_who_signals_all_is_not_seen_to_pause(host: Host, bundle: Bundle, verb: str) -> None:
    """Nobody else has paused the container, and what others do to it meanwhile is done."""
    if verb == "state":
        assert host.naja.status(bundle) == "running"
    elif verb == "list":
        assert [entry["status"] for entry in json.loads(host.naja.run("list", "-f", "json").stdout)] == [
            "running"
        ]
    elif verb == "exec":
        host.naja.exec(bundle, "/bin/true")
    elif verb == "pause":
        host.naja.run("pause", bundle.id)
        time.sleep(1.2)  # Till then it was thawed.
        assert host.naja.status(bundle) == "paused"
    else:
        refused = host.naja.run("resume", bundle.id, check=False)
        assert "container not paused" in refused.stderr


def run_that_waits(host: Host, bundle: Bundle, *words: str) -> subprocess.Popen[str]:
    """Begin to run the container, until it waits."""
    running = subprocess.Popen(
        host.naja.command("run", *words, "--bundle", bundle.path, bundle.id),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: os.path.isdir(host.cgroup(f"{bundle.id}/inner")))
    time.sleep(0.3)
    assert running.poll() is None
    return running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["alone", "cgroup namespace", "hooks", "pid namespace joined"])
@pytest.mark.usefixtures("frozen_above")
def test_a_run_that_waits_for_a_thaw_is_ended_by_a_signal(
    host: Host, bundle: Bundle, number: signal.Signals, kind: str
) -> None:
    """However the init is born: in the memory of the runtime, forked, or by a stage."""
    if kind == "cgroup namespace":
        bundle.linux["namespaces"].append({"type": "cgroup"})
    elif kind == "hooks":
        bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}
    elif kind == "pid namespace joined":
        bundle.linux["namespaces"][0]["path"] = "/proc/self/ns/pid"
    running = run_that_waits(host, bundle.save())
    running.send_signal(number)
    _, errors = running.communicate(timeout=10)
    assert running.returncode == 1
    assert errors.startswith("naja: wait for the thaw of cgroup ")
    assert f"ended by signal {number}" in errors
    assert errors.count("\n") == 1
    assert host.naja.ids() == []
    assert not os.path.exists(host.cgroup(f"{bundle.id}/inner"))


@pytest.mark.usefixtures("frozen_above")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_so_is_one_that_is_to_run_detached(host: Host, bundle: Bundle, number: signal.Signals) -> None:
    """Nobody is attached whom the signal could be passed on to; what was made is taken back all the same."""
    running = run_that_waits(host, bundle, "--detach")
    running.send_signal(number)
    _, errors = running.communicate(timeout=10)
    assert (running.returncode, errors) == (128 + number, "")
    assert host.naja.ids() == []
    assert not os.path.exists(host.cgroup(f"{bundle.id}/inner"))


@pytest.mark.parametrize("words", [[], ["--detach"]], ids=["attached", "detached"])
def test_a_run_whose_cgroup_is_frozen_after_it_was_looked_at(
    host: Host, bundle: Bundle, words: list[str]
) -> None:
    """The init stands still, on its way to its program: a hook of the container's own freezes them both."""
    freeze = "echo 1 > /above/cgroup.freeze"
    source = f"/sys/fs/cgroup/{bundle.id}" if len(host.naja.argv) > 1 else host.cgroup(bundle.id)
    if host.kind == "v1":
        freeze = "echo FROZEN > /above/freezer.state"
    os.mkdir(host.cgroup(bundle.id))
    bundle.linux["cgroupsPath"] = f"/{bundle.id}/inner"
    bundle.config["mounts"].append(
        {"destination": "/above", "type": "bind", "source": source, "options": ["bind"]}
    )
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", freeze]}]}
    bundle.save()
    argv = host.naja.command("run", *words, "--bundle", bundle.path, bundle.id)
    running = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: host.is_frozen(bundle.id))
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=20)
    assert running.returncode == (143 if words else 1)
    assert ("ended by signal 15" in errors) != bool(words)
    assert errors.count("\n") <= 1
    assert host.naja.ids() == []
    assert not os.path.exists(host.cgroup(f"{bundle.id}/inner"))


@pytest.mark.parametrize("end", ["signal", "thaw"])
@pytest.mark.parametrize("words", [[], ["--detach"]], ids=["attached", "detached"])
def test_a_run_whose_cgroup_is_frozen_before_the_birth(
    host: Host, bundle: Bundle, words: list[str], end: str
) -> None:
    """The runtime has looked, and stands still once the init is born; so that looks again."""
    os.mkdir(host.cgroup(bundle.id))
    bundle.linux["cgroupsPath"] = f"/{bundle.id}/inner"
    bundle.args("/bin/true")
    own = len(host.naja.argv) - len(runtime_command())
    argv = host.naja.command("run", *words, "--bundle", bundle.path, bundle.id)
    late = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "inject=clone,clone3:delay_enter=1500000"]
    running = subprocess.Popen(
        [*argv[:own], *late, *argv[own:]], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    # Written right before the birth.
    wait_until(lambda: os.path.exists(f"{host.naja.root}/{bundle.id}/state.json.new"))
    host.freeze(bundle.id)
    time.sleep(2)
    assert running.poll() is None
    if end == "thaw":
        host.freeze(bundle.id, False)
        assert running.wait(timeout=20) == 0
    else:
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20) == (143 if words else 1)
    assert running.stderr
    told = running.stderr.read()
    assert ("ended by signal 15" in told) == (end == "signal" and not words), told
    if end == "thaw" and words:
        host.naja.delete(bundle, "--force")
    assert host.naja.ids() == []
    assert not os.path.exists(host.cgroup(f"{bundle.id}/inner"))


@pytest.mark.usefixtures("frozen_above")
def test_a_run_that_waits_for_a_thaw_goes_on_after_it(host: Host, bundle: Bundle) -> None:
    running = run_that_waits(host, bundle)
    host.freeze(bundle.id, False)
    _, errors = running.communicate(timeout=10)
    assert (running.returncode, errors) == (0, "")


@pytest.mark.usefixtures("frozen_above")
def test_a_create_does_not_wait_for_a_thaw(host: Host, bundle: Bundle) -> None:
    """It is as good as paused, and can be deleted."""
    host.naja.create(bundle)
    host.naja.delete(bundle, "--force")
    assert host.naja.ids() == []


def test_resume_tells_of_a_cgroup_above_that_is_frozen(host: Host, bundle: Bundle) -> None:
    if host.kind == "v2":
        pytest.skip("needs v1: on v2 a cgroup tells of its own freeze only")
    bundle.linux["cgroupsPath"] = f"/{bundle.id}/inner"
    host.naja.run_detached(bundle.save())
    host.freeze(bundle.id)
    try:
        refused = host.naja.run("resume", bundle.id, check=False)
        assert refused.status == 1
        assert f"{host.cgroup(bundle.id)} is frozen" in refused.stderr
    finally:
        host.freeze(bundle.id, False)
    host.naja.delete(bundle, "--force")


def test_what_cannot_be_ended_is_named(host: Host, bundle: Bundle) -> None:
    """A process that is not the container's is in its cgroup, and a file system keeps naja from ending it."""
    if host.kind == "v2":
        pytest.skip("needs a v1 freezer, which holds the killed")
    bundle.linux["cgroupsPath"] = f"/{bundle.id}/inner"
    host.naja.run_detached(bundle.save())
    pid = host.naja.state(bundle)["pid"]
    host.freeze(bundle.id)
    try:
        read_only = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            'mount -o remount,bind,ro "$0" && exec "$@"',
            host.mount,
        ]
        refused = subprocess.run(
            [*read_only, *host.naja.command("delete", "--force", bundle.id)],
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert f"process {pid} does not end, though it was killed" in refused.stderr
        assert f"{host.cgroup(bundle.id)} is frozen" in refused.stderr
    finally:
        host.freeze(bundle.id, False)
    host.naja.delete(bundle, "--force")


@pytest.mark.skipif("" not in HIERARCHIES.mounts, reason="needs a v2 tree, where it is listed")
def test_a_process_of_another_pid_namespace_is_not_the_callers_group(tag: str) -> None:
    """The kernel calls it 0, which is the caller's own process group to kill(2)."""
    place = f"{HIERARCHIES.mounts.get('', '')}/{tag}0"
    os.mkdir(place)
    outside = subprocess.Popen(["sleep", "1000"])
    try:
        with open(f"{place}/cgroup.procs", "w") as file:
            file.write(str(outside.pid))

        def inside() -> list[int]:
            tree.signal(place, signal.SIGKILL)
            return tree.processes(place)

        def work() -> object:
            os.setsid()
            namespaces.unshare(namespaces.CLONE_NEWPID)
            return in_child(inside)

        assert in_child(work) == []
        assert outside.poll() is None
    finally:
        outside.kill()
        outside.wait()
        clear(place)
