"""What a resident naja holds of containers that it keeps, and lets go of where that fails."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from naja.linux import process
from naja.resident.keeper import Keeper
from naja.resident.workers import Answer, Workers
from tests.support.child import in_child
from tests.unit.test_resident_workers import Core

if TYPE_CHECKING:
    from collections.abc import Callable


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Found(Workers):
    """Workers that have found a container, whose process is this one."""

    def call(self, work: Any, done: Callable[[Answer], None], **options: Any) -> None:
        pid = os.getpid()
        found = {"id": "box", "bundle": "/", "status": "running", "pid": pid}
        found["start_time"] = process.start_time(pid)
        done(Answer(found, [os.open("/", os.O_PATH)]))


def taken_over(fail: bool) -> tuple[str, int]:
    """Return what came of taking a container over, and how many descriptors that has left open."""
    core = Core()

    def follow(*_: Any) -> None:
        raise OSError(28, "no room to watch it")

    if fail:
        core.ends.follow = follow  # type: ignore[assignment,method-assign]
    keeper = Keeper(core.loop, core.ends, Found(core.loop, core.ends))
    answers: list[Answer] = []
    before = descriptors()
    keeper.take_over("/state", "box", answers.append)
    return str(answers[0].error), descriptors() - before


def test_taken_over() -> None:
    """The state directory and a pidfd."""
    assert in_child(lambda: taken_over(fail=False)) == ("None", 2)


def test_a_process_that_cannot_be_watched() -> None:
    error, left = in_child(lambda: taken_over(fail=True))
    assert error == "take over container box: [Errno 28] no room to watch it"
    assert left == 0
