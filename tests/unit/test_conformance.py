"""How the conformance suite's output is read, and that its explanations fit."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path
from typing import ClassVar

import pytest

from conformance import (
    bench_start,
    compare,
    crictl,
    engines,
    lowest_memory,
    report,
    runtime_tools,
    sandbox,
    shim,
    suite,
    tap,
)
from conformance.known import KNOWN, explain
from naja.startup import precompiled

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
    assert not report.broken(outcome, tap.parse(outcome.stdout))


@pytest.mark.parametrize("status", [None, 1])
def test_a_program_that_fails(status: int | None) -> None:
    outcome = sandbox.Outcome(status, "ok 1 - a\n1..1\n", "", 0.1)
    assert report.broken(outcome, tap.parse(outcome.stdout))


def test_problems_let_the_runtime_speak_where_the_suite_is_silent() -> None:
    results = tap.parse("not ok 1 - exit status 1\n1..1\n")
    found = report.Report("mounts", results, "", ["mount: EINVAL"])
    assert found.problems() == ["exit status 1: mount: EINVAL"]
    assert found.state == "not ok"


def found(program: str, output: str, broken: str = "", *errors: str) -> report.Report:
    return report.Report(program, tap.parse(output), broken, list(errors))


ONE, TWO, ONE_OF_TWO = "ok 1 - a\n1..1\n", "ok 1 - a\nok 2 - b\n1..2\n", "ok 1 - a\nnot ok 2 - b\n1..2\n"


@pytest.mark.parametrize(
    ("mine", "peer", "worse"),
    [
        (found("state", TWO), found("state", TWO), False),
        (found("state", ONE_OF_TWO), found("state", TWO), True),
        (found("state", TWO), found("state", ONE_OF_TWO), False),
        (found("state", ONE_OF_TWO), found("state", "", "exit status 1"), False),
        (found("state", "", "exit status 1"), found("state", ONE), True),
        (found("state", "", "exit status 1"), found("state", "", "exit status 1"), False),
        (found("state", ONE), found("state", TWO), True),
    ],
)
def test_which_runtime_does_worse(mine: report.Report, peer: report.Report, worse: bool) -> None:
    assert mine.worse_than(peer) == worse


def test_runtimes_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    """The first one fails in what only a peer passes, which has to be explained; the rest is shown."""
    rows = [
        {"naja": found("state", ONE_OF_TWO), "crun": found("state", TWO), "runc": found("state", ONE_OF_TWO)},
        {"naja": found("create", ONE), "crun": found("create", ONE), "runc": found("create", "", "exit 1")},
    ]
    assert [compare.line(row).split() for row in rows] == [
        ["state", "1", "1", "2", "0", "1", "1", "crun", "better"],
        ["create", "1", "0", "1", "0", "0", "0", "F", "runc", "worse"],
    ]
    assert compare.summarize(rows) == 1
    assert capsys.readouterr().out.splitlines() == [
        "",
        "state: b",
        "    UNEXPLAINED",
        "",
        "naja: 2 ok, 1 not ok, 0 programs failed",
        "crun: 3 ok, 0 not ok, 0 programs failed",
        "runc: 1 ok, 1 not ok, 1 programs failed",
    ]


def test_what_is_explained_does_not_fail_the_comparison() -> None:
    mine = found("linux_process_apparmor_profile", "", "exit status 1", "AppArmor is not active")
    assert compare.summarize([{"naja": mine, "crun": found("linux_process_apparmor_profile", ONE)}]) == 0


def test_a_failure_that_is_shared_is_no_difference() -> None:
    mine = found("state", "not ok 1 - a\nnot ok 2 - b\n1..2\n")
    row = {"naja": mine, "crun": found("state", "not ok 1 - a\nok 2 - b\n1..2\n")}
    assert compare.differences(row) == [("b", "")]


def test_the_runtimes_of_a_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    options = runtime_tools.parse_arguments(
        ["--compare", "--runtime", "sh", "--runtime", "old=/bin/true", "--runtime", "/nowhere/crun", "state"]
    )
    assert list(runtime_tools.find_runtimes(options)) == ["sh", "old"]
    assert "/nowhere/crun" in capsys.readouterr().err
    with pytest.raises(suite.SuiteError):
        runtime_tools.find_runtimes(runtime_tools.parse_arguments(["--runtime", "/nowhere/crun"]))


def test_a_runtime_without_features_is_old() -> None:
    assert shim.needed("/bin/false") == "1.0.2"
    assert not shim.needed("/bin/true")


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


class Played:
    """Engines in which a runtime passes what it is said to pass; what was asked for is written down."""

    asked: ClassVar[list[tuple[str, str, str]]] = []
    passes: ClassVar[dict[str, set[str]]] = {}

    def __init__(self, program: str) -> None:
        self.program = program

    def __enter__(self) -> Played:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def engine(self, name: str) -> None:
        if name not in self.passes[self.program]:
            raise AssertionError(f"{name} ended")

    def play(self, name: str, scenario: str) -> list[str]:
        self.asked.append((self.program, name, scenario))
        assert scenario in self.passes[self.program]
        return []


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    monkeypatch.setattr(engines, "Engines", Played)
    monkeypatch.setattr(Played, "asked", [])
    return Played.asked


def test_a_brief_matrix(monkeypatch: pytest.MonkeyPatch, played: list[tuple[str, str, str]]) -> None:
    """Peers play only what the first runtime did not pass: each peer, whatever the other one passes."""
    passes = {"a": {"ctr", "run"}, "b": {"ctr", "run", "exec"}, "c": {"ctr"}}
    monkeypatch.setattr(Played, "passes", passes)
    runtimes = {"naja": "a", "runc": "b", "crun": "c"}
    outcomes = engines.measure(runtimes, ["ctr"], ["run", "exec"], brief=True)
    assert set(played) == {
        ("a", "ctr", "run"),
        ("a", "ctr", "exec"),
        ("b", "ctr", "exec"),
        ("c", "ctr", "exec"),
    }
    assert engines.worse(outcomes, "naja") == ["ctr: exec"]
    played.clear()
    engines.measure({"naja": "a", "runc": "b"}, ["ctr"], ["run"], brief=True)
    assert played == [("a", "ctr", "run")]


def test_an_engine_that_does_not_start_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, played: list[tuple[str, str, str]]
) -> None:
    monkeypatch.setattr(Played, "passes", {"a": set(), "b": {"ctr", "run"}})
    outcomes = engines.measure({"naja": "a", "runc": "b"}, ["ctr"], ["run"], brief=True)
    assert outcomes["ctr", "run", "naja"] == (engines.FAILED, "ctr does not start with naja: ctr ended")
    assert engines.worse(outcomes, "naja") == ["ctr: run"]
    assert played == [("b", "ctr", "run")]


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


@pytest.mark.parametrize("variant", bench_start.VARIANTS, ids=lambda variant: variant.name)
def test_what_bench_start_changes_is_there(variant: bench_start.Variant) -> None:
    for node in ast.walk(ast.parse(variant.before)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "change":
            name, old, _ = map(ast.literal_eval, node.args)
            assert old in Path(precompiled.PACKAGE, name).read_text()
