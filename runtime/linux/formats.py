"""What is wrong with a program, by what it begins with: scripts, ELF files, and files of other systems."""

from __future__ import annotations

import os
from struct import unpack_from

#: How much the kernel reads of a first line.
_FIRST_LINE = 256

#: elf(5): e_machine.
_MACHINES = {
    **{
        3: "x86 (32 bits)",
        8: "mips",
        20: "ppc",
        21: "ppc64",
        22: "s390x",
        40: "arm (32 bits)",
        43: "sparc64",
    },
    **{62: "x86-64", 183: "aarch64", 243: "riscv", 258: "loongarch"},
}
#: What uname(2) calls them.
_OWN_MACHINES = {"x86_64": 62, "aarch64": 183, "riscv64": 243, "s390x": 22, "ppc64le": 21, "loongarch64": 258}
_WINDOWS = "its first line ends in a carriage return (\\r), as on Windows: save it with Unix's line ends"
_ET_EXEC, _ET_DYN, _PT_INTERP = 2, 3, 3
#: What files of others begin with.
_KINDS = {
    b"MZ": "it is a program for Windows",
    b"\xcf\xfa\xed\xfe": "it is a program for macOS",
    b"\xca\xfe\xba\xbe": "it is a Java class, or a program for macOS",
    b"\x1f\x8b": "it is compressed by gzip",
    b"PK\3\4": "it is a zip archive",
    b"\xff\xfe": "it is a text of 16-bit characters, as Windows writes it: save it as UTF-8",
    b"\xef\xbb\xbf#!": "a byte order mark stands before #!: save it without",
    b"!<arch>": "it is a library or a package (ar)",
}


def flaw(head: bytes, size: int) -> tuple[str, str]:
    """Return what keeps a file from being executed, and if it is not that, which other it takes.

    That is an interpreter or a loader, "" where there is none. ``head`` is the file's first page.
    """
    return _of_script(head) if head.startswith(b"#!") else _of_program(head, size)


def _of_script(head: bytes) -> tuple[str, str]:
    line = head[2:_FIRST_LINE].partition(b"\n")[0]
    if line.endswith(b"\r"):
        return _WINDOWS, ""
    words = line.split(maxsplit=1)
    if not words:
        return "its first line names no interpreter after #!", ""
    return "", os.fsdecode(words[0])


def _of_program(head: bytes, size: int) -> tuple[str, str]:
    """Return what is wrong with what is no script; or its loader."""
    if not size:
        return "it is empty", ""
    if head.startswith(b"\x7fELF"):
        return _of_elf(head, size)
    for magic, kind in _KINDS.items():
        if head.startswith(magic):
            return kind, ""
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return "it is a text whose first line is not #! and an interpreter (#!/bin/sh)", ""
    return "it is no program that this kernel knows", ""


def _of_elf(head: bytes, size: int) -> tuple[str, str]:
    """Return what is wrong with an ELF file; or its loader (elf(5))."""
    if len(head) < 64:
        return f"it is a truncated program, of {size} bytes", ""
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    kind, machine = unpack_from(f"{order}HH", head, 16)
    name = os.uname().machine
    own = _OWN_MACHINES.get(name, machine)
    if machine != own and not (own == 62 and machine == 3):
        named = _MACHINES.get(machine, f"another machine (e_machine {machine})")
        return f"it is a program for {named}, and this machine is {name}", ""
    if kind not in (_ET_EXEC, _ET_DYN):
        return "it is an object file or a core, not a program", ""
    return _of_segments(head, size, wide, order)


def _of_segments(head: bytes, size: int, wide: bool, order: str) -> tuple[str, str]:
    if wide:
        table, each, count = *unpack_from(f"{order}Q", head, 32), *unpack_from(f"{order}HH", head, 54)
    else:
        table, each, count = *unpack_from(f"{order}I", head, 28), *unpack_from(f"{order}HH", head, 42)
    if table + each * count > size:
        return f"it is a truncated program, of {size} bytes", ""
    for place in range(table, table + each * count, each or 4096):
        if place + 56 > len(head):
            break  # Beyond the first page only a strange linker puts it.
        kind = unpack_from(f"{order}I", head, place)[0]
        if kind == _PT_INTERP:
            start, length = unpack_from(f"{order}8xQ16xQ" if wide else f"{order}4xI8xI", head, place)
            return "", os.fsdecode(head[start : start + min(length, _FIRST_LINE)].split(b"\0")[0])
    return ("", "") if wide else ("it is a program of 32 bits, which this kernel may not run", "")
