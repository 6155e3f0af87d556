"""Runs the hooks that a config names (config.md, POSIX-platform Hooks)."""

from __future__ import annotations

import os
import select
import time

from runtime.errors import NajaError
from runtime.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The kinds, in the order of a container's life.
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

_SIGKILL = 9
_MOST_OUTPUT = 4096


def run_hooks(kind: str, hooks: list[dict[str, Any]], state: str, directory: str = "") -> None:
    """Run the hooks of a kind in their order, each with ``state`` (JSON) on its standard input.

    They start in ``directory``, or in the caller's where that is empty or not there any more. Raises
    NajaError at the first that cannot be started, exits with a status other than 0, or runs longer than
    its ``timeout`` (seconds; then it is killed).
    """
    for index, hook in enumerate(hooks):
        run_hook(hook, state, directory, origin=f"/hooks/{kind}/{index}")


def run_hook(hook: dict[str, Any], state: str, directory: str, *, origin: str) -> None:
    """Run one hook. Raises NajaError with its output."""
    path = hook["path"]
    what = f"hook {path}"
    environment = _environment(hook)
    given, output = _memory(os.fsencode(state)), _memory(b"")
    actions = [
        (os.POSIX_SPAWN_DUP2, given, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    ]
    try:
        with _Inside(directory):
            pid = os.posix_spawn(path, hook.get("args") or [path], environment, file_actions=actions)
        code = _wait(pid, hook.get("timeout"))
        if code is None:
            raise NajaError(f"{what} ran longer than its timeout of {hook['timeout']} s", origin=origin)
        if code:
            how = f"was killed by signal {-code}" if code < 0 else f"failed with exit status {code}"
            raise NajaError(f"{what} {how}", why=_tail(output), origin=origin)
    except OSError as error:
        raise NajaError.from_os_error(what, error, origin=origin) from None
    finally:
        os.close(given)
        os.close(output)


class _Inside:
    """For the time of a ``with`` this process is in a directory, if there is one: a child inherits it.

    posix_spawn could do it for the child alone, but not through Python; a fork would take a millisecond.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._before = -1

    def __enter__(self) -> None:
        if not self._directory:
            return
        self._before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.chdir(self._directory)
        except OSError:
            self.__exit__()

    def __exit__(self, *_: object) -> None:
        if self._before >= 0:
            os.fchdir(self._before)
            os.close(self._before)
            self._before = -1


def _environment(hook: dict[str, Any]) -> dict[str, str]:
    if "env" not in hook:
        return dict(os.environ)
    return dict(entry.partition("=")[::2] for entry in hook["env"])


def _memory(content: bytes) -> int:
    """Return a file in memory with ``content``, to be read from its beginning."""
    descriptor = os.memfd_create("hook")
    while content:
        content = content[os.write(descriptor, content) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _wait(pid: int, timeout: int | None) -> int | None:
    """Return the exit code of a child (negative: its signal), None where it had to be killed."""
    if timeout is None:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    pidfd = process.pidfd_open(pid)
    deadline = time.monotonic() + timeout
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    ended = False
    while not ended and (left := deadline - time.monotonic()) > 0:
        ended = bool(poll.poll(left * 1000))
    if not ended:
        process.pidfd_send_signal(pidfd, _SIGKILL)
    os.close(pidfd)
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status) if ended else None


def _tail(output: int) -> str:
    """Return the last of what the hook said, on one line."""
    size = os.fstat(output).st_size
    text = os.pread(output, _MOST_OUTPUT, max(0, size - _MOST_OUTPUT))
    said = " ".join(text.decode("utf-8", "replace").split())
    return f"it said: {said}" if said else "it said nothing"
