"""The tables that compare what runtimes leave in cgroup files, of made-up surveys."""

from __future__ import annotations

import re

from conformance.cgroup_files import explanation, report, rows
from conformance.cgroup_known import KNOWN
from conformance.cgroup_survey import CONFIGS, REFUSED, RUNTIMES

SAME = {runtime: {"cpu.weight": "100", "pids.max": "max"} for runtime in RUNTIMES}


def test_differences_are_marked_and_explained() -> None:
    weights = {runtime: {**SAME[runtime], "cpu.weight": "59"} for runtime in RUNTIMES}
    weights["crun"]["cpu.weight"] = "20"
    text, missing = report("v2", {"plain": SAME, "cpu": weights}, "changed")
    assert "| cpu.weight | 59 | 59 | 20 | ≠ weight |" in text
    assert "- **weight**: " in text
    assert missing == 0
    assert "pids.max" not in text.partition("v2: cpu")[2]


def test_a_difference_that_nobody_knows() -> None:
    odd = {**SAME, "runc": {**SAME["runc"], "pids.max": "7"}}
    text, missing = report("v2", {"plain": SAME, "memory": odd}, "differences")
    assert "| pids.max | max | 7 | max | ≠ UNEXPLAINED |" in text
    assert missing == 1


def test_refusals() -> None:
    """Other words are no difference; who refuses has no files to compare."""
    everybody = {runtime: {REFUSED: f"{runtime}: no"} for runtime in RUNTIMES}
    assert [row.differs for row in rows("memory", everybody)] == [False]
    one = {**SAME, "naja": {REFUSED: "no such file"}}
    first, *others = rows("memory", one)
    assert first.differs
    assert [row.differs for row in others] == [False, False]
    assert all("naja" not in row.contents for row in others)


def test_files_that_are_missing() -> None:
    extra = {**SAME, "crun": {**SAME["crun"], "../pids.max": "2346"}}
    text, missing = report("systemd", {"plain": extra}, "changed")
    assert "| ../pids.max | no file | no file | 2346 | ≠ sub-cgroup |" in text
    assert missing == 0
    text, _ = report("systemd", {"plain": extra}, "differences")
    assert "../pids.max" not in text


def test_explanations_are_for_configs_that_there_are() -> None:
    for known in KNOWN:
        assert any(re.search(known.config, config) for config in CONFIGS), known.key
    # A limit that no runtime is known to treat otherwise.
    (row,) = rows("memory", {"naja": {"memory.max": "1"}, "runc": {"memory.max": "2"}})
    assert explanation("v2", row) is None
