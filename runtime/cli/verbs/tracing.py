"""The verb ``trace``, and the service that runs the container for it."""

from __future__ import annotations

import _signal
import fcntl
import os
import shutil
import sys
from time import time_ns

from ...container import traced as core
from ...errors import NajaError
from ...process.attached import Attached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..output import Log
    from ..parser import Command

#: What a terminal sends to whoever is in the foreground: the process that is traced has it already.
_OF_TERMINALS = (_signal.SIGINT, _signal.SIGQUIT)

#: Where the file for the trace gets its number: below are descriptors that the container is to have.
_ABOVE = 100


def trace(command: Command, log: Log) -> int:
    """Run a bundle's container, show what took how long, and return the program's exit code."""
    options = command.options
    id = options["id"] or f"trace-{os.getpid()}"
    bundle = (command.arguments or [options["bundle"]])[0] or "."
    file = os.memfd_create("naja-trace")
    descriptor = fcntl.fcntl(file, fcntl.F_DUPFD, _ABOVE)
    os.set_inheritable(descriptor, True)
    # By the word "run" the launcher knows that it is to seal Python, as for that.
    words = [*_globals(command), "traced", *_flags(command), "run", str(descriptor), bundle, id]
    attached = Attached()
    if os.isatty(0):
        for number in _OF_TERMINALS:
            _signal.signal(number, _signal.SIG_IGN)
    try:
        program = _program()
        began = time_ns()
        pid = os.posix_spawn(
            program[0], [*program, *words], dict(os.environ), setsigmask=(), setsigdef=_OF_TERMINALS
        )
        code = attached.wait(pid)
        ended = time_ns()
    finally:
        attached.close()
    try:
        found = core.read(file, began, ended)
    except NajaError:
        if code:
            return code  # It has said why.
        raise
    if options["output"]:
        _write(options["output"], found.chrome())
    os.write(2, found.table().encode(errors="surrogateescape"))
    return code


def traced(command: Command, log: Log) -> int:
    """Run a container, and write what was noted into a descriptor; for ``trace``."""
    _, descriptor, bundle, id = command.arguments
    options = command.options
    return core.run(
        bundle,
        id,
        int(descriptor),
        options["preserve-fds"],
        root=command.root,
        warn=log.warning,
        systemd_cgroup=command.globals["systemd-cgroup"],
        rootless=command.rootless,
        no_pivot=options["no-pivot"],
        no_new_keyring=options["no-new-keyring"],
    )


def _program() -> list[str]:
    """Return the program that this is, with what comes before its own words."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name == "naja.__main__":
        return [sys.executable, "-m", "naja"]
    path = sys.argv[0] if "/" in sys.argv[0] else shutil.which(sys.argv[0])
    if not path:
        raise NajaError(f"find the program {sys.argv[0]}", why="it is not in $PATH")
    return [path]


def _globals(command: Command) -> list[str]:
    """Return the global options that count for a run, as they were given."""
    given = command.globals
    words = [f"--{name}={given[name]}" for name in ("log", "log-format", "root", "rootless") if given[name]]
    return [*words, "--systemd-cgroup"] if given["systemd-cgroup"] else words


def _flags(command: Command) -> list[str]:
    options = command.options
    words = [f"--{name}" for name in ("no-pivot", "no-new-keyring") if options[name]]
    return [*words, f"--preserve-fds={options['preserve-fds']}"]


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise NajaError.from_os_error(f"write the trace {path}", error) from None
