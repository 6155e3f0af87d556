"""The command ``naja``: from argv to an exit status. The one place where errors are reported."""

from __future__ import annotations

import _signal
import gc
import os
import sys

from ..errors import NajaError, worded
from ..startup import precompiled
from .options import VERBS
from .output import Log, ReaderGone, show
from .parser import UsageError, parse_globals, parse_verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from .parser import Command

__all__ = ["execute", "main"]

#: What the names of containerd's shims begin with; one of them is a link to this command.
_SHIM = "containerd-shim-"

#: Services that make processes in containers, beside the verbs that say so.
_LAUNCHING = ("resident", "traced")

_INTERRUPTED, _BROKEN_PIPE = 128 + 2, 128 + 13


def main() -> NoReturn:
    """Do what argv says, and end the process at once: an orderly shutdown would cost a millisecond."""
    try:
        # The launcher has blocked it: nobody could have caught what Python makes of it before this.
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGINT,))
        status = _main()
    except KeyboardInterrupt:
        status = _INTERRUPTED
    os._exit(status)


def _main() -> int:
    # One command makes little garbage, and a collection costs more than it frees.
    gc.disable()
    _open_standard_streams()
    # A caller may ignore it, and then nobody could be asked how a child has ended (wait(2)).
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    status = _do(os.path.basename(sys.argv[0]), sys.argv[1:])
    for stream in (getattr(sys, "stdout", None), sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            status = status or 1
    return status


def _do(program: str, words: Sequence[str]) -> int:
    """Do what is asked of the program that has this name."""
    if program.startswith(_SHIM):
        from ..shim.program import main as shim

        return shim(program, words)
    return execute(program, words, anew=True)


def execute(program: str, words: Sequence[str], *, anew: bool = False) -> int:
    """Run one command line; ``program`` is the name it was called by. Returns the exit status.

    ``anew`` where that is all that this process does, which may execute itself again to be sealed. The status
    is 0, 1 for a failure (255 for one of exec), or the container's own for run and exec.
    """
    log, debug = Log(program), False
    rest: list[str] = []
    try:
        globals, rest = parse_globals(words)
        debug = globals["debug"]
        log = Log(program, globals["log"], globals["log-format"])
        status = _dispatch(program, globals, rest, log, anew=anew)
        log.close()
        return status
    except KeyboardInterrupt as error:
        if hasattr(error, "__notes__"):
            log.error(_with_aftermath(error, "interrupted"))
        log.close()
        return 128 + error.args[0] if error.args else _INTERRUPTED
    except ReaderGone:
        log.close()
        return _BROKEN_PIPE
    except Exception as error:
        if debug:
            # Not the module traceback, which would have to be imported first.
            sys.__excepthook__(type(error), error, error.__traceback__)
        text = _with_aftermath(error, str(worded(error, rest[0] if rest else program)))
        if isinstance(error, UsageError):
            text += f"; see '{' '.join((program, 'help', *(word for word in rest[:1] if word in VERBS)))}'"
        log.error(text)
        verb = VERBS.get(rest[0]) if rest and not isinstance(error, UsageError) else None
        return verb.failure if verb else 1


def _dispatch(program: str, globals: dict[str, Any], rest: list[str], log: Log, *, anew: bool) -> int:
    """Do what the words after the global options say. Returns the exit status. Raises NajaError."""
    if globals["version"]:
        return _show_version(program)
    if globals["help"] or not rest or rest[0] in ("help", "h"):
        return _show_help(program, rest[1:2])
    command = parse_verb(globals, rest)
    if command.options["help"]:
        return _show_help(program, rest[:1])
    if anew and (command.verb.launches or rest[0] in _LAUNCHING) and _is_at_large():
        from ..startup.seal import go_on_sealed

        go_on_sealed()  # Before anything is loaded that would be loaded twice.
    precompiled.preload(rest[0])
    if not command.verb.launches:
        return _perform(command, log)
    from ..process.launch import Launch
    from ..startup.seal import was_executed

    options: dict[str, Any] = {"debug": log.debug} if globals["debug"] else {}
    options["activated"] = rest[0] != "exec"
    with Launch(command.options["preserve-fds"], anew=anew, **options) as command.launch:
        if was_executed():
            from ..startup.warmup import warm_up

            warm_up()
        return _perform(command, log)


def _is_at_large() -> bool:
    """Tell whether this process runs from a file in a directory: then it is not sealed. Else it may be."""
    try:
        return os.readlink("/proc/self/exe").count("/") > 1
    except OSError:
        return False


def _perform(command: Command, log: Log) -> int:
    # The verb's module is loaded now, and no other verb's.
    __import__(command.verb.module)
    function = getattr(sys.modules[command.verb.module], command.verb.function)
    try:
        status: int | None = function(command, log)
    except (NajaError, OSError, MemoryError, ReaderGone):
        raise
    except Exception:
        from ..container.remains import blame

        blame(command.id, command.root)
        raise
    return status or 0


def _with_aftermath(error: BaseException, text: str) -> str:
    """Add to an error what failed in consequence of it (errors.Aftermath)."""
    return "; and then: ".join((text, *getattr(error, "__notes__", ())))


def _show_version(program: str) -> int:
    """Print the version as engines parse it: runc's lines, under the name that naja was called by."""
    from ..startup.tier import told
    from ..version import lines

    show("\n".join((*lines(program), f"start: {told(sys.argv[0])}")) + "\n")
    return 0


def _show_help(program: str, verb: Sequence[str]) -> int:
    from .help import show_help

    return show_help(program, *verb)


def _open_standard_streams() -> None:
    """Open /dev/null where the caller closed stdin, stdout or stderr: no other file may get their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open("/dev/null", os.O_RDWR), True)
