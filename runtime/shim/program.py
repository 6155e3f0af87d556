"""The program containerd-shim-naja-v2, as containerd calls it (core/runtime/v2/README.md of containerd).

    containerd-shim-naja-v2 [-namespace NS] [-id ID] [-address A] [-bundle DIR] [-socket S] [-debug] [VERB]
    containerd-shim-naja-v2 -v | -info

``start`` prints where the process listens that looks after the container, ``delete`` removes what is left of
a container after that process was killed. Without a verb it is that process itself.
"""

from __future__ import annotations

import os

from ..errors import NajaError, worded
from ..startup import precompiled
from ..startup.seal import go_on_sealed
from . import cleaning, messages
from .lending import borrow
from .settings import Settings, read_stdin
from .wire import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from .lending import Borrower

#: What a symbolic link to the command is called that is this program.
NAME = "containerd-shim-naja-v2"

_KILLED = 128 + 9


def main(program: str, words: Sequence[str], borrower: Borrower | None = None) -> int:
    """Do what the command line says. Returns an exit status; errors are told on stderr.

    ``borrower`` is whose command line that is, where this process was lent to it.
    """
    try:
        return _main(program, Settings(words), borrower)
    except (NajaError, OSError, Malformed, MemoryError) as error:
        text = (
            str(worded(error, program)) if not isinstance(error, Malformed) else f"malformed options: {error}"
        )
        _say(f"{program}: {text}")
        return 1


def _say(text: str) -> None:
    """Write a line to stderr, if anybody reads it: containerd may have been killed."""
    try:
        os.write(2, os.fsencode(f"{text}\n"))
    except OSError:
        pass


def _lent(borrower: Borrower) -> NoReturn:
    """Do what somebody was called for that has borrowed this process."""
    try:
        borrower.report(main(os.path.basename(borrower.program), borrower.words, borrower))
    finally:
        os._exit(0)


def _main(program: str, settings: Settings, borrower: Borrower | None) -> int:
    # It would be told of what containers say, and is nobody's here.
    os.environ.pop("NOTIFY_SOCKET", None)
    if "v" in settings.flags:
        from ..version import lines

        os.write(1, ("\n  ".join((f"{program}:", *lines("naja"))) + "\n").encode())
        return 0
    if "info" in settings.flags:
        _write_all(_info())
        return 0
    if not settings.namespace:
        raise NajaError("shim namespace cannot be empty")
    if settings.verb in ("start", "delete"):
        if borrower is None and (status := borrow(settings.values["address"])) >= 0:
            return status
        precompiled.preload("containerd-shim")
    if settings.verb == "start":
        if borrower is None:
            go_on_sealed()
        from .starting import start

        return start(settings, _lent, borrower)
    if settings.verb == "delete":
        _write_all(_delete(program, settings))
        return 0
    if settings.verb:
        raise NajaError(f"no such command: {settings.verb}")
    go_on_sealed()
    from .serving import serve_inherited

    return serve_inherited(settings)


def _write_all(content: bytes) -> None:
    while content:
        content = content[os.write(1, content) :]


def _info() -> bytes:
    """Return what -info prints: the options that were given on stdin, and the features document."""
    from ..config import json
    from ..features import features
    from ..version import VERSION
    from . import options

    given = messages.ANY.decode(read_stdin())
    options.read(given)
    document = {
        "type_url": "types.containerd.io/opencontainers/runtime-spec/1/features/Features",
        "value": json.dumps(features()).encode(),
    }
    return messages.RUNTIME_INFO.encode(
        {
            "name": "io.containerd.naja.v2",
            "version": {"version": VERSION},
            "options": given if given["type_url"] else None,
            "features": document,
        }
    )


def _delete(program: str, settings: Settings) -> bytes:
    """Remove what is left of a container. Returns what containerd wants to hear of it."""
    warnings: list[str] = []
    pid = cleaning.clean_up(settings, warnings.append)
    for warning in warnings:
        _say(f"{program}: {warning}")
    return messages.EXIT.encode({"pid": pid, "exit_status": _KILLED, "exited_at": messages.timestamp()})
