"""Descriptors that a container inherits: --preserve-fds, LISTEN_FDS, and no others."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Result, Runtime

#: Lists the shell's descriptors: the glob is expanded before anything is opened.
_LIST = "for fd in /proc/self/fd/*; do echo -n ${fd##*/}' '; done; echo"


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[int]]:
    """Three open files, "content 3" to "content 5", named after the numbers that they are to have."""
    numbers = []
    for number in (3, 4, 5):
        path = tmp_path / f"file{number}"
        path.write_text(f"content {number}\n")
        numbers.append(os.open(path, os.O_RDONLY))
    yield numbers
    for number in numbers:
        os.close(number)


def called(
    naja: Runtime, argv: list[str], descriptors: list[int], environment: dict[str, str] | None = None
) -> Result:
    """Run a verb with these descriptors as 3, 4, and so on."""
    # A shell puts them in their places; at this process's own numbers there is something else.
    moves = " ".join(f"{3 + index}<&{fd}" for index, fd in enumerate(descriptors))
    shell = ["bash", "-c", f'exec "$@" {moves}', "bash", *argv]
    done = subprocess.run(
        shell,
        pass_fds=descriptors,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    from tests.support.command import Result

    return naja.judge(Result(shell, done.returncode, done.stdout, done.stderr), check=False)


def run(naja: Runtime, bundle: Bundle, descriptors: list[int], *flags: str, **environment: str) -> Result:
    argv = naja.command("run", "--bundle", bundle.path, *flags, bundle.id)
    return called(naja, argv, descriptors, environment)


def test_preserved_and_no_others(naja: Runtime, bundle: Bundle, files: list[int]) -> None:
    bundle.shell(f"cat <&3; cat <&4; {_LIST}")
    result = run(naja, bundle, files, "--preserve-fds", "2")
    assert result.stdout.splitlines() == ["content 3", "content 4", result.stdout.splitlines()[-1]]
    # The shell itself opens the directory for its glob.
    assert result.stdout.splitlines()[-1].split()[:5] == ["0", "1", "2", "3", "4"]
    assert "content 5" not in run(naja, bundle.shell("cat <&5"), files, "--preserve-fds", "2").stdout


def test_none_unless_asked(naja: Runtime, bundle: Bundle, files: list[int]) -> None:
    result = run(naja, bundle.shell("cat <&3 || echo closed"), files)
    assert result.stdout == "closed\n"


def test_a_missing_one_is_an_error(naja: Runtime, bundle: Bundle, files: list[int]) -> None:
    result = run(naja, bundle.args("/bin/true"), files, "--preserve-fds", "4")
    assert result.status == 1
    assert result.stderr == (
        "naja: keep descriptor 6 (--preserve-fds, LISTEN_FDS): Bad file descriptor (EBADF)\n"
    )
    assert bundle.id not in naja.ids()


#: Says what a program is told of sockets; a shell has to be told its own pid.
_TOLD = "echo [$LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES]"


def activated(
    naja: Runtime, argv: list[str], descriptors: list[int], pid: str | None, **environment: str
) -> Result:
    """Run a verb with descriptors from 3 on; ``pid`` is what LISTEN_PID is, ``$$`` the verb's own pid."""
    named = "" if pid is None else f"export LISTEN_PID={pid}; "
    # An exec in a script keeps the pid.
    script = ["/bin/sh", "-c", f'{named}exec "$@"', "sh", *argv]
    return called(naja, script, descriptors, {"LISTEN_FDNAMES": "web:admin", **environment})


@pytest.mark.parametrize("pid", ["$$", None])
def test_socket_activation(
    naja: Runtime, bundle: Bundle, files: list[int], tmp_path: Path, pid: str | None
) -> None:
    """The sockets of a service manager come first; the program is told of them (sd_listen_fds(3))."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        bundle.shell(f"{_TOLD}; readlink /proc/self/fd/3; cat <&4; cat <&5 || echo no")
        descriptors = [listener.fileno(), *files[:2]]
        argv = naja.command("run", "--bundle", bundle.path, "--preserve-fds", "1", bundle.id)
        result = activated(naja, argv, descriptors, pid, LISTEN_FDS="1")
    words = result.stdout.splitlines()
    assert words[0] == "[1 1 web:admin]"
    assert words[1].startswith("socket:[")
    assert words[2:] == ["content 3", "no"]


@pytest.mark.parametrize("number", ["1", "7", "many", "99999999999999"])
@pytest.mark.parametrize("preserved", [0, 1])
def test_sockets_of_another_process(
    naja: Runtime, bundle: Bundle, files: list[int], number: str, preserved: int
) -> None:
    """What somebody else was given neither reaches the container nor fails a run."""
    bundle.shell(f"{_TOLD}; cat <&3 || echo closed; cat <&4 || echo closed")
    argv = naja.command("run", "--bundle", bundle.path, "--preserve-fds", str(preserved), bundle.id)
    result = activated(naja, argv, files, "1", LISTEN_FDS=number)
    assert result.status == 0
    assert result.stdout.splitlines() == ["[ ]", "content 3" if preserved else "closed", "closed"]


@pytest.mark.parametrize("number", ["1", "99999999999999", "many", "-1", "\u00b2"])
def test_sockets_that_are_not_there(naja: Runtime, bundle: Bundle, number: str) -> None:
    """Without a LISTEN_PID the variable may be a left-over of somebody else's."""
    argv = naja.command("run", "--bundle", bundle.shell(_TOLD).path, bundle.id)
    result = activated(naja, argv, [], None, LISTEN_FDS=number)
    assert (result.status, result.stdout) == (0, "[ ]\n")


