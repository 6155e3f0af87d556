"""Why a program cannot be started, told by files of each kind that the kernel refuses."""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from typing import TYPE_CHECKING

import pytest

from naja.linux import unexecutable

if TYPE_CHECKING:
    from pathlib import Path

_ELF = b"\x7fELF\2\1\1" + bytes(9)
_PT_INTERP = 3


def elf(*, machine: int | None = None, loader: str = "", kind: int = 2) -> bytes:
    """Return an ELF file of one segment, which names a loader; without a machine it is this one's."""
    with open(sys.executable, "rb") as file:
        own = struct.unpack_from("<H", file.read(20), 18)[0]
    name = os.fsencode(loader) + b"\0"
    header = _ELF + struct.pack("<HHIQQQIHHHHHH", kind, machine or own, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", _PT_INTERP if loader else 1, 4, 120, 0, 0, len(name), len(name), 1)
    return header + segment + name


def program(directory: Path, content: bytes, mode: int = 0o755, name: str = "program") -> str:
    path = directory / name
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


#: By what is in the file: what is said of it.
CONTENTS = {
    b"": "it is empty",
    b"#!/bin/sh\r\necho\r\n": "save it with Unix's line ends",
    b"#!\necho": "names no interpreter",
    b"#! /no/such/tool -u\n": "its interpreter /no/such/tool: there is no /no",
    b"echo hello\n": "it is a text whose first line is not #!",
    b"\xef\xbb\xbf#!/bin/sh\n": "a byte order mark stands before #!",
    b"\xff\xfee\0c\0h\0": "16-bit characters",
    b"MZ\x90\0": "it is a program for Windows",
    b"\x1f\x8b\x08\0": "it is compressed by gzip",
    b"\0\1\2\3": "it is no program that this kernel knows",
    elf(machine=183 if os.uname().machine != "aarch64" else 62): "and this machine is",
    elf(loader="/lib64/ld-nowhere.so.9"): "its loader /lib64/ld-nowhere.so.9 is not there",
    elf(kind=1): "it is an object file or a core",
    elf()[:40]: "it is a truncated program, of 40 bytes",
    elf()[:80]: "it is a truncated program, of 80 bytes",
    b"#!/bin/\xff\x1b[2J\n": "its interpreter /bin/\udcff\x1b[2J",
}


@pytest.mark.parametrize("content", CONTENTS)
def test_contents(tmp_path: Path, content: bytes) -> None:
    said = unexecutable.why(program(tmp_path, content), errno.ENOEXEC)
    assert CONTENTS[content] in said


@pytest.mark.parametrize("content", CONTENTS)
def test_words_that_engines_look_for_are_not_said(tmp_path: Path, content: bytes) -> None:
    """From them Docker and Podman make exit statuses (126, 127), which are those of the kernel's reason."""
    said = unexecutable.why(program(tmp_path, content)).lower()
    for words in ("permission denied", "not permitted", "no such file", "not found", "is a directory"):
        assert words not in said


def test_a_program_that_is_sound(tmp_path: Path) -> None:
    assert unexecutable.why(sys.executable) == ""
    assert unexecutable.why(program(tmp_path, f"#!{sys.executable}\n".encode())) == ""


def test_a_loader_that_is_there_and_no_program(tmp_path: Path) -> None:
    loader = program(tmp_path, b"", name="loader")
    assert unexecutable.why(program(tmp_path, elf(loader=loader))) == f"its loader {loader}: it is empty"


def test_scripts_that_interpret_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "program")
    program(tmp_path, f"#!{path}\n".encode())
    assert "a script, whose interpreter is a script" in unexecutable.why(path)


def test_modes_and_kinds(tmp_path: Path) -> None:
    assert "its mode is 0644, without x" in unexecutable.why(program(tmp_path, b"", 0o644))
    assert unexecutable.why(str(tmp_path)) == "it is a directory"
    os.mkfifo(tmp_path / "fifo", 0o755)
    assert unexecutable.why(str(tmp_path / "fifo")) == "it is a FIFO"
    assert unexecutable.why("/dev/null") == "it is a device"
    assert unexecutable.why(str(tmp_path / "fifo" / "x")) == f"{tmp_path}/fifo is a FIFO"


