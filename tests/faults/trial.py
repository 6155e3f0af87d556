"""Tries one point, and judges what came of it."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.commands import COMMANDS, MEANWHILE, PIDS_LIMIT
from tests.faults.inside import ADDED, FIRST
from tests.faults.supervisor import INIT
from tests.faults.workshop import BOUND

if TYPE_CHECKING:
    from tests.faults.commands import Command
    from tests.faults.points import Fault, Point
    from tests.faults.supervisor import Result, Session
    from tests.faults.workshop import Bench, Workshop

#: How often something is tried that a signal may spoil: see ``attempt``.
_ATTEMPTS = 3

#: How long a delayed call waits for the command that comes between; that one may wait for the delayed one.
_DELAY = 1.0

#: An error of the kernel, as runtime/errors.py writes it.
_ERRNO = re.compile(r"\(E[A-Z0-9]+\)")

_UNCAUGHT = ("Traceback", "Fatal Python error", "Exception ignored", "internal error")


@dataclass
class Outcome:
    """What came of a point or a race; clean where there are no complaints."""

    name: str
    #: Whether the point was in Python's start, and whether the command came to it at all.
    starting: bool = False
    reached: bool = True
    complaints: list[str] = field(default_factory=list)


def count(workshop: Workshop, name: str) -> list[tuple[str, str, int, bool]]:
    """Return the calls of a command that meets no fault, nor, in a few tries, what ``attempt`` speaks of."""
    for _ in range(3 * _ATTEMPTS):
        try:
            return _count(workshop, name)
        except AssertionError:
            continue
    return _count(workshop, name)


def _count(workshop: Workshop, name: str) -> list[tuple[str, str, int, bool]]:
    command = COMMANDS[name]
    bench = workshop.bench(command)
    try:
        bench.prepare(command.before)
        session = bench.supervisor.start(bench.argv(command.words), names=())
        bench.supervisor.wait(lambda: session.status is not None, BOUND)
        assert session.status == 0, session.result()
        assert not all(starting for *_, starting in session.seen), "naja's first line was not found"
        bench.command(("delete", "--force", bench.id))
        return session.seen
    finally:
        bench.clean()


def attempt(workshop: Workshop, point: Point) -> Outcome:
    """Try a point; again, where a signal came while a call had not got to its listener.

    The kernel ends such a call with EINTR, also one that otherwise never does.
    """
    for _ in range(_ATTEMPTS):
        outcome = _attempt(workshop, point)
        if point.fault.action == "EINTR" or not any(map(is_spoilt, outcome.complaints)):
            return outcome
    outcome.complaints = [text for text in outcome.complaints if not is_spoilt(text)]
    return outcome


def is_spoilt(complaint: str) -> bool:
    """Tell whether a complaint is about a call that a signal has ended before it got to its listener."""
    return "(EINTR)" in complaint


def _attempt(workshop: Workshop, point: Point) -> Outcome:
    command = COMMANDS[point.command]
    bench = workshop.bench(command)
    try:
        bench.prepare(command.before)
        session = bench.supervisor.start(bench.argv(command.words), point.fault, names=())
        complaints = _meanwhile(bench, session, point.fault)
        if bench.supervisor.wait(lambda: session.status is not None, BOUND):
            if not point.starting:
                complaints += _judge(bench, command, session, point.fault)
        else:
            complaints.append(f"hangs: {_position(session)}")
            bench.supervisor.end()
        bench.killed_a_writer = bool(point.fault.kills) or point.fault.name in ("unlink", "rename", "write")
        return Outcome(str(point), point.starting, session.reached, complaints + aftermath(bench))
    finally:
        bench.clean()


def _position(session: Session) -> str:
    return " ".join(session.seen[-1][:2]) if session.seen else "nothing was called"


def _meanwhile(bench: Bench, session: Session, fault: Fault) -> list[str]:
    """Do to the container what a delay is for. Returns complaints about that."""
    if not fault.delays:
        return []
    bench.supervisor.wait(lambda: session.reached or session.status is not None, BOUND)
    complaints = []
    for words in MEANWHILE[fault.action]:
        other = bench.supervisor.start(bench.argv(words))
        bench.supervisor.wait(lambda other=other: other.status is not None, _DELAY)  # type: ignore[misc]
        session.release() if other.status is None else None
        if not bench.supervisor.wait(lambda other=other: other.status is not None, BOUND):  # type: ignore[misc]
            return [f"{words[0]} meanwhile hangs"]
        complaints += [f"{words[0]} meanwhile: {text}" for text in wording(other.result(), raced=True)]
    session.release()
    return complaints


def _judge(bench: Bench, command: Command, session: Session, fault: Fault) -> list[str]:
    """Return complaints about how a command with a fault has ended."""
    if fault.kills == "runtime" or (fault.kills and session.status and session.status < 0):
        return []
    result = session.result()
    if fault.name == "write" and result.status and not result.stderr:
        return []  # It could not say why.
    complaints = wording(result, raced=fault.delays)
    # A program that was killed at its very beginning has run, for who does not wait for its end.
    kind = {"exec": ADDED, "run": FIRST}.get(command.words[0])
    if result.status == 0 and kind and not (command.detaches or bench.inspector.programs[kind]):
        complaints.append("succeeds, but has run nothing")
    if result.status == 0 and fault.error:
        complaints += _effect(bench, command, fault)
    # Who has no memory to begin with cannot say so.
    if fault.error and fault.name != "mmap" and "process died" in result.stderr:
        complaints.append(f"does not say what failed: {result.stderr.strip()}")
    return complaints


def _effect(bench: Bench, command: Command, fault: Fault) -> list[str]:
    """Return complaints where a command says that it succeeded, and has not."""
    verb = command.words[0]
    # What the init does last of all, create does not wait for.
    fine = (command.after, "stopped") if verb == "create" and fault.role == INIT else (command.after,)
    bench.supervisor.wait(lambda: bench.status() in fine, 3)
    if (status := bench.status()) not in fine:
        return [f"succeeds, but the container is {status or 'gone'}"]
    if verb == "update" and bench.limit_of_pids() != str(PIDS_LIMIT):
        return [f"succeeds, but the limit is {bench.limit_of_pids()}"]
    return []


def wording(result: Result, *, raced: bool) -> list[str]:
    """Return complaints about what a command says where it fails.

    One that was ``raced`` by another has words for what that one did ("container not running"), which
    engines know; the kernel's words for it tell nobody anything.
    """
    text = result.stderr.strip()
    for uncaught in _UNCAUGHT:
        if uncaught in text:
            return [f"{uncaught}: {text.splitlines()[-1]}"]
    if result.status is None:
        return ["hangs"]
    if result.status < 0:
        return [f"ended by signal {-result.status}: {text}"]
    errors = [line for line in text.splitlines() if "warning" not in line]
    if result.status == 0:
        return [f"succeeds, and says: {errors[0]}"] if errors else []
    if not errors and result.status == 128 + signal.SIGKILL:
        return []  # That is how the program ended.
    if not errors:
        return [f"fails with {result.status}, without a word"]
    if len(errors) > 1:
        return [f"{len(errors)} lines: {' | '.join(errors)}"]
    if ": system call:" in text:
        return [f"names nothing: {text}"]
    return [f"speaks of the kernel: {text}"] if raced and _ERRNO.search(text) else []


def aftermath(bench: Bench) -> list[str]:
    """Delete the container by force. Returns complaints about what is left, and about who ran where."""
    result = bench.command(("delete", "--force", bench.id))
    complaints = [f"delete --force: {text}" for text in wording(result, raced=False)]
    if result.status:
        complaints.append(f"delete --force fails: {result.stderr.strip()}")
    return complaints + [f"left: {thing}" for thing in bench.left()] + bench.inspector.complaints
