"""naja trace: every operation of every process with its time, as a table and as a Chrome trace."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_debug import as_it_is, hooks, planned, seccomp, user_namespace
from tests.support.command import Runtime
from tests.support.terminal import OnTerminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Result

_HEAD = re.compile(r"(runtime|stage|init)\[([0-9]+)\]: ([0-9.]+) ms of ([0-9.]+) ms")
_ROW = re.compile(r" +([0-9.]*) +([0-9.]+) +[0-9.]+  (.*)")


def traced(naja: Runtime, bundle: Bundle, *flags: str, check: bool = True) -> Result:
    return naja.run("trace", "--id", bundle.id, *flags, bundle.path, check=check, timeout=60)


def table(text: str) -> dict[str, tuple[float, dict[str, float]]]:
    """Return for each process how long it was there, and its rows: what was done, and for how long."""
    found: dict[str, tuple[float, dict[str, float]]] = {}
    rows: dict[str, float] = {}
    for line in text.splitlines():
        if head := _HEAD.fullmatch(line):
            rows = {}
            found[head[1]] = float(head[4]), rows
        elif row := _ROW.fullmatch(line):
            rows[row[3]] = rows.get(row[3], 0) + float(row[2])
        else:
            assert line.split() == ["AT", "ms", "OWN", "ms", "%", "WHAT"], line
    return found


def check_format(text: str) -> list[dict[str, Any]]:
    """Check a trace as the Trace Event Format documents it; return its complete events.

    The object form; "X" with name, categories, begin and duration in microseconds; "M" with the names of
    processes and threads, and their order. What one thread does is nested.
    """
    document = json.loads(text)
    assert set(document) == {"traceEvents", "displayTimeUnit"}
    assert document["displayTimeUnit"] in ("ms", "ns")
    names: dict[str, set[int]] = {}
    complete = []
    for event in document["traceEvents"]:
        assert isinstance(event["name"], str)
        assert type(event["pid"]) is int
        assert type(event["tid"]) is int
        assert event["ts"] >= 0
        assert isinstance(event["args"], dict)
        if event["ph"] == "M":
            names.setdefault(event["name"], set()).add(event["pid"])
            key, kind = ("sort_index", int) if event["name"].endswith("_index") else ("name", str)
            assert type(event["args"][key]) is kind
        else:
            assert event["ph"] == "X"
            assert event["dur"] >= 0
            assert isinstance(event["cat"], str)
            complete.append(event)
    pids = {event["pid"] for event in complete}
    assert names == {"process_name": pids, "thread_name": pids, "process_sort_index": pids}
    for pid in pids:
        check_nesting([event for event in complete if event["pid"] == pid])
    return complete


def check_nesting(events: list[dict[str, Any]]) -> None:
    ends: list[float] = []
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        while ends and ends[-1] <= event["ts"] + 0.002:
            ends.pop()
        end = event["ts"] + event["dur"]
        assert not ends or end <= ends[-1] + 0.002, event
        ends.append(end)


@pytest.mark.parametrize("change", [as_it_is, user_namespace, seccomp, hooks])
def test_all_operations(naja: Runtime, bundle: Bundle, tmp_path: Path, change: Any) -> None:
    """Each operation of the plan is there, by who did it; the container's output and status are its own."""
    change(bundle)
    bundle.shell("echo hi; echo ho >&2; exit 3")
    result = traced(naja, bundle, "--output", str(tmp_path / "trace"), check=False)
    assert (result.status, result.stdout) == (3, "hi\n")
    assert result.stderr.startswith("ho\n")
    rows = table(result.stderr.removeprefix("ho\n"))
    events = check_format((tmp_path / "trace").read_text())
    for actor, description in planned(naja, bundle, "--run"):
        who = {"stage": ("stage", "runtime", "init")}.get(actor, (actor,))
        if description.startswith("give birth"):
            continue  # In a memory that is shared it is what the runtime stands still for.
        assert any(description in row for name in who for row in rows.get(name, (0, {}))[1]), description
        assert any(description in event["name"] and event["cat"] in who for event in events), description


