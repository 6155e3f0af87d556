"""docs/mistakes.md, literally: each mistake is made, and naja says what the page says, on one line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support import mistakes
from tests.support.rootless import let_through

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

with open(mistakes.PAGE) as _file:
    ALL = list(mistakes.read(_file.read()))


def test_there_are_forty() -> None:
    assert len(ALL) >= 40
    assert len({mistake.title for mistake in ALL}) == len(ALL)
    for mistake in ALL:
        assert list(mistake.answers) == list(mistakes.RUNTIMES), mistake.title


@pytest.mark.parametrize("mistake", ALL, ids=lambda mistake: mistake.title)
def test_a_mistake(naja: Runtime, bundle: Bundle, tmp_path: Path, mistake: mistakes.Mistake) -> None:
    if "cgroup v1" in mistake.preparations and not os.path.exists("/sys/fs/cgroup/memory/tasks"):
        pytest.skip("needs cgroup v1")
    if "user" in mistake.preparations:
        let_through(str(tmp_path))
        os.mkdir(naja.root)
        os.chmod(naja.root, 0o777)
    said = mistakes.make(mistake, bundle, naja)
    assert mistakes.matches(mistake.answers["naja"], said), said
