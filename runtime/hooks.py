"""Runs the hooks that a config names (config.md, POSIX-platform Hooks)."""

from __future__ import annotations

import _thread
import os
import select
import time

from .errors import Aftermath, NajaError, error_name, unborn
from .linux import process
from .linux.birth import can_share_memory, share_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn, Self

#: The kinds, in the order of a container's life.
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

#: What a shell says of a program that could not be executed.
_NOT_EXECUTED = 127
_REFUSED = "cannot be executed"
_SIGKILL = 9
#: Seconds: the longest wait, and the longest at a time.
_FOREVER, _PART = float("inf"), 0.5
_MOST_OUTPUT = 4096


class Streams:
    """What a hook has as its standard streams: files in memory, so that neither side waits for the other."""

    def __init__(self, given: int, output: int) -> None:
        self.given = given
        self.output = output

    @classmethod
    def open(cls, state: str) -> Self:
        """Return the streams of a hook that reads ``state`` (JSON). Raises OSError."""
        return cls(_memory(os.fsencode(state)), _memory(b""))

    def close(self) -> None:
        """Close both."""
        os.close(self.given)
        os.close(self.output)

    def tail(self) -> str:
        """Return the last of what the hook said, on one line."""
        size = os.fstat(self.output).st_size
        text = os.pread(self.output, _MOST_OUTPUT, max(0, size - _MOST_OUTPUT))
        said = " ".join(text.decode("utf-8", "replace").split())
        return f"it said: {said}" if said else "it said nothing"


def run_hooks(
    kind: str,
    hooks: list[dict[str, Any]],
    state: str,
    directory: str = "",
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run the hooks of a kind in their order, each with ``state`` (JSON) on its standard input.

    ``directory`` and ``environment`` are as for ``run_hook``. Raises NajaError at the first that fails.
    """
    for index, hook in enumerate(hooks):
        run_hook(hook, Streams.open(state), directory, environment, origin=f"/hooks/{kind}/{index}")


def run_hook(
    hook: dict[str, Any],
    streams: Streams,
    directory: str = "",
    environment: Mapping[str, str] | None = None,
    *,
    origin: str,
    looks: bool = True,
) -> None:
    """Run one hook, and close its streams.

    It starts in ``directory``, or in the caller's where that is empty or not there any more; without an
    ``env`` of its own it has ``environment``, None being the caller's. Raises NajaError where it cannot be
    started, exits with a status other than 0, or runs longer than its ``timeout`` (seconds; then it is
    killed, and what it has started with it). With ``looks`` the reason is looked for where it cannot be.
    """
    what = f"hook {hook['path']}"
    # Till somebody waits for it: an interrupted command leaves no hook behind.
    signals = process.EndingSignals()
    try:
        pid = _start(hook, streams, directory, _environment(hook, environment))
        code = _wait(pid, hook.get("timeout"), signals)
        if code is None:
            raise NajaError(f"{what} ran longer than its timeout of {hook['timeout']} s", origin=origin)
        if code:
            how = f"was killed by signal {-code}" if code < 0 else f"failed with exit status {code}"
            said = streams.tail()
            if looks and code == _NOT_EXECUTED and _REFUSED in said:
                said += _reason(hook["path"])
            raise NajaError(f"{what} {how}", why=said, origin=origin)
    except OSError as error:
        raise NajaError.from_os_error(what, error, why=unborn(error), origin=origin) from None
    finally:
        signals.come()
        streams.close()


def _reason(path: str) -> str:
    from .linux import unexecutable

    reason = unexecutable.why(path)
    return f": {reason}" if reason else ""


def _environment(hook: dict[str, Any], otherwise: Mapping[str, str] | None) -> dict[str, str]:
    if "env" in hook:
        return dict(entry.partition("=")[::2] for entry in hook["env"])
    if otherwise is not None:
        return dict(otherwise)
    # A hook has none of the descriptors that these speak of (sd_listen_fds(3)).
    return {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}


def _start(hook: dict[str, Any], streams: Streams, directory: str, environment: dict[str, str]) -> int:
    """Start a hook's program. Returns its pid. Raises OSError."""
    path = hook["path"]
    arguments = hook.get("args") or [path]

    def life() -> NoReturn:
        try:
            _settle(streams, directory)
            os.execve(path, arguments, environment)
        except OSError as error:
            reason = f"{os.strerror(error.errno or 0)} ({error_name(error.errno or 0)})"
            os.write(2, f"{_REFUSED}: {reason}".encode())
        finally:
            os._exit(_NOT_EXECUTED)

    # With other threads in this memory there would be two at work.
    if can_share_memory() and not _thread._count():
        return share_memory(life, 0)
    return os.fork() or life()


def _settle(streams: Streams, directory: str) -> None:
    """Give this process what a hook is to have, and nothing that is the caller's. Raises OSError."""
    # Its own session: no terminal, no Ctrl-C that is meant for others, and one name for all that it starts.
    os.setsid()
    for target, stream in enumerate((streams.given, streams.output, streams.output)):
        os.dup2(stream, target)
    if directory:
        try:
            os.chdir(directory)
        except OSError:
            pass  # It is gone; the caller's will do.
    try:
        process.close_range(3)
    except OSError:  # The container's filter may not let it pass.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    process.reset_signals()


def _memory(content: bytes) -> int:
    """Return a file in memory with ``content``, to be read from its beginning."""
    descriptor = os.memfd_create("hook")
    while content:
        content = content[os.write(descriptor, content) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _wait(pid: int, timeout: int | None, signals: process.EndingSignals) -> int | None:
    """Return the exit code of a child (negative: its signal), None where it had to be killed.

    From now on ``signals`` may come.
    """
    try:
        signals.come()
        if _ends_within(timeout, pid):
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException as error:
        with Aftermath(error):
            _kill(pid)
        raise
    _kill(pid)
    return None


def _ends_within(seconds: int | None, pid: int) -> bool:
    try:
        pidfd = process.pidfd_open(pid)
    except OSError:
        if seconds is None:
            return True  # The container's filter does not let it pass; waitpid will wait.
        raise
    try:
        deadline = time.monotonic() + (_FOREVER if seconds is None else seconds)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            # In parts: Python does not see a signal that came right before it began to wait.
            if poll.poll(min(left, _PART) * 1000):
                return True
        return False
    finally:
        os.close(pidfd)


def _kill(pid: int) -> None:
    """End a child and all of its session's first group, and reap the child. Raises OSError."""
    for target in (-pid, pid):
        try:
            os.kill(target, _SIGKILL)
        except ProcessLookupError:
            continue  # It has not come to having a session.
    os.waitpid(pid, 0)
