"""Makes the program of a dumped interpreter: native/dump.c's memory, put into the ELF file that wrote it.

A process of it begins with the interpreter started and naja loaded: nothing is initialized, read or unpacked,
and the kernel brings in the pages that are used. GNU Emacs was begun in this way for thirty years.
"""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from array import array

from ..config import json
from ..config.template import default_config
from . import precompile

__all__ = ["dumped", "ran"]

#: elf(5): the file's header up to e_shstrndx, a program header, the kind of one that is loaded.
_FILE = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_LOAD = 1
#: What a file begins with that has 64-bit addresses, the lowest byte first.
_ELF = b"\x7fELF\2\1"
_PAGE = 4096
_SECONDS = 60

#: A number may look like an address. The next process has other addresses.
_TRIES = 5


def dumped(program: bytes, code: str) -> bytes | None:
    """Return a program that goes on after ``code``, with which ``program`` (native/dump.c) is run.

    None where it cannot be made: ``program`` fails, or something in its memory depends on the process.
    """
    if not program.startswith(_ELF):
        return None
    for _ in range(_TRIES):
        told, _, rest = _run(program, code).partition(b"\0")
        if not rest:
            return None
        start, memory = int.from_bytes(rest[:8], "little"), rest[8:]
        if not _points_out(memory, start, told.decode()):
            return _with_data(program, start, memory)
    return None


def ran(program: bytes, *words: str, environment: dict[str, str]) -> tuple[int, bytes, bytes]:
    """Run a program that was just compiled; return its exit status, and what it wrote to stdout and stderr.

    The status is -1 where it cannot be run (a directory for temporary files may forbid that), or hangs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "interpreter")
        precompile.replace(path, program, 0o700)
        command = [path, *words]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, env=environment, timeout=_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired):
            return -1, b"", b""
    return done.returncode, done.stdout, done.stderr


def _run(program: bytes, code: str) -> bytes:
    """Return what a program has to say, which has a bundle to practise with; nothing where it fails."""
    with tempfile.TemporaryDirectory() as bundle:
        with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as file:
            config = default_config()
            config["process"]["terminal"] = False
            file.write(json.dumps(config))
        os.mkdir(os.path.join(bundle, "rootfs"))
        status, out, complaints = ran(program, "-IS", "-c", code, "naja", bundle, environment={})
    return b"" if status or complaints else out


def _points_out(memory: bytes, start: int, told: str) -> bool:
    """Tell whether memory holds an address of what is not dumped: of a library, a stack, another heap."""
    thread, *maps = told.splitlines()
    ranges = []
    for line in maps:
        low, high = (int(number, 16) for number in line.split()[0].split("-"))
        if not low < start + len(memory) and high > start:
            ranges.append((low, high))
    words = array("Q", memory[: len(memory) & ~7])
    lowest = min(low for low, _ in ranges)
    suspicious = {word for word in words if word >= lowest} - {int(thread, 16)}
    return any(low <= word < high for word in suspicious for low, high in ranges)


def _with_data(program: bytes, start: int, memory: bytes) -> bytes | None:
    """Return an ELF file in which ``memory`` are the data from the address ``start`` on; None if it has none.

    What stands before them in their segment is the linker's, which fills it in for each process.
    """
    file = bytearray(program)
    header = list(_FILE.unpack_from(file))
    table, count = header[5], header[10]
    for place in range(table, table + count * _SEGMENT.size, _SEGMENT.size):
        kind, flags, offset, address, physical, _, room, alignment = _SEGMENT.unpack_from(file, place)
        if kind == _LOAD and address <= start < address + room:
            break
    else:
        return None
    data = file[offset : offset + start - address] + memory
    file += bytes(-len(file) % _PAGE + offset % _PAGE)
    _SEGMENT.pack_into(
        file, place, kind, flags, len(file), address, physical, len(data), len(data), alignment
    )
    # The sections no longer fit, and only debuggers read them.
    header[6], header[12], header[13] = 0, 0, 0
    _FILE.pack_into(file, 0, *header)
    return bytes(file + data)
