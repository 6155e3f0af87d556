"""Runs commands under listeners, and answers all their system calls; one of them may meet a fault."""

from __future__ import annotations

import os
import select
import signal
import stat
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults import listener
from tests.faults.listener import Call
from tests.support.leaks import children

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.faults.points import Fault

#: What has to be asked about even where no fault is planned: who becomes a program, and where.
EXECUTIONS = ("execve", "execveat")

#: What naja opens first of all (runtime/startup/precompiled.py).
_FIRST_FILE = "/precompiled."

RUNTIME, STAGE, INIT, WARM_UP, PROGRAM = "runtime", "stage", "init", "warm-up", "program"


@dataclass
class Task:
    """A process or thread that made a call."""

    role: str
    #: Whether it runs Python that has not come to naja's first line.
    starting: bool = False


@dataclass
class Result:
    """How a command ended; ``status`` is None where it did not."""

    argv: Sequence[str]
    status: int | None
    stdout: str
    stderr: str


@dataclass
class Session:
    """A command and all its children, as long as there are any."""

    argv: Sequence[str]
    pid: int
    pidfd: int
    listener: int
    stdout: int
    stderr: int
    fault: Fault | None = None
    #: Whether the command is the launcher, which becomes Python; else it is a script of Python's.
    native: bool = True
    #: Whether the command was executed; what comes before is a call of the supervisor's own child.
    begun: bool = False
    #: What was seen, in order: role, name, how many of the kind came before, in Python's start or not.
    seen: list[tuple[str, str, int, bool]] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    tasks: dict[int, Task] = field(default_factory=dict)
    reached: bool = False
    held: Call | None = None
    status: int | None = None

    def release(self) -> None:
        """Let the delayed call go on."""
        if self.held:
            self.held.answer()
        self.held = None

    def result(self) -> Result:
        """Return how the command ended."""
        texts = [os.pread(file, 1 << 16, 0).decode(errors="replace") for file in (self.stdout, self.stderr)]
        return Result(self.argv, self.status, *texts)

    def close(self) -> None:
        """Close the files that hold its output, when all is over."""
        os.close(self.stdout)
        os.close(self.stderr)