@pytest.mark.parametrize("number", ["1", "2"])
@pytest.mark.parametrize("verb", ["run", "create"])
def test_directories_that_are_no_sockets(
    naja: Runtime, bundle: Bundle, tmp_path: Path, verb: str, number: str
) -> None:
    """A left-over of the variable makes no directory of the host's the container's."""
    bundle.shell(f"{{ {_TOLD}; cat /proc/self/fd/*/etc/hostname; {_LIST}; }} > /out")
    argv = naja.command(verb, "--bundle", bundle.path, bundle.id)
    root, other = os.open("/", os.O_RDONLY), os.open(tmp_path / "file", os.O_RDONLY | os.O_CREAT)
    script = ["/bin/sh", "-c", 'exec "$@" > /dev/null 2>&1', "sh", *argv]
    assert activated(naja, script, [other, root][int(number) % 2 :], None, LISTEN_FDS=number).status == 0
    os.close(root)
    os.close(other)
    if verb == "create":
        naja.start(bundle)
        naja.wait_for(bundle, "stopped")
    with open(os.path.join(bundle.rootfs, "out")) as file:
        assert file.read().splitlines()[0] == "[ ]"


def test_sockets_of_our_own_that_are_not_there(naja: Runtime, bundle: Bundle) -> None:
    argv = naja.command("run", "--bundle", bundle.args("/bin/true").path, bundle.id)
    result = activated(naja, argv, [], "$$", LISTEN_FDS="99999999999999")
    assert (result.status, result.stderr) == (
        1,
        "naja: keep descriptor 3 (--preserve-fds, LISTEN_FDS): Bad file descriptor (EBADF)\n",
    )


@pytest.mark.parametrize("pid", ["$$", None, "1"])
@pytest.mark.parametrize("number", ["1", "many"])
def test_an_added_process_has_no_sockets(
    naja: Runtime, bundle: Bundle, files: list[int], pid: str | None, number: str
) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    script = f"{_TOLD}; cat <&3 || echo closed; cat <&4 || echo closed"
    argv = naja.command("exec", bundle.id, "/bin/sh", "-c", script)
    assert activated(naja, argv, files, pid, LISTEN_FDS=number).stdout == "[ ]\nclosed\nclosed\n"
    argv[argv.index("exec") + 1 : argv.index("exec") + 1] = ["--preserve-fds", "1"]
    assert activated(naja, argv, files, pid, LISTEN_FDS=number).stdout == "[ ]\ncontent 3\nclosed\n"


@pytest.mark.parametrize("number", ["many", "-1", "1.5", "\u00b2"])
def test_listen_fds_that_is_no_number(naja: Runtime, bundle: Bundle, number: str) -> None:
    argv = naja.command("run", "--bundle", bundle.args("/bin/true").path, bundle.id)
    result = activated(naja, argv, [], "$$", LISTEN_FDS=number)
    assert (result.status, result.stderr) == (
        1,
        f"naja: LISTEN_FDS={number} in naja's environment is not a number\n",
    )


def test_of_a_created_container(naja: Runtime, bundle: Bundle, files: list[int], tmp_path: Path) -> None:
    """They wait at the gate with it."""
    bundle.shell("cat <&3 > /out")
    argv = naja.command("create", "--bundle", bundle.path, "--preserve-fds", "1", bundle.id)
    moved = ["bash", "-c", f'exec "$@" 3<&{files[0]} > /dev/null 2>&1', "bash", *argv]
    subprocess.run(moved, pass_fds=files, stdin=subprocess.DEVNULL, check=True, timeout=30)
    naja.start(bundle)
    out = os.path.join(bundle.rootfs, "out")
    naja.wait_for(bundle, "stopped")
    with open(out) as file:
        assert file.read() == "content 3\n"


def test_of_an_added_process(naja: Runtime, bundle: Bundle, files: list[int]) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    script = "cat <&3; cat <&4 || echo closed"
    argv = naja.command("exec", "--preserve-fds", "1", bundle.id, "/bin/sh", "-c", script)
    assert called(naja, argv, files).stdout == "content 3\nclosed\n"
