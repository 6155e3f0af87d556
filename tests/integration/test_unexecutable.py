"""A program that cannot start is explained, whoever starts it, and whatever its filter lets through."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.bundle import Bundle
    from tests.support.command import Result, Runtime

WINDOWS = "#!/bin/sh\r\necho hello\r\n"
HINT = "its first line ends in a carriage return"


def line(result: Result, status: int = 1) -> str:
    """Return the one line that a failure has said."""
    assert result.status == status, str(result)
    (said,) = result.stderr.strip().splitlines()
    return said


def test_of_run(naja: Runtime, bundle: Bundle) -> None:
    bundle.write("/script", WINDOWS)
    said = line(naja.run_attached(bundle.args("/script"), check=False))
    assert said == (
        "naja: exec /script: No such file or directory (ENOENT), asked for by config.json /process/args/0: "
        "its first line ends in a carriage return (\\r), as on Windows: save it with Unix's line ends"
    )
    assert naja.ids() == []


def test_of_start(naja: Runtime, bundle: Bundle) -> None:
    bundle.write("/script", WINDOWS)
    naja.create(bundle.args("/script"))
    assert HINT in line(naja.run("start", bundle.id, check=False))


@pytest.mark.parametrize("flags", [(), ("--detach",)])
def test_of_exec(naja: Runtime, bundle: Bundle, flags: tuple[str, ...]) -> None:
    bundle.write("/script", WINDOWS)
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    said = line(naja.run("exec", *flags, bundle.id, "/script", check=False), 255)
    assert HINT in said
    said = line(naja.run("exec", *flags, bundle.id, "SLEEP", check=False), 255)
    assert 'exec: "SLEEP": executable file not found in $PATH' in said
    assert said.endswith("there is /bin/sleep")


def test_of_run_with_the_pid_asked_for(naja: Runtime, bundle: Bundle, tmp_path: object) -> None:
    """Then the init is forked, and tells over a channel."""
    bundle.write("/script", WINDOWS)
    flags = ("--pid-file", f"{tmp_path}/pid")
    assert HINT in line(naja.run_attached(bundle.args("/script"), *flags, check=False))


@pytest.mark.parametrize("forked", [False, True])
@pytest.mark.parametrize("action", ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ERRNO"])
def test_a_filter_that_allows_no_look(
    naja: Runtime, bundle: Bundle, tmp_path: object, action: str, forked: bool
) -> None:
    """What the kernel said is told all the same."""
    bundle.write("/script", WINDOWS)
    rule = {"names": ["openat2"], "action": action}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    flags = ("--pid-file", f"{tmp_path}/pid") if forked else ()
    said = line(naja.run_attached(bundle.args("/script"), *flags, check=False))
    assert said.startswith("naja: exec /script: No such file or directory (ENOENT)")
    assert HINT not in said


def test_a_filter_that_allows_no_look_at_start(naja: Runtime, bundle: Bundle) -> None:
    bundle.write("/script", WINDOWS)
    rule = {"names": ["openat2"], "action": "SCMP_ACT_KILL_PROCESS"}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    naja.create(bundle.args("/script"))
    said = line(naja.run("start", bundle.id, check=False))
    assert said.startswith("naja: exec /script: No such file or directory (ENOENT)")


def test_an_image_cannot_offer_the_module_that_looks(naja: Runtime, bundle: Bundle) -> None:
    """It is kept in memory; nothing is imported from the container's files."""
    bundle.write("/script", WINDOWS)
    for place in ("", "/usr/lib/python3", os.path.dirname(os.path.dirname(os.__file__))):
        bundle.write(f"{place}/naja/__init__.py", "raise SystemExit(77)")
        bundle.write(f"{place}/naja/linux/unexecutable.py", "raise SystemExit(77)")
    assert HINT in line(naja.run_attached(bundle.args("/script"), check=False))


def test_an_empty_root(naja: Runtime, bundle: Bundle) -> None:
    os.mkdir(f"{bundle.path}/empty")
    bundle.config["root"]["path"] = "empty"
    said = line(naja.run_attached(bundle.args("sh"), check=False))
    assert 'exec: "sh": executable file not found in $PATH' in said
    assert said.endswith("the root file system is empty: unpack an image into it")


