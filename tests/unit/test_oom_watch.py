"""Notice of an OOM that ends the container: on v2 it may come later than that end."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from naja.cgroups.events import OomWatchV2
from naja.resident.loop import Loop
from naja.shim import watch


def count(directory: Path, kills: int) -> None:
    (directory / "memory.events").write_text(f"low 0\nhigh 0\nmax 7\noom 1\noom_kill {kills}\n")


def test_one_that_is_not_announced_yet_is_the_last(tmp_path: Path) -> None:
    count(tmp_path, 1)
    with OomWatchV2(str(tmp_path)) as found:
        assert not found.last()
        count(tmp_path, 2)
        assert [found.last(), found.last()] == [True, False]


@pytest.mark.parametrize("kills", [0, 1])
def test_a_shim_is_told_of_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int) -> None:
    class Silent(OomWatchV2):
        """Of a pipe, which never has news."""

        events = select.POLLIN

        def _count(self) -> int:
            words = (tmp_path / "memory.events").read_text().split()
            return int(words[words.index("oom_kill") + 1])

    monkeypatch.setattr(watch, "_KINDS", (Silent, Silent))
    count(tmp_path, 0)
    reader, writer = os.pipe()
    told: list[None] = []
    end = watch.watch_oom(Loop(print), (1, str(tmp_path), 0), reader, lambda: told.append(None))
    count(tmp_path, kills)
    end()
    os.close(writer)
    assert len(told) == kills