def test_links(tmp_path: Path) -> None:
    os.symlink("nowhere", tmp_path / "dangling")
    assert "a symbolic link to nowhere" in unexecutable.why(str(tmp_path / "dangling"))
    os.symlink("loop", tmp_path / "loop")
    assert "too many symbolic links" in unexecutable.why(str(tmp_path / "loop"))
    assert "a link of procfs's" in unexecutable.why("/proc/self/exe")


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = program(tmp_path, b"\0")
    os.truncate(path, 1 << 40)
    assert unexecutable.why(path) == "it is no program that this kernel knows"


def test_what_the_kernel_says_alone(tmp_path: Path) -> None:
    assert "open to write" in unexecutable.why("/bin/sh", errno.ETXTBSY)
    assert "RLIMIT_NPROC" in unexecutable.why("/bin/sh", errno.EAGAIN)


def test_missing(tmp_path: Path) -> None:
    program(tmp_path, b"", name="Program")
    assert unexecutable.missing(f"{tmp_path}/program", "") == f"there is {tmp_path}/Program"
    (tmp_path / "bin").mkdir()
    tool = program(tmp_path / "bin", elf(), name="tool-of-naja")
    assert unexecutable.missing(f"{tmp_path}/tool-of-naja", f"/no:{tmp_path}/bin") == f"there is {tool}"
    assert unexecutable.missing(f"{tmp_path}/a/b/c", "") == f"there is no {tmp_path}/a"
    assert unexecutable.missing(f"{tmp_path}/nothing", "") == ""


def test_unfound(tmp_path: Path) -> None:
    search = f"/no/such:{tmp_path}"
    path = program(tmp_path, b"", 0o600, name="tool")
    assert unexecutable.unfound("tool", search) == f"{path} is there: its mode is 0600, without x: chmod +x"
    assert unexecutable.unfound("TOOL", search) == f"there is {path}"
    assert unexecutable.unfound("sh", str(tmp_path)).endswith(f"/sh, and PATH is {tmp_path}")
    assert unexecutable.unfound("sh", "").endswith("/sh, and PATH is empty (/process/env)")
    assert unexecutable.unfound("sh -c true", "/bin").startswith("args is a list of words, and this is one")
    assert (
        unexecutable.unfound("nothing-at-all", "/no/such")
        == "no directory of PATH is there: PATH is /no/such"
    )
    assert unexecutable.unfound("nothing-at-all", str(tmp_path)) == f"PATH is {tmp_path}"
    assert unexecutable.unfound("", str(tmp_path)) == ""


def test_without_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed before is the error to tell, and not that nobody could look."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", refuse)
    denied = PermissionError(errno.EACCES, "")
    assert unexecutable.why("/bin/sh") == ""
    assert unexecutable.missing("/no", "/bin") == ""
    assert unexecutable.unfound("no", "/bin") == ""
    assert unexecutable.not_entered("/no") == ""
    assert unexecutable.unopened("/no", denied) == ""


def test_too_long() -> None:
    stack = 8 << 20
    said = unexecutable.too_long(["sh", "x" * 200_000], {}, stack)
    assert said == "argument 1 has 200000 bytes, and the kernel takes 131071 in one"
    assert "the variable BIG has 131076 bytes" in unexecutable.too_long([], {"BIG": "y" * 131072}, stack)
    said = unexecutable.too_long(["x" * 100_000] * 30, {}, stack)
    assert "have 3000270 bytes, and the kernel takes 2097152" in said
    assert unexecutable.too_long(["sh"], {"A": "b"}, stack) == ""


def test_not_entered(tmp_path: Path) -> None:
    assert unexecutable.not_entered(f"{tmp_path}/a/b") == f"there is no {tmp_path}/a"
    assert unexecutable.not_entered(program(tmp_path, b"")) == "it is a file"
    (tmp_path / "Data").mkdir()
    assert unexecutable.not_entered(f"{tmp_path}/data") == f"there is {tmp_path}/Data"


@pytest.mark.root
def test_who_may_not(tmp_path: Path) -> None:
    """A child that has become nobody looks at what is root's."""
    os.chmod(tmp_path, 0o700)
    path = program(tmp_path, b"")
    end, ours = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(ours, unexecutable.why(path).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    said = os.read(end, 4096).decode()
    os.close(end)
    os.close(ours)
    assert said.startswith("user 65534:65534 may not search /")
    assert "mode 0700, owner 0:0" in said
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o755
