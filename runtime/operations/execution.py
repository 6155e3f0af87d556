"""The operations that end a plan: find the program, clear up what naja leaves behind, execve."""

from __future__ import annotations

import errno
import os
import stat

from ..errors import NajaError
from ..linux import process
from ..linux.files import open_in_root
from ..linux.scheduling import prlimit
from .base import Context, Operation


class FindProgram(Operation):
    """Look up the program as the user who will run it, so that a missing one fails at create.

    A name without a slash is sought in the directories of the container's PATH.
    """

    __slots__ = ("name", "search")

    def __init__(self, name: str, search: str, *, origin: str) -> None:
        self.origin = origin
        self.name = name
        #: The container's PATH.
        self.search = search

    def describe(self) -> str:
        where = "" if "/" in self.name else f" in PATH {self.search}"
        return f"look up {self.name}{where}"

    def apply(self, context: Context) -> None:
        context.values["program"] = self._explicit() if "/" in self.name else self._sought()

    def _explicit(self) -> str:
        try:
            check_program(self.name)
        except OSError as error:
            # runc's words, by which engines choose between the exit codes 126 and 127.
            seen = f"stat {self.name}: " if isinstance(error, FileNotFoundError) else ""
            reason = os.strerror(error.errno or 0).lower()
            if isinstance(error, IsADirectoryError):
                reason += ": permission denied"  # execve(2) says so, and both engines look for it
            raise NajaError(f"exec: {quote(self.name)}: {seen}{reason}", why=self._missing(error)) from None
        return self.name

    def _missing(self, error: OSError) -> str:
        from ..linux import unexecutable  # At hand for a failure: process/stage.py.

        if isinstance(error, IsADirectoryError):
            return ""
        if isinstance(error, FileNotFoundError):
            return unexecutable.missing(self.name, self.search)
        return unexecutable.why(self.name)

    def _sought(self) -> str:
        for directory in self.search.split(":") if self.search else ():
            path = f"{directory or '.'}/{self.name}"
            try:
                check_program(path)
            except OSError:
                continue
            if not path.startswith("/"):
                raise NajaError(
                    f"exec: {quote(self.name)}: cannot run executable found relative to current directory"
                )
            return path
        from ..linux import unexecutable

        what = f"exec: {quote(self.name)}: executable file not found in $PATH"
        raise NajaError(what, why=unexecutable.unfound(self.name, self.search))


def check_program(path: str) -> None:
    """Check that a path in the container leads to an executable file. Raises OSError."""
    # Magic links are refused: /proc/self/exe and /proc/self/fd/N would be naja's own (CVE-2024-21626).
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file = open_in_root(root, os.path.join(os.getcwd(), path), os.O_PATH | os.O_CLOEXEC)
    finally:
        os.close(root)
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        process.check_executable(file)
    finally:
        os.close(file)


def quote(text: str) -> str:
    """Return text in double quotes, as runc's messages have it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class ResetSignals(Operation):
    """Give every signal its default effect and block none: both are inherited over execve(2)."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "reset signals, and the signal at the parent's death"

    def apply(self, context: Context) -> None:
        process.reset_signals()
        process.set_parent_death_signal(0)


class SealDescriptors(Operation):
    """See that the program inherits the standard streams and what was asked for, nothing else.

    Naja's own are closed now: until execve a path through /proc/self/fd could lead to them.
    """

    __slots__ = ("preserved",)

    def __init__(self, preserved: int) -> None:
        self.origin = ""
        self.preserved = preserved

    def describe(self) -> str:
        return f"keep descriptors 0 to {2 + self.preserved}, close all others"

    def apply(self, context: Context) -> None:
        for number in range(3, 3 + self.preserved):
            try:
                os.set_inheritable(number, True)
            except OSError as error:
                what = f"pass on descriptor {number}"
                raise NajaError.from_os_error(what, error, why="the caller did not open it") from None
        process.close_range(3 + self.preserved, flags=process.CLOSE_RANGE_CLOEXEC)
        for name in list(context.descriptors):
            if name not in ("gate", "starter", "seccomp agent"):  # They are needed after this.
                os.close(context.take(name))


class Execute(Operation):
    """Become the container's program (execve(2))."""

    __slots__ = ("arguments", "environment")

    def __init__(self, arguments: list[str], environment: dict[str, str], *, origin: str) -> None:
        self.origin = origin
        self.arguments = arguments
        self.environment = environment

    def describe(self) -> str:
        return f"execute {' '.join(self.arguments)}"

    def apply(self, context: Context) -> None:
        environment = dict(self.environment)
        if not environment.get("HOME"):
            environment["HOME"] = context.values["home"]
        program = context.values["program"]
        try:
            os.execve(program, self.arguments, environment)
        except OSError as error:
            filtered = "filtered" in context.values
            raise NotExecuted(program, self.arguments, environment, error, filtered=filtered) from None


#: What a filter has execve say, as a rule: most programs fail with others.
_BY_FILTERS = (errno.EPERM, errno.ENOSYS)


class NotExecuted(NajaError):
    """The kernel has refused the program. ``look`` finds the reason, where the container's filter lets it."""

    def __init__(
        self,
        program: str,
        arguments: list[str],
        environment: dict[str, str],
        error: OSError,
        *,
        filtered: bool = False,
    ) -> None:
        super().__init__(f"exec {program}", errno=error.errno or 0)
        self._program = program
        self._arguments = arguments
        self._environment = environment
        if filtered and self.errno in _BY_FILTERS:
            self.why = "the container's filter may deny execve (/linux/seccomp)"

    def look(self) -> None:
        """Find the reason. Raises nothing."""
        try:
            self.why = self._reason() or self.why
        except OSError:
            pass  # A filter denies us the question.

    def _reason(self) -> str:
        from ..linux import unexecutable

        if self.errno == errno.E2BIG:
            stack, _ = prlimit(0, "RLIMIT_STACK")
            return unexecutable.too_long(self._arguments, self._environment, stack)
        return unexecutable.why(self._program, self.errno)