def test_as_the_user(naja: Runtime, bundle: Bundle) -> None:
    """Who runs it is told who that is, and what the file lets him do."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.write("/tool", "#!/bin/sh\n", 0o700)
    said = line(naja.run_attached(bundle.args("/tool"), check=False))
    assert "permission denied" in said
    assert said.endswith("user 1000:1000 may not execute it (mode 0700, owner 0:0)")
    os.mkdir(f"{bundle.rootfs}/closed", 0o700)
    bundle.write("/closed/tool", "#!/bin/sh\n")
    said = line(naja.run_attached(bundle.args("/closed/tool"), check=False))
    assert said.endswith("user 1000:1000 may not search /closed (mode 0700, owner 0:0)")


def test_on_a_noexec_mount(naja: Runtime, bundle: Bundle) -> None:
    bundle.write("/source/tool", "#!/bin/sh\n")
    bundle.mount("/data", "bind", f"{bundle.rootfs}/source", "rbind", "noexec")
    said = line(naja.run_attached(bundle.args("/data/tool"), check=False))
    assert "permission denied" in said
    assert said.endswith("it lies in /data, which is mounted noexec")


def test_arguments_that_are_too_long(naja: Runtime, bundle: Bundle) -> None:
    said = line(naja.run_attached(bundle.args("/bin/echo", "x" * 200_000), check=False))
    assert "Argument list too long (E2BIG)" in said
    assert said.endswith("argument 1 has 200000 bytes, and the kernel takes 131071 in one")


def test_a_hook(naja: Runtime, bundle: Bundle) -> None:
    path = bundle.write("/hook", WINDOWS)
    for kind in ("createRuntime", "createContainer"):
        bundle.config["hooks"] = {kind: [{"path": path}]}
        said = line(naja.run_attached(bundle.save(), check=False))
        assert said.startswith(f"naja: hook {path} failed with exit status 127, asked for by config.json ")
        assert HINT in said
    bundle.config["hooks"] = {"startContainer": [{"path": "/Bin/true"}]}
    said = line(naja.run_attached(bundle.save(), check=False))
    assert said.endswith("/hooks/startContainer/0: there is /bin")


def test_a_working_directory(naja: Runtime, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/etc/passwd"
    assert "/etc/passwd" in line(naja.run_attached(bundle.save(), check=False))
    bundle.process.update(cwd="/closed", user={"uid": 1000, "gid": 1000})
    bundle.process["capabilities"] = {}
    os.mkdir(f"{bundle.rootfs}/closed", 0o700)
    said = naja.run_attached(bundle.save(), check=False)
    assert said.status in (0, 1)


def _fifo(bundle: Bundle) -> None:
    os.mkfifo(f"{bundle.rootfs}/tool", 0o777)


def _loop(bundle: Bundle) -> None:
    os.symlink("tool", f"{bundle.rootfs}/tool")


def _own_executable(bundle: Bundle) -> None:
    os.symlink("/proc/self/exe", f"{bundle.rootfs}/tool")


def _device_for_an_interpreter(bundle: Bundle) -> None:
    os.mknod(f"{bundle.rootfs}/device", 0o777 | stat.S_IFCHR, os.makedev(1, 8))
    bundle.write("/tool", "#!/device\n")


def _its_own_interpreter(bundle: Bundle) -> None:
    bundle.write("/tool", "#!/tool\n")


def _long_line(bundle: Bundle) -> None:
    bundle.write("/tool", b"#!/" + b"a\x1b[2J\xff" * 2000)


def _large_file(bundle: Bundle) -> None:
    os.truncate(bundle.write("/tool", b"\0"), 1 << 40)


def _many_names(bundle: Bundle) -> None:
    names = [f"{bundle.rootfs}/usr/{number}" for number in range(20_000)]
    for name in names:
        os.link(f"{bundle.rootfs}/etc/passwd", name)
    bundle.process["env"] = ["PATH=" + ":".join(["/usr"] * 1000)]
    bundle.args("tool")


@pytest.mark.parametrize(
    "offer",
    [
        *(_fifo, _loop, _own_executable, _device_for_an_interpreter),
        *(_its_own_interpreter, _long_line, _large_file, _many_names),
    ],
)
def test_what_an_image_may_offer(naja: Runtime, bundle: Bundle, offer: Callable[[Bundle], None]) -> None:
    """Nothing is opened that would wait or act, nothing large is read, and nothing reaches the terminal."""
    bundle.args("/tool")
    offer(bundle)
    said = line(naja.run_attached(bundle.save(), check=False))
    assert said.replace("\udcff", "").isprintable()
    assert len(said) < 2000
    assert naja.ids() == []


def test_a_program_that_somebody_writes_to(naja: Runtime, bundle: Bundle) -> None:
    path = bundle.write("/tool", "#!/bin/sh\n")
    with open(path, "r+"):
        result = naja.run_attached(bundle.args("/tool"), check=False)
    if result.status == 0:
        pytest.skip("needs a kernel that refuses to execute it")
    assert line(result).endswith("a process has it open to write to it, and has to close it first")
