"""Which of the ids of a mapping is not the user's, read off /etc/subuid."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from naja.operations import subordinate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(subordinate, "_name", lambda _: "alice")
    monkeypatch.setattr(subordinate, "_ranges", lambda *_: [(100_000, 1000), (300_000, 10)])


def test_the_range_that_is_not_given() -> None:
    mappings = [(0, 1000, 1), (1, 100_000, 1000), (1001, 200_000, 10)]
    error = subordinate.refusal("uid", mappings, "said (1)", "/usr/bin/newuidmap")
    assert str(error) == (
        "map uids 200000 to 200009 of the host without root, asked for by config.json /linux/uidMappings/2: "
        "/etc/subuid gives alice 100000 to 100999, 300000 to 300009"
    )


def test_a_range_that_is_longer_than_what_is_given() -> None:
    error = subordinate.refusal("uid", [(0, 100_000, 1001)], "", "/usr/bin/newuidmap")
    assert error.origin == "/linux/uidMappings/0"


def test_a_helper_without_power(tmp_path: Path) -> None:
    helper = tmp_path / "newuidmap"
    helper.write_text("")
    error = subordinate.refusal("uid", [(0, 100_000, 10)], "no luck (1)", str(helper))
    assert error.why == f"no luck (1); {helper} is neither set-uid root nor has it capabilities"
    helper.chmod(0o4755)
    assert subordinate.refusal("uid", [(0, 100_000, 10)], "no luck (1)", str(helper)).why == "no luck (1)"


def test_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    file = tmp_path / "subuid"
    file.write_bytes(b"# comment\nalice:1:2\nbob:3:4\n1000:5:6\nalice:x:y\n\xff:7:8\nalice\n")
    assert subordinate._ranges(str(file), {"alice", "1000"}) == [(1, 2), (5, 6)]
    assert subordinate._ranges(str(tmp_path / "none"), {"alice"}) == []