class Supervisor:
    """One loop for all listeners: whoever waits for anything has to wait here."""

    def __init__(self, inspect: Callable[[Call, list[str]], bool]) -> None:
        """``inspect`` is asked about every task that calls execve, and with which words.

        It tells whether that is the program of a container, which is left alone from then on.
        """
        self._inspect = inspect
        self._poll = select.poll()
        self._sessions: dict[int, Session] = {}
        self._all: list[Session] = []
        self._null = os.open("/dev/null", os.O_RDWR)

    def start(
        self, argv: Sequence[str], fault: Fault | None = None, names: Sequence[str] = EXECUTIONS
    ) -> Session:
        """Start a command, whose calls ``names`` (none: all) are asked about (listener.start)."""
        stdout, stderr = os.memfd_create("stdout"), os.memfd_create("stderr")
        pid, pidfd, asked = listener.start(argv, (self._null, stdout, stderr), names)
        session = Session(argv, pid, pidfd, asked, stdout, stderr, fault, _is_native(argv[0]))
        self._all.append(session)
        session.tasks[pid] = Task(RUNTIME)
        for descriptor in (pidfd, asked):
            self._sessions[descriptor] = session
            self._poll.register(descriptor, select.POLLIN)
        return session

    def command(self, argv: Sequence[str], timeout: float = 30) -> Result:
        """Run a command to its end, or for so many seconds."""
        session = self.start(argv)
        self.wait(lambda: session.status is not None, timeout)
        return session.result()

    def wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Answer calls until the condition holds, for so many seconds. Returns whether it does."""
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            for descriptor, events in self._poll.poll(min(left, 0.05) * 1000):
                self._serve(descriptor, events)
            self._reap()
        return True

    def _reap(self) -> None:
        """Take leave of who has ended. A container does not end while an orphan of it is a zombie."""
        running = {session.pid: session for session in self._all if session.status is None}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in running:
                running[pid].status = os.waitstatus_to_exitcode(status)

    def end(self) -> None:
        """End everything that still runs, and forget it."""
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        for session in self._sessions.values():
            session.release()
        self.wait(lambda: not children() and not self._sessions, 5)
        for descriptor in list(self._sessions):
            self._forget(descriptor)
        while self._all:
            self._all.pop().close()

    def _forget(self, descriptor: int) -> None:
        session = self._sessions[descriptor]
        if descriptor == session.listener:
            session.held = None  # Whoever made the call was killed.
        self._poll.unregister(descriptor)
        del self._sessions[descriptor]
        os.close(descriptor)

    def _serve(self, descriptor: int, events: int) -> None:
        session = self._sessions.get(descriptor)
        if session is None:
            return
        if descriptor == session.pidfd:
            self._forget(descriptor)
        elif events & select.POLLIN:
            call = listener.receive(descriptor)
            if call:
                self._answer(session, call)
        else:
            self._forget(descriptor)  # Nobody is left who could make a call.

    def _answer(self, session: Session, call: Call) -> None:
        task = session.tasks.get(call.task) or self._meet(session, call.task)
        if task.role == PROGRAM or not session.begun:
            session.begun = session.begun or call.name == "execve"
            task.starting = task.role == RUNTIME and not session.native
            call.answer()
            return
        starting = task.starting
        if call.name in EXECUTIONS:
            self._execute(session, call, task)
        elif task.starting and call.name == "openat" and _FIRST_FILE in call.text(1):
            starting = task.starting = False
        name = call.name + ("-pipe" if call.name in ("read", "write") and _is_pipe(call) else "")
        occurrence = session.counts[task.role, name]
        session.counts[task.role, name] += 1
        session.seen.append((task.role, name, occurrence, starting))
        fault = session.fault
        if fault and not session.reached and fault.meets(task.role, name, occurrence):
            session.reached = True
            self._inflict(session, call, fault)
        else:
            call.answer()

    def _inflict(self, session: Session, call: Call, fault: Fault) -> None:
        if fault.delays:
            session.held = call
            return
        if fault.kills == "self" or (fault.kills and fault.role == RUNTIME):
            os.kill(call.task, signal.SIGKILL)
            return  # With an answer it would make the call yet.
        if fault.kills and session.status is None:
            os.kill(session.pid, signal.SIGKILL)
        call.answer(fault.error)

    def _execute(self, session: Session, call: Call, task: Task) -> None:
        """Look at who is about to execute what."""
        at = 0 if call.name == "execve" else 1
        path = call.text(at)
        if self._inspect(call, call.words(at + 1)):
            task.role = PROGRAM
        elif "python" in path or path.startswith("/proc/self/fd/"):
            task.starting = True
        else:
            task.role = PROGRAM  # Of the host: a hook.

    def _meet(self, session: Session, pid: int) -> Task:
        """Find out which process of naja has made its first call."""
        session.tasks[pid] = task = Task(self._role(session, pid))
        return task

    def _role(self, session: Session, pid: int) -> str:
        status = status_of(pid)
        leader, parent = int(status.get("Tgid", pid)), int(status.get("PPid", 0))
        for relative in (leader, parent):
            if relative in session.tasks and session.tasks[relative].role == PROGRAM:
                return PROGRAM
        if leader != pid:
            return session.tasks[leader].role + "-thread" if leader in session.tasks else "thread"
        if len(status.get("NSpid", "").split()) > 1:
            return INIT
        launching = session.counts[RUNTIME, "execve"] < 1 or session.tasks[session.pid].starting
        return WARM_UP if session.native and launching else STAGE


def _is_pipe(call: Call) -> bool:
    """Tell whether a call reads or writes a pipe or a socket, which is never full or broken like a disk."""
    try:
        mode = os.stat(f"/proc/{call.task}/fd/{call.arguments[0]}").st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_native(command: str) -> bool:
    with open(command, "rb") as file:
        return file.read(4) == b"\x7fELF"


def status_of(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status; none where the process has ended."""
    try:
        with open(f"/proc/{pid}/status") as file:
            lines = [line.partition(":") for line in file]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in lines}
