"""What can be told of a container without asking anybody: it is on disk, in /proc and in its cgroups.

Both the API for threads and the one for asyncio have it; reading takes a fraction of a millisecond.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from ..container import lifecycle
from ..container.lifecycle import say
from ..container.listing import list_containers as _list
from ..container.state import check_id
from ..errors import NajaError, WrongState
from .asking import place, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..linux.process import Held
    from ..types import Config, Event, State, Statistics, Status, User
    from ..types import Process as ProcessConfig
    from .asking import StrPath
    from .streams import Logs, Streams


class TimeoutExpired(NajaError):
    """What was waited for has not come in time. ``run`` has ended and deleted the container.

    ``timeout`` is in seconds; ``stdout`` and ``stderr`` are what was captured until then, else None.
    """

    def __init__(self, what: str, timeout: float, stdout: Any = None, stderr: Any = None) -> None:
        super().__init__(what, why=f"timed out after {timeout:g} seconds")
        self.timeout = timeout
        self.stdout = stdout
        self.stderr = stderr


class ProgramFailed(NajaError):
    """A program has ended with an exit code other than 0, where ``check`` was asked for."""

    def __init__(self, what: str, returncode: int, stdout: Any = None, stderr: Any = None) -> None:
        super().__init__(what, why=f"exit status {returncode}")
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


class Handle:
    """A container by its ID and state root; whether there is one is found out by what is asked of it."""

    def __init__(
        self, id: str, *, root: StrPath | None = None, warn: Callable[[str], None] | None = None
    ) -> None:
        """``warn`` is told in a line what is worth saying but no error; else standard error is.

        Raises NajaError for what can be no ID.
        """
        check_id(id)
        self.id = id
        #: The state root.
        self.root = place(root)
        self.warn: Callable[[str], None] = warn or say
        #: The exit code of the container's process, once somebody has waited for it; 128 + N for signal N.
        self.returncode: int | None = None
        #: A pidfd of the container's process, where this program has made it, else -1.
        self.pidfd = -1
        self._streams: Streams | None = None
        self._config: Config | None = None

    def __del__(self) -> None:
        if hasattr(self, "pidfd"):  # Else it was no ID.
            self._close_pidfd()

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} {self.id!r}, root {self.root!r}>"

    @contextmanager
    def _look(self) -> Iterator[lifecycle.Container]:
        """Look at what is kept of it. Raises NotFound, NajaError."""
        found = lifecycle.Container.load(self.id, root=self.root, warn=self.warn)
        try:
            yield found
        finally:
            found.directory.close()

    @property
    def _place(self) -> dict[str, str]:
        """The fields of a request by which the container is found."""
        return {"root": self.root, "id": self.id}

    def _exists(self) -> bool:
        return os.path.exists(os.path.join(self.root, self.id))

    def state(self) -> State:
        """Return the state document (runtime.md, State). Raises NotFound, NajaError."""
        with self._look() as found:
            return cast("State", found.state())

    def status(self) -> Status:
        """Return "creating", "created", "running", "paused" or "stopped". Raises NotFound, NajaError."""
        with self._look() as found:
            return cast("Status", found.status())

    @property
    def pid(self) -> int:
        """The pid of the container's process, 0 where it has ended. Raises NotFound, NajaError."""
        with self._look() as found:
            return found.pid

    @property
    def config(self) -> Config:
        """The config.json that the container was made from. Raises NotFound, NajaError."""
        if self._config is None:
            with self._look() as found:
                self._config = cast("Config", found.config)
        return self._config

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of the config. Raises NotFound, NajaError."""
        with self._look() as found:
            return found.annotations

    def processes(self) -> list[int]:
        """Return the pids of all processes in the container, as the host sees them. Raises NajaError."""
        with self._look() as found:
            return found.processes()

    def stats(self) -> Statistics:
        """Return what the cgroups have counted, in runc's form (``events --stats``). Raises NajaError."""
        try:
            with self._look() as found:
                return cast("Statistics", found.statistics())
        except OSError as error:
            raise NajaError.from_os_error(f"read the statistics of container {self.id}", error) from None

    def statistics(self) -> Statistics:
        """As ``stats``."""
        return self.stats()

    @property
    def logs(self) -> Logs:
        """What the container has written so far, where it was made with ``logs=True``. Raises NajaError."""
        found = self._streams.logs() if self._streams else None
        if found is None:
            raise NajaError(f"the logs of container {self.id}", why="they were not captured (logs=True)")
        return found

    def _events(self, interval: float) -> Iterator[Event | None]:
        """Tell of events until the end, and None now and then. Raises WrongState, NajaError."""
        if interval <= 0:
            raise ValueError("interval must be greater than 0")
        with self._look() as found:
            if found.status() == "stopped":
                raise WrongState("container not running", why=self.id)
            yield from self._tell(found, interval)

    def _tell(self, found: lifecycle.Container, interval: float) -> Iterator[Event | None]:
        with found.lasting("container not running") as held, found.cgroup.watch_oom() as watch:
            due = time.monotonic()
            while not watch.ended() and not held.ending():
                if watch.wait(min(max(0.0, due - time.monotonic()), _GLANCE)):
                    yield {"type": "oom", "id": self.id}
                elif time.monotonic() >= due:
                    data = _statistics(found, held)
                    if data is None:
                        break
                    yield {"type": "stats", "id": self.id, "data": data}
                    due += interval
                else:
                    yield None
            if watch.last():
                yield {"type": "oom", "id": self.id}

    def _program(
        self,
        asked: Sequence[str] | ProcessConfig,
        env: Mapping[str, str] | None,
        cwd: StrPath | None,
        user: int | str | User | None,
        *,
        terminal: bool,
    ) -> dict[str, Any]:
        """Return the process that is to be added. Raises NotFound, NajaError, ValueError, TypeError."""

        def own() -> ProcessConfig:
            return self.config.get("process") or {"cwd": "/"}

        return program(own, asked, env=env, cwd=cwd, user=user, terminal=terminal)

    def _close_pidfd(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def _warn_all(self, warnings: list[str]) -> None:
        for text in warnings:
            self.warn(text)


#: How often ``events`` looks whether the container has ended, in seconds.
_GLANCE = 0.25


def _statistics(found: lifecycle.Container, held: Held) -> Statistics | None:
    """Return the statistics; None where the container has ended. Raises NajaError, OSError."""
    try:
        return cast("Statistics", found.cgroup.statistics())
    except (NajaError, OSError):
        if held.ending():
            return None
        raise


def list_containers(root: StrPath | None = None, *, warn: Callable[[str], None] | None = None) -> list[State]:
    """Return the state documents of all containers, sorted by ID; ``warn`` is told of those without one.

    Raises NajaError.
    """
    return cast("list[State]", _list(place(root), warn=warn or say))
