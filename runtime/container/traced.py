"""The run of a container that ``naja trace`` shows: what each process does, and how long that takes.

Loaded for that only. It is ``run`` itself, in a process of its own, whose functions are wrapped so that they
tell when they began and ended; the operations of all processes tell of themselves (operations/tracing.py).
"""

from __future__ import annotations

import os
from time import time_ns

from .. import cgroups, config
from ..config import json
from ..errors import NajaError
from ..operations import tracing
from ..operations.base import INIT, RUNTIME
from ..process import attached, launch
from . import creation, lifecycle, state
from .timeline import BETWEEN, PROGRAM, STANDING, START, Timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..operations.base import Context
    from ..plan import Phase
    from .timeline import Span

#: What of a run is no operation, and takes time: where it is, the function, and what it does.
_WORK: tuple[tuple[Any, str, str], ...] = (
    (attached.Attached, "__init__", "watch for signals"),
    (cgroups, "detect", "find the host's cgroups"),
    (config, "read", "read config.json and check it"),
    (creation.Creation, "_compile", "compile the plan"),
    (state.StateDirectory, "create", "make the state directory"),
    (state.StateDirectory, "claim", "lock the state directory"),
    (creation.Creation, "_begin_record", "write the config and the record"),
    (creation.Creation, "_born", "write the record for the hooks"),
    (creation.Creation, "_draft", "write the record that is to come"),
    (creation.Creation, "_ready", "commit the record"),
    (launch.Launch, "begin", START),
    (launch.Launch, "_reap_stage", "take leave of the stage"),
    (attached.Attached, "wait", PROGRAM),
    (lifecycle.Container, "run_poststart_hooks", "run the poststart hooks"),
    (lifecycle.Container, "delete", "delete the container"),
)


class Recorder:
    """Notes what the functions of this process, and the operations of all processes, tell."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def watch(self) -> None:
        """Wrap the functions that do what is no operation; for good, so for a process of its own."""
        for owner, name, words in _WORK:
            setattr(owner, name, self._timed(getattr(owner, name), words))

    def note(self, words: str, began: int) -> None:
        """Note that this process did something until now."""
        self.spans.append((RUNTIME, os.getpid(), words, "", began, time_ns() - began))

    def _timed(self, function: Callable[..., Any], words: str) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            began = time_ns()
            try:
                return function(*arguments, **options)
            finally:
                self.note(words, began)

        return timed


class TracedLaunch(launch.Launch):
    """Runs a plan, and notes what the operations of all processes tell."""

    def __init__(self, recorder: Recorder, preserve_fds: int) -> None:
        """As ``Launch`` does. Raises NajaError."""
        self._recorder = recorder
        #: What comes last in an init, and is told beforehand; when it began, and when its program ran.
        self._last: list[str] = []
        self._last_began = self._executed = 0
        began = time_ns()
        super().__init__(preserve_fds, activated=True, debug=lambda _: None)
        recorder.note("see that naja is sealed", began)

    def _give_birth(self, context: Context) -> None:
        began = time_ns()
        try:
            super()._give_birth(context)
        finally:
            if self.shares_memory:
                self._executed = time_ns()
                self._recorder.note(STANDING, began)

    def _take_back(self, phase: Phase, context: Context) -> None:
        began = time_ns()
        try:
            super()._take_back(phase, context)
        finally:
            self._recorder.note(f"wait for the {phase.actor}: {phase.title}", began)
            if phase.executes and self._last:
                took = (self._executed or time_ns()) - self._last_began
                words = ", then ".join(self._last)
                self._recorder.spans.append((INIT, self.init, words, "", self._last_began, took))

    def _tell(self, actor: str, event: tracing.Event) -> None:
        description, origin, _, outcome, began, took = event
        if outcome == tracing.UNHEARD:
            self._last_began = self._last_began or began
            self._last.append(description)
        elif outcome != tracing.UNTIMED:
            pid = {RUNTIME: os.getpid(), INIT: self.init}.get(actor) or self.stage
            words = f"{description} (failed)" if outcome == tracing.FAILED else description
            self._recorder.spans.append((actor, pid, words, origin, began, took))


def run(bundle: str, id: str, descriptor: int, preserve_fds: int, **options: Any) -> int:
    """Run a container as ``run`` does, and write what was noted to a file, as JSON. Raises NajaError.

    For a process of its own: its functions stay wrapped. Returns the program's exit code.
    """
    from .running import run as run_container

    os.set_inheritable(descriptor, False)
    recorder = Recorder()
    began = time_ns()
    recorder.watch()
    try:
        begun = TracedLaunch(recorder, preserve_fds)
        return run_container(id, bundle, launch=begun, preserve_fds=preserve_fds, **options)
    finally:
        recorder.note(BETWEEN, began)
        document = {"began": began, "ended": time_ns(), "pid": os.getpid(), "spans": recorder.spans}
        with open(descriptor, "wb", closefd=False) as file:
            file.write(json.dumps(document).encode())


def read(descriptor: int, began: int, ended: int) -> Timeline:
    """Return the timeline that ``run`` wrote, of a process that began and ended then. Raises NajaError."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", closefd=False) as file:
        text = file.read()
    if not text:
        raise NajaError("trace the container", why="its process ended before it could tell anything")
    found = json.loads(text, "the trace")
    first, last, pid = found["began"], found["ended"], found["pid"]
    spans: list[Span] = [
        (RUNTIME, pid, "start the interpreter, and load what run needs", "", began, first - began),
        *map(tuple, found["spans"]),
        (RUNTIME, pid, "write the trace, and end", "", last, ended - last),
    ]
    return Timeline(spans, began, ended)
