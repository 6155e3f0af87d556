"""What an interpreter does before it is dumped: it succeeds, says nothing, and leaves nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from naja.cli import main, practice
from naja.config import json
from naja.config.template import default_config

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def test_practice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    config = default_config()
    config["process"]["terminal"] = False
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "rootfs").mkdir()
    done: dict[tuple[str, ...], list[int]] = {}
    execute = main.execute

    def kept(program: str, words: Sequence[str]) -> int:
        status = execute(program, words)
        done.setdefault(tuple(words[2:]), []).append(status)
        return status

    monkeypatch.setattr(practice, "_TIMES", 3)
    monkeypatch.setattr(practice, "execute", kept)
    practice.practise(str(tmp_path))
    assert done == {
        ("state", "practice"): [0] * 3,
        ("kill", "practice", "0"): [0] * 3,
        ("delete", "--force", "nobody"): [0] * 3,
    }
    assert sorted(os.listdir(tmp_path)) == ["config.json", "rootfs"]
    assert capfd.readouterr() == ("", "")
