"""What a hostile image gets of the host: nothing.

The process that sets a container up is the host's Python. A container must not get hold of that
program (CVE-2019-5736), of a directory of the host (CVE-2024-21626), nor have its own files run in
its place while it still holds the host's privileges.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import REPOSITORY
from tests.support.needs import requires_command
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

#: Python code of an attacker whom the container's entrypoint has made the host's interpreter: keep a
#: handle of it, replace oneself by another program so that it is not busy, and write through the handle.
ATTACK = """
import os
handle = os.open("/proc/self/exe", os.O_RDONLY)
os.set_inheritable(handle, True)
print("attacking", flush=True)
os.execv("/busybox", ["sh", "-c", f"printf x 1<>/proc/self/fd/{handle} && echo written >&2"])
"""


def interpreter_hash() -> str:
    with open(os.path.realpath(sys.executable), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


@pytest.fixture
def untouched_interpreter() -> Iterator[None]:
    """Fail where the host's interpreter is another one after the test."""
    before = interpreter_hash()
    yield
    assert interpreter_hash() == before


@pytest.fixture
def host_bundle(bundle: Bundle) -> Bundle:
    """A bundle that has all that the host's Python needs to run, bound in read-only."""
    os.rename(os.path.join(bundle.rootfs, "bin/busybox"), os.path.join(bundle.rootfs, "busybox"))
    os.rename(os.path.join(bundle.rootfs, "bin"), os.path.join(bundle.rootfs, "applets"))
    needed = {"/usr", "/lib", "/lib64", sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    for path in sorted(needed):
        if os.path.isdir(path):
            bundle.mount(path, "bind", os.path.realpath(path), "rbind", "ro")
    bundle.process["env"].append("LD_LIBRARY_PATH=" + str(sysconfig.get_config_var("LIBDIR") or ""))
    return bundle.save()


@pytest.mark.usefixtures("untouched_interpreter")
def test_entrypoint_proc_self_exe(naja: Runtime, host_bundle: Bundle) -> None:
    result = naja.run_attached(host_bundle.args("/proc/self/exe", "-c", ATTACK), check=False)
    assert "written" not in result.stderr
    assert result.status != 0


@pytest.mark.usefixtures("untouched_interpreter")
def test_script_with_proc_self_exe_as_its_interpreter(naja: Runtime, host_bundle: Bundle) -> None:
    host_bundle.write("/script", "#!/proc/self/exe\n" + ATTACK)
    result = naja.run_attached(host_bundle.args("/script"), check=False)
    assert "written" not in result.stderr
    assert result.status != 0


@pytest.mark.usefixtures("untouched_interpreter")
def test_exec_of_proc_self_exe(naja: Runtime, host_bundle: Bundle) -> None:
    """The same through exec, whose process is in the container before it becomes the command."""
    naja.run_detached(host_bundle.args("/busybox", "sleep", "1000"))
    result = naja.exec(host_bundle, "/proc/self/exe", "-c", ATTACK, check=False)
    assert "written" not in result.stderr
    assert result.status != 0


@pytest.mark.usefixtures("untouched_interpreter")
def test_the_init_runs_from_what_cannot_be_written(naja: Runtime, bundle: Bundle) -> None:
    """Whoever holds the program of a waiting init, root on the host even, cannot write to it."""
    naja.create(bundle.args("/bin/sleep", "1000"))
    program = f"/proc/{naja.state(bundle)['pid']}/exe"
    handle = os.open(program, os.O_RDONLY)
    naja.start(bundle)
    # From then on it is not busy, if it is not the host's own interpreter.
    wait_until(lambda: os.readlink(program) == "/bin/busybox", what="execve")
    try:
        with pytest.raises(OSError) as caught:
            writable = os.open(f"/proc/self/fd/{handle}", os.O_RDWR)
            os.pwrite(writable, b"\x7f", 0)
    finally:
        os.close(handle)
    assert caught.value.errno in (errno.EROFS, errno.EPERM), caught.value


def test_the_init_cannot_be_traced_or_looked_into(naja: Runtime, bundle: Bundle) -> None:
    """Non-dumpable: what belongs to the waiting init in /proc is root's of the host, whatever its user."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    naja.create(bundle.args("/bin/sleep", "1000"))
    assert os.stat(f"/proc/{naja.state(bundle)['pid']}/environ").st_uid == 0


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
def test_cwd_that_is_a_leaked_descriptor(naja: Runtime, bundle: Bundle, number: int) -> None:
    """Whether the directory is naja's own or the caller's: the container never stands outside its root."""
    inside = '[ "$(stat -c %d:%i ../../../../../../../..)" = "$(stat -c %d:%i /)" ] || echo ESCAPED'
    bundle.process["cwd"] = f"/proc/self/fd/{number}"
    bundle.shell(f"readlink /proc/self/cwd; {inside}")
    directory = os.open("/usr", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.dup2(directory, number + 30)
        for lent in ((), (number + 30,)):
            bundle.process["cwd"] = f"/proc/self/fd/{lent[0] if lent else number}"
            bundle.save()
            result = naja.run_attached(bundle, check=False, pass_fds=lent)
            assert "ESCAPED" not in result.stdout, result
            assert "unreachable" not in result.stdout, result
    finally:
        os.close(directory)
        os.close(number + 30)


def test_no_descriptor_reaches_the_container(naja: Runtime, bundle: Bundle) -> None:
    directory = os.open("/usr", os.O_RDONLY | os.O_DIRECTORY)
    try:
        result = naja.run_attached(bundle.shell("echo /proc/self/fd/*"), pass_fds=(directory,))
    finally:
        os.close(directory)
    # The fourth is the shell's own, of the directory that it lists.
    assert result.stdout.split() == [f"/proc/self/fd/{number}" for number in range(4)]


def hostile_directories() -> list[str]:
    """Return where Python and naja look for modules on this host."""
    places = {
        REPOSITORY,
        *sysconfig.get_paths().values(),
        *sys.path,
        "/usr/lib/python3.11",
        "/usr/lib/python3",
    }
    return sorted(place for place in places if os.path.isabs(place) and not place.endswith(".zip"))


def plant_hostile_modules(bundle: Bundle) -> None:
    """Put a module that leaves a mark under every name of the standard library, wherever Python looks."""
    # One file under all these names, for that is quickly done.
    trap = bundle.write("/trap", "open('/pwned', 'a').write(__name__ + '\\n')\n")
    for directory in hostile_directories():
        host = bundle.rootfs + directory
        os.makedirs(host, exist_ok=True)
        for name in (*sys.stdlib_module_names, "sitecustomize", "usercustomize"):
            if name not in ("encodings", "runtime"):
                os.link(trap, f"{host}/{name}.py")
        for package in ("encodings", "runtime", "runtime/linux", "runtime/operations"):
            os.makedirs(f"{host}/{package}", exist_ok=True)
            for name in ("__init__", "aliases", "utf_8", "ascii", "latin_1", "idna", "errors", "base"):
                os.link(trap, f"{host}/{package}/{name}.py")


#: Ways through naja that end well or badly, and so touch much of it inside the container.
WAYS: dict[str, tuple[dict[str, Any], int | None]] = {
    "success": ({}, 0),
    "no program": ({"args": ["no-such-program"]}, None),
    "no such directory": ({"cwd": "/etc/passwd/x"}, None),
    "user": ({"user": {"uid": 1000, "gid": 1000, "additionalGids": [5]}}, 0),
    "not ASCII": ({"args": ["/bin/echo", "grüß"], "env": ["ÄÖÜ=ß", "PATH=/bin"]}, 0),
    "bad limit": ({"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 2**40, "hard": 2**41}]}, None),
}


@pytest.mark.parametrize("way", WAYS)
def test_hostile_modules_are_never_imported(naja: Runtime, bundle: Bundle, way: str) -> None:
    changes, status = WAYS[way]
    plant_hostile_modules(bundle)
    bundle.process.update(changes)
    bundle.process.pop("noNewPrivileges")
    result = naja.run_attached(bundle.save(), check=False)
    assert not os.path.exists(os.path.join(bundle.rootfs, "pwned"))
    assert status is None or result.status == status, result


def test_hostile_modules_are_never_imported_by_exec(naja: Runtime, bundle: Bundle) -> None:
    plant_hostile_modules(bundle)
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    naja.exec(bundle, "/bin/true")
    assert naja.exec(bundle, "no-such-program", check=False).status == 255
    assert not os.path.exists(os.path.join(bundle.rootfs, "pwned"))


@requires_command("cc")
def test_hostile_libraries_are_never_loaded(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Name services, iconv and the unwinder are loaded by glibc when they are first needed."""
    source, library = tmp_path / "trap.c", tmp_path / "trap.so"
    source.write_text(
        "#include <fcntl.h>\n#include <unistd.h>\n"
        '__attribute__((constructor)) void trap(void) { close(open("/pwned", O_CREAT | O_WRONLY, 0644)); }\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    names = [
        "libnss_files.so.2",
        "libnss_compat.so.2",
        "libnss_dns.so.2",
        "libnss_systemd.so.2",
        "libgcc_s.so.1",
    ]
    names += ["libseccomp.so.2", "libc.so.6", "libcap.so.2"]
    for directory in ("lib", "lib64", "usr/lib", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"):
        os.makedirs(os.path.join(bundle.rootfs, directory), exist_ok=True)
        for name in names:
            os.link(library, os.path.join(bundle.rootfs, directory, name))
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    naja.run_attached(bundle)
    naja.run_attached(bundle.args("no-such-program"), check=False)
    assert not os.path.exists(os.path.join(bundle.rootfs, "pwned"))


def test_hostile_passwd(naja: Runtime, bundle: Bundle) -> None:
    """HOME comes from the container's passwd: that of the host, by a link, is out of reach; so is a pipe."""
    os.unlink(os.path.join(bundle.rootfs, "etc/passwd"))
    os.mkfifo(os.path.join(bundle.rootfs, "etc/passwd"))
    naja.run_attached(bundle, check=False, timeout=10)
    os.unlink(os.path.join(bundle.rootfs, "etc/passwd"))
    os.symlink("../" * 20 + "etc/passwd", os.path.join(bundle.rootfs, "etc/passwd"))
    naja.run_attached(bundle.shell("echo $HOME"), check=False, timeout=10)
    os.unlink(os.path.join(bundle.rootfs, "etc/passwd"))


def test_a_passwd_without_an_end(naja: Runtime, bundle: Bundle) -> None:
    """Nobody waits until a terabyte of holes is read."""
    os.truncate(os.path.join(bundle.rootfs, "etc/passwd"), 1 << 40)
    bundle.process["env"] = ["PATH=/bin"]
    bundle.process["user"] = {"uid": 77, "gid": 0}
    assert naja.run_attached(bundle.shell("echo $HOME"), timeout=20).stdout == "/\n"


@pytest.mark.parametrize("way", ["run", "exec"])
def test_a_passwd_that_somebody_inside_has_a_lease_on(naja: Runtime, bundle: Bundle, way: str) -> None:
    """Whoever opens it would wait for him, up to /proc/sys/fs/lease-break-time."""
    bundle.process["env"] = ["PATH=/bin"]
    script = "echo $HOME"
    if way == "exec":
        naja.run_detached(bundle.args("/bin/sleep", "1000"))
    with open(os.path.join(bundle.rootfs, "etc/passwd"), "r+b") as file:
        handler = signal.signal(signal.SIGIO, signal.SIG_IGN)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        try:
            if way == "exec":
                result = naja.exec(bundle, "/bin/sh", "-c", script)
            else:
                result = naja.run_attached(bundle.shell(script))
        finally:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            signal.signal(signal.SIGIO, handler)
    assert result.stdout == "/\n"


@pytest.mark.parametrize("file", ["environ", "status", "mem", "kmsg"])
def test_a_passwd_in_procfs(naja: Runtime, bundle: Bundle, file: str) -> None:
    """The process that reads it is still naja: its environment is the caller's, and not for the image."""
    path = os.path.join(bundle.rootfs, "etc/passwd")
    os.unlink(path)
    os.symlink("/proc/kmsg" if file == "kmsg" else f"/proc/self/{file}", path)
    bundle.process["env"] = ["PATH=/bin"]
    secret = {**os.environ, "SECRET": "\n:x:0:0::/secret:"}
    naja.create(bundle.shell("echo $HOME > /tmp/home; mv /tmp/home /home; sleep 1000"), env=secret)
    naja.start(bundle)
    wait_until(lambda: os.path.exists(f"{bundle.rootfs}/home"), what="the container")
    with open(f"{bundle.rootfs}/home") as home:
        assert home.read() == "/\n"
    assert naja.exec(bundle, "/bin/sh", "-c", "echo $HOME", env=secret).stdout == "/\n"