def test_the_sum_is_what_the_clock_says(naja: Runtime, bundle: Bundle) -> None:
    """What has a name makes up 90 % of the time, and all together is no more than that."""
    shares = []
    for _ in range(10):
        whole, rows = table(traced(naja, bundle).stderr)["runtime"]
        between = sum(took for row, took in rows.items() if row.startswith("go from one"))
        total = sum(rows.values())
        assert 0.9 * whole < total < 1.1 * whole
        shares.append((total - between) / whole)
        if shares[-1] > 0.9:
            return
    pytest.fail(f"shares of what is named: {shares}")  # Who else uses the processor is in between, too.


def test_every_process_is_accounted_for(naja: Runtime, bundle: Bundle) -> None:
    for actor, (whole, rows) in table(traced(naja, bundle).stderr).items():
        assert 0.9 * whole < sum(rows.values()) < 1.1 * whole, actor
        assert actor != "init" or "be the container's program" in rows


def test_in_a_time_namespace(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Its clocks are others than the host's."""
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 86400}, "boottime": {"secs": 86400}}
    bundle.save()
    traced(naja, bundle, "--output", str(tmp_path / "trace"))
    events = check_format((tmp_path / "trace").read_text())
    assert max(event["ts"] + event["dur"] for event in events) < 60e6


def test_what_fails(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """One line says why, as for run; the trace ends with that."""
    bundle.mount("/x", "bind", "/nowhere", "bind")
    result = traced(naja, bundle, "--output", str(tmp_path / "trace"), check=False)
    assert result.status == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("naja: ")]
    assert "/nowhere" in line
    events = check_format((tmp_path / "trace").read_text())
    assert any(event["name"].endswith("(failed)") for event in events)


def test_a_bundle_that_is_none(naja: Runtime, tmp_path: Path) -> None:
    result = naja.run("trace", str(tmp_path), check=False)
    assert result.status == 1
    assert len([line for line in result.stderr.splitlines() if line.startswith("naja: ")]) == 1
    assert naja.ids() == []


def test_a_trace_that_cannot_be_written(naja: Runtime, bundle: Bundle) -> None:
    result = traced(naja, bundle, "--output", "/nowhere/trace", check=False)
    assert result.status == 1
    assert "write the trace /nowhere/trace: No such file" in result.stderr


def test_without_the_launcher(naja: Runtime, bundle: Bundle) -> None:
    """As a module naja is not sealed, and executes itself anew."""
    module = Runtime(naja.root, [sys.executable, "-m", "naja"])
    rows = table(traced(module, bundle).stderr)
    assert any(row.startswith("see that naja is sealed") for row in rows["runtime"][1])
    assert rows["init"]


def test_on_a_terminal_a_signal_comes_once(naja: Runtime, bundle: Bundle) -> None:
    bundle.shell(
        "trap 'echo interrupted' INT; trap 'exit 7' TERM; echo ready; while :; do read x; echo got $x; done"
    )
    with OnTerminal(naja.command("trace", "--id", bundle.id, bundle.path)) as terminal:
        terminal.screen.expect("ready")
        terminal.screen.send("\x03")
        terminal.screen.expect("interrupted")
        terminal.screen.send("word\n")
        assert terminal.screen.expect("got word").count("interrupted") <= 1
        naja.kill(bundle, "TERM")
        assert terminal.wait() == 7


def test_its_signals_are_the_containers(naja: Runtime, bundle: Bundle) -> None:
    bundle.shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done")
    command = naja.command("trace", "--id", bundle.id, bundle.path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        _, text = process.communicate(timeout=60)
        assert process.returncode == 7
    assert "runtime" in table(text)
    assert naja.ids() == []
