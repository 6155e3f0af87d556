"""Keeps few pages of memory a process's own, while it stays and has nothing to do.

A fork shares all pages until one of both writes, and Python writes wherever it counts references; most counts
are soon again what they were. So who has nothing to do gives back what is like the file that it is a copy of:
the program, or a file into which memory was put that many forks are to share. Saves nearly half of the memory
of 100 shims (``python -m conformance.bench_shim``). Without a dump nothing is done.
"""

from __future__ import annotations

import _signal
import _thread
import fcntl
import os
from struct import Struct

from ..linux import process
from ..linux.libc import call, function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["give_back", "share"]

_PAGE = 4096
_MFD_NOEXEC_SEAL = 0x8
_F_ADD_SEALS = 1033
_ALL_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # F_SEAL_SEAL, SHRINK, GROW, WRITE
_PROT_READ, _MAP_PRIVATE, _MADV_DONTNEED = 1, 2, 4

_PROGRAM = "/proc/self/exe"

#: Bits of what is told of a page: it is there, and a file's.
_PRESENT, _OF_FILE = 1 << 63, 1 << 61

#: A part that is put into the file is a mapping, which each fork has to copy: that is dearer than so many
#: pages between others that nobody has written to. Of those that were written to it has so many at least.
_GAP, _LEAST = 32, 32

#: Where a page is, and its original.
_PAIR = Struct("=QQ")

#: Parts of the program's data: where each is, how long, and where its original is.
_parts: list[tuple[int, int, int]] = []


def give_back() -> None:
    """Give back the pages that are again what they were. Does nothing where that cannot be told."""
    if not process.text[1] or _thread._count():
        return  # Another thread might write to them meanwhile.
    try:
        if not _parts:
            _parts.extend(_program())
        own = bytearray()
        for place, length, original in _parts:
            for page in _own(place, length):
                own += _PAIR.pack(place + page * _PAGE, original + page * _PAGE)
        _undisturbed("give_back_pages", own, len(own) // _PAIR.size)
        for _, length, original in _parts:  # They were only looked at.
            call(function("madvise"), original, length, _MADV_DONTNEED)
    except OSError:
        pass  # Nothing but memory depends on it.


def share() -> None:
    """Put what this process has written to into a file that its forks share, and go back to (``give_back``).

    To be called once, before they are born. Does nothing where that does not work.
    """
    give_back()
    if not _parts:
        return
    try:
        file = _empty_file()
        try:
            _put_into(file)
        finally:
            os.close(file)
    except OSError:
        pass


def _put_into(file: int) -> None:
    parts = [
        (place + first * _PAGE, (end - first) * _PAGE)
        for place, length, _ in _parts
        for first, end in _runs(_own(place, length))
    ]
    original = _map(file, sum(length for _, length in parts), 0)
    _parts.clear()
    offset = 0
    for place, length in parts:
        _undisturbed("put_into_file", place, length, file, offset)
        _parts.append((place, length, original + offset))
        offset += length
    fcntl.fcntl(file, _F_ADD_SEALS, _ALL_SEALS)


def _undisturbed(name: str, *values: int | bytearray) -> None:
    """Call a function of native/dump.c while no signal is handled. Raises OSError."""
    number = function(name)
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        call(number, *values)
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _empty_file() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("naja-pages", flags | _MFD_NOEXEC_SEAL)
    except OSError:  # It came with Linux 6.3.
        return os.memfd_create("naja-pages", flags)


def _map(file: int, length: int, offset: int) -> int:
    return call(function("mmap"), 0, length, _PROT_READ, _MAP_PRIVATE, file, offset)


def _program() -> Iterator[tuple[int, int, int]]:
    """Yield the program's data, whose originals are its file (proc_pid_maps(5)).

    Nobody ever takes these mappings away. Of what was allocated since that cannot be said: where it was might
    be something else, which is like its original and is no copy of that.
    """
    name = os.fsencode(os.readlink(_PROGRAM))
    with open("/proc/self/maps", "rb") as file:
        lines = file.read().splitlines()
    program = os.open(_PROGRAM, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for line in lines:
            span, flags, offset, _, _, *names = line.split(None, 5)
            if flags == b"rw-p" and names == [name]:
                low, high = (int(number, 16) for number in span.split(b"-"))
                yield low, high - low, _map(program, high - low, int(offset, 16))
    finally:
        os.close(program)


def _own(place: int, length: int) -> list[int]:
    """Return which pages of a part are this process's copies (proc_pid_pagemap(5)). Raises OSError."""
    file = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        entries = memoryview(os.pread(file, length // _PAGE * 8, place // _PAGE * 8)).cast("Q")
        return [page for page, entry in enumerate(entries) if entry & _PRESENT and not entry & _OF_FILE]
    finally:
        os.close(file)


def _runs(pages: Iterable[int]) -> list[tuple[int, int]]:
    """Return where pages that are close together begin and end, if that pays."""
    runs: list[list[int]] = []
    for page in pages:
        if not runs or page - runs[-1][1] > _GAP:
            runs.append([page, page, 0])
        runs[-1][1] = page + 1
        runs[-1][2] += 1
    return [(first, end) for first, end, count in runs if count >= max(_LEAST, (end - first) / 2)]
