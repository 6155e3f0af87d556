"""Where in the dump (native/dump.c) code is: what `create`, `run` and `exec` use is close together, and
what a shim uses while it stays.

Saves 3 MB of their memory, as the kernel brings in sixteen pages where a process reads one, and they use
a sixth of the code. Which functions that is says the file used.json, which ``python -m conformance.used``
writes anew. One that is missing in it works as well.
"""

from __future__ import annotations

import gc
import marshal
import os
import sys

from ..config import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from types import CodeType

__all__ = ["USED", "unpack", "used"]

#: Names of functions, by their module.
USED = os.path.join(os.path.dirname(__file__), "used.json")

#: The parts of native/dump.c's arena, and not to fill the gaps in the second one.
_TOGETHER, _ELSEWHERE, _ANEW = 0, 1, 2

#: Of co_flags (inspect): this is the code of a function, not that of a module or class, which is run once.
_CO_OPTIMIZED = 1


#: Of marshal, the last one in which text is nothing but text: not in Python's table of names.
_FORMAT = 2


def used() -> bytes:
    """Return what USED says, for ``unpack``. Raises OSError."""
    with open(USED, "rb") as file:
        return marshal.dumps(json.loads(file.read()), _FORMAT)


def unpack(
    run: Sequence[str],
    modules: Collection[str],
    read: Callable[[str], CodeType],
    used: bytes,
) -> tuple[dict[str, CodeType], dict[str, CodeType]]:
    """Read the codes of all ``modules``; return them, and those to be ``run``.

    What of these is ``used`` (USED) is in one place, and beside it is what is allocated from now on.
    """
    codes, whole = _unpacked(run, modules, read, used)
    _fill(_TOGETHER)
    return codes, {sys.intern(name): whole[name] for name in run}


def _unpacked(
    run: Sequence[str],
    modules: Collection[str],
    read: Callable[[str], CodeType],
    used: bytes,
) -> tuple[dict[str, CodeType], dict[str, CodeType]]:
    _fill(_ELSEWHERE)
    functions: dict[str, list[str]] = marshal.loads(used)
    # Others are run later, in a shim: what is used of these is together as well.
    later = [name for name in functions if name in modules and name not in run]
    parts = [
        marshal.dumps([_pruned(read(name), functions.get(name, ())) for name in names])
        for names in (run, later)
    ]
    # Unpacked first, and without the rest: its strings, which all others share, are among it then.
    _fill(_TOGETHER)
    bodies = marshal.loads(parts[0])
    for name in run:
        sys.intern(name)  # One object is the name of a module and what functions import it by.
    _fill(_ELSEWHERE | _ANEW)
    # Before others have some of its names, here and there. Python makes the type whole when it is first used.
    import _socket

    _socket.socket.mro()
    bodies += marshal.loads(parts[1])
    codes = {name: read(name) for name in modules}
    whole = {name: _grafted(codes[name], body) for name, body in zip((*run, *later), bodies, strict=True)}
    codes.update((name, whole[name]) for name in later)
    return codes, whole


def _fill(part: int) -> None:
    import _kernel

    gc.collect()  # Python keeps some that were freed, to use them again.
    _kernel.call(_kernel.find(b"fill"), part)


def _pruned(code: CodeType, functions: Collection[str]) -> CodeType | None:
    """Return the code of a module without the functions that are not named."""
    if code.co_flags & _CO_OPTIMIZED:
        return code if code.co_name in functions else None
    parts = (_pruned(part, functions) if _is_code(part) else part for part in code.co_consts)
    return code.replace(co_consts=tuple(parts))


def _grafted(code: CodeType, pruned: CodeType | None) -> CodeType:
    """Return ``pruned`` with what it lacks of ``code``."""
    if pruned is None or code.co_flags & _CO_OPTIMIZED:
        return pruned or code
    pairs = zip(code.co_consts, pruned.co_consts, strict=True)
    parts = (_grafted(part, left) if _is_code(part) else left for part, left in pairs)
    return pruned.replace(co_consts=tuple(parts))


def _is_code(value: object) -> bool:
    return isinstance(value, type(_is_code.__code__))
