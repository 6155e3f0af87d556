"""How the conformance suite's output is read, and that its explanations fit."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from conformance import crictl, engines, lowest_memory, runtime_tools, sandbox, shim, suite, tap
from conformance.known import KNOWN, explain

if TYPE_CHECKING:
    from pathlib import Path

OUTPUT = """TAP version 13
ok 1 - has expected hostname
  ---
  {
    "actual": "not ok"
  }
  ...
not ok 2 - the state MUST be passed
  ---
  {
    "error": "exit status 1",
    "reference": "runtime.md#state",
    "stderr": "no such\\ncontainer"
  }
  ...
ok 3 # SKIP mounts not set
not ok 4 # TODO linux.gidMappings
not ok 5 - pids limit is set correctly
# expect: 37926534266928, actual: 37926535192088
1..5
"""


def test_tap_counts_and_reasons() -> None:
    results = tap.parse(OUTPUT)
    assert (results.ok, results.skipped, results.planned) == (1, 2, 5)
    assert [failure.text for failure in results.failures] == [
        "the state MUST be passed",
        "pids limit is set correctly",
    ]
    assert results.failures[0].reason == "no such\ncontainer"
    assert results.failures[1].reason.startswith("expect: 379")
    assert results.complete


def test_tap_nested_results_do_not_count() -> None:
    assert tap.parse('  ok 1 - nested\n    "stdout": "not ok 2"\n').ok == 0


def test_tap_cut_short() -> None:
    assert not tap.parse("TAP version 13\nok 1 - first\n").complete


def test_tap_plans_add_up() -> None:
    assert tap.parse("ok 1 - a\n1..1\nTAP version 13\n1..0\n").complete


def test_silent_success_is_success() -> None:
    outcome = sandbox.Outcome(0, "", "refused, as it should be", 0.1)
    assert not runtime_tools.broken(outcome, tap.parse(outcome.stdout))


@pytest.mark.parametrize("status", [None, 1])
def test_a_program_that_fails(status: int | None) -> None:
    outcome = sandbox.Outcome(status, "ok 1 - a\n1..1\n", "", 0.1)
    assert runtime_tools.broken(outcome, tap.parse(outcome.stdout))


def test_problems_let_the_runtime_speak_where_the_suite_is_silent() -> None:
    results = tap.parse("not ok 1 - exit status 1\n1..1\n")
    report = runtime_tools.Report("mounts", results, "", ["mount: EINVAL"])
    assert report.problems() == ["exit status 1: mount: EINVAL"]
    assert report.state == "not ok"


def test_pointers_are_recognised() -> None:
    pointers = str(tap.parse(OUTPUT).failures[1])
    assert "pointers" in explain("linux_cgroups_pids", pointers)
    assert not explain("linux_cgroups_pids", "pids limit is set correctly: expect: 1000, actual: 0")
    assert not explain("mounts", pointers)


def test_every_pattern_compiles() -> None:
    for known in KNOWN:
        re.compile(known.program)
        re.compile(known.failure)
        assert known.why.endswith(".")


def test_no_go_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(suite.SuiteError, match="Go"):
        suite.prepare(str(tmp_path))


def test_shim_replaces_the_version(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"ociVersion": "1.3.0"}')
    program = shim.write(str(tmp_path), "/bin/echo", "1.0.2")
    done = subprocess.run(
        [program, "create", "--bundle", str(tmp_path), "name"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"create --bundle {tmp_path} name\n"
    assert config.read_text() == '{"ociVersion": "1.0.2"}'


def test_shim_keeps_an_invalid_version(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"ociVersion": "invalid"}')
    subprocess.run([shim.write(str(tmp_path), "true", "1.0.2"), "create", str(tmp_path)], check=True)
    assert "invalid" in config.read_text()


def test_hierarchies_have_options() -> None:
    for point, options in sandbox.hierarchies().values():
        assert os.path.isdir(point)
        assert options


def test_the_matrix_of_engines() -> None:
    outcomes = {
        ("ctr", "run", "naja"): (engines.PASSED, ""),
        ("ctr", "run", "runc"): (engines.FAILED, "a\nreason"),
        ("CRI", "exec", "naja"): (engines.LEFT, "left behind: x"),
        ("CRI", "exec", "runc"): (engines.PASSED, ""),
    }
    assert engines.table(outcomes, ["ctr", "CRI"], ["naja", "runc"]).splitlines() == [
        "| naja, runc | ctr | CRI |",
        "|---|:---:|:---:|",
        "| run | ✓ ✗ |  |",
        "| exec |  | † ✓ |",
    ]
    assert engines.reasons(outcomes) == ["- ctr, run, runc: a reason", "- CRI, exec, naja: left behind: x"]
    assert engines.worse(outcomes, "naja") == ["CRI: exec"]


def test_go_modules_that_are_released() -> None:
    line = "k8s.io/api => k8s.io/kubernetes/staging/src/k8s.io/api v0.0.0-20221208195143-b46a3f887ca9\n"
    assert crictl.released(f"replace (\n\t{line})\n") == "replace (\n\tk8s.io/api => k8s.io/api v0.26.0\n)\n"
    assert crictl.released("k8s.io/kubernetes => k8s.io/kubernetes v1.26.0") == (
        "k8s.io/kubernetes => k8s.io/kubernetes v1.26.0"
    )


def test_the_lowest_limit_does_every_time() -> None:
    outcomes = {1: [False], 2: [True, False], 4: [True, True], 8: []}
    assert lowest_memory.lowest(lambda limit: outcomes[limit].pop(0), [1, 2, 4, 8], 2) == 4
    assert lowest_memory.lowest(lambda _: False, [1, 2], 2) is None
