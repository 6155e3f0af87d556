"""What the processes of a run did, and when (``naja trace``): as a table, and for Perfetto."""

from __future__ import annotations

from ..config import json
from ..operations.base import INIT, RUNTIME, STAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: Process (RUNTIME, STAGE, INIT), its pid, what it did, what in config.json asked for that, when it began
    #: (ns since the epoch), and how long it took (ns).
    Span = tuple[str, int, str, str, int, int]

#: What the runtime does while others live or are born: what they are told by, here and in traced.py.
START = "start the stage"
STANDING = "stand still while the init, in the same memory, is at work"
PROGRAM = "wait for the program's end"
#: What all of the runtime's own work lies in: by itself it is what has no name.
BETWEEN = "go from one to the next"

#: What lies between two operations of a stage or an init.
_TELLING, _TURN = "tell of what was done", "wait for the runtime"


class Timeline:
    """All that was noted of a run, by process, from its beginning to its end (ns since the epoch)."""

    def __init__(self, spans: list[Span], began: int, ended: int) -> None:
        """Sort the spans, and name what lies between those of a stage and an init."""
        self.began, self.ended = began, ended
        spans = sorted(spans, key=lambda span: (span[4], -span[5]))
        #: By process and pid, in the order in which the processes began.
        self.processes: dict[tuple[str, int], list[Span]] = {}
        for actor in (RUNTIME, STAGE, INIT):
            for span in spans:
                if span[0] == actor:
                    self.processes.setdefault(span[:2], []).append(span)
        for (actor, _), own in self.processes.items():
            if actor != RUNTIME:
                own[:] = _whole(own, spans)

    def own_times(self, process: tuple[str, int]) -> list[tuple[Span, int]]:
        """Return the spans of a process, each with the time in it that is in no other one within (ns)."""
        times: list[tuple[Span, int]] = []
        around: list[int] = []
        for span in self.processes[process]:
            while around and _end(times[around[-1]][0]) <= span[4]:
                around.pop()
            if around:
                outer, left = times[around[-1]]
                times[around[-1]] = outer, left - min(span[5], _end(outer) - span[4])
            around.append(len(times))
            times.append((span, span[5]))
        return times

    def table(self) -> str:
        """Return what each process did, in order: when it began, how long it took by itself, what it was."""
        lines = []
        whole = self.ended - self.began
        for (actor, pid), spans in self.processes.items():
            times = self.own_times((actor, pid))
            told = sum(own for _, own in times)
            there = whole if actor == RUNTIME else _end(spans[-1]) - spans[0][4]
            lines.append(f"{actor}[{pid}]: {told / 1e6:.3f} ms of {there / 1e6:.3f} ms")
            lines.append(f"  {'AT ms':>10}  {'OWN ms':>10}      %  WHAT")
            telling = sum(own for span, own in times if span[2] == _TELLING)
            for (_, _, words, origin, began, _), own in times:
                if words != _TELLING:
                    place = f" [{origin}]" if origin else ""
                    lines.append(_row(f"{(began - self.began) / 1e6:.3f}", own, whole, words + place))
            if telling:
                lines.append(_row("", telling, whole, _TELLING))
        return "".join(f"{line}\n" for line in lines)

    def chrome(self) -> str:
        """Return it in the Trace Event Format, as JSON: Perfetto and chrome://tracing show it.

        Each span is a complete event ("X", times in µs); the processes are named by metadata events ("M").
        """
        events: list[dict[str, Any]] = []
        for order, ((actor, pid), spans) in enumerate(self.processes.items()):
            own = {"ph": "M", "pid": pid, "tid": pid, "ts": 0}
            events += [
                {"name": "process_name", **own, "args": {"name": f"naja {actor}"}},
                {"name": "thread_name", **own, "args": {"name": actor}},
                {"name": "process_sort_index", **own, "args": {"sort_index": order}},
            ]
            events += [
                {
                    **{"name": words, "cat": actor, "ph": "X", "pid": pid, "tid": pid},
                    **{"ts": (began - self.began) / 1000, "dur": took / 1000},
                    "args": {"config.json": origin} if origin else {},
                }
                for _, _, words, origin, began, took in spans
                if words != _TELLING
            ]
        return json.dumps({"displayTimeUnit": "ms", "traceEvents": events}) + "\n"


def _end(span: Span) -> int:
    return span[4] + span[5]


def _row(at: str, own: int, whole: int, words: str) -> str:
    return f"  {at:>10}  {own / 1e6:10.3f}  {100 * own / whole:5.1f}  {words}"


def _whole(own: list[Span], spans: list[Span]) -> list[Span]:
    """Return the spans of a stage or an init, with names for what lies before, between and after them.

    Between two operations, while the runtime waits, there is nothing but the telling of them; else it is the
    runtime's turn.
    """
    actor, pid = own[0][:2]
    births = (START,) if actor == STAGE else ("give birth", STANDING)
    birth = next((span[4] for span in spans if span[2].startswith(births)), own[0][4])
    waits = [span for span in spans if span[2].startswith((f"wait for the {actor}", STANDING))]
    ends = [_end(span) for span in spans if span[2] == PROGRAM and actor == INIT]
    whole: list[Span] = []
    at, words = birth, "be born: close what is the host's"
    for span in own:
        if (gap := span[4] - at) > 0:
            told = any(wait[4] <= at and span[4] <= _end(wait) for wait in waits)
            whole.append((actor, pid, words or (_TELLING if told else _TURN), "", at, gap))
        words = ""
        whole.append(span)
        at = max(at, _end(span))
    if ends and ends[-1] > at:
        whole.append((actor, pid, "be the container's program", "", at, ends[-1] - at))
    return whole
