"""The loop of a resident naja: descriptors, times, what is soon to be done, and what goes wrong."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from naja.resident.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def loop(told: list[str]) -> Loop:
    return Loop(told.append)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def test_a_descriptor_that_can_be_read(loop: Loop, pipe: tuple[int, int]) -> None:
    read: list[bytes] = []

    def take() -> None:
        read.append(os.read(pipe[0], 10))
        loop.stop()

    loop.watch(pipe[0], take)
    os.write(pipe[1], b"x")
    loop.run()
    assert read == [b"x"]


def test_reading_and_writing_are_told_apart(loop: Loop, pipe: tuple[int, int]) -> None:
    called: list[str] = []

    def note(what: str) -> None:
        called.append(what)
        loop.stop()

    loop.watch(pipe[1], lambda: note("read"), lambda: note("write"))
    loop.run()
    assert called == ["write"]


def test_a_hang_up_is_told_to_whoever_watches(loop: Loop, pipe: tuple[int, int]) -> None:
    loop.watch(pipe[1], write=loop.stop)
    os.close(pipe[0])
    loop.run()


def test_who_is_forgotten_is_not_called_in_the_same_turn(loop: Loop) -> None:
    one, two = os.pipe(), os.pipe()
    called: list[int] = []

    def meet(own: int, other: int) -> None:
        called.append(own)
        loop.forget(other)
        loop.stop()

    loop.watch(one[0], lambda: meet(one[0], two[0]))
    loop.watch(two[0], lambda: meet(two[0], one[0]))
    os.write(one[1], b"x")
    os.write(two[1], b"x")
    loop.run()
    assert len(called) == 1
    for end in (*one, *two):
        os.close(end)


def test_a_number_that_is_used_again_gets_no_event_of_the_one_before(loop: Loop) -> None:
    """A descriptor is closed and another opened in its place, while an event of the first is under way."""
    first, second = os.pipe(), os.pipe()
    wrong: list[str] = []

    def replace(own: tuple[int, int], other: tuple[int, int]) -> None:
        loop.forget(own[0])
        loop.forget(other[0])
        fresh = os.pipe()
        os.dup2(fresh[0], other[0])
        loop.watch(other[0], lambda: wrong.append("called"))
        loop.later(0.05, loop.stop)

    loop.watch(first[0], lambda: replace(first, second))
    loop.watch(second[0], lambda: replace(second, first))
    os.write(first[1], b"x")
    os.write(second[1], b"x")
    loop.run()
    assert not wrong


def test_times_come_in_their_order_and_can_be_cancelled(loop: Loop) -> None:
    called: list[int] = []
    loop.later(0.02, lambda: called.append(2))
    loop.later(0.03, loop.stop)
    loop.later(0.01, lambda: called.append(1))
    loop.later(0.01, lambda: called.append(3)).cancel()
    began = time.monotonic()
    loop.run()
    assert called == [1, 2]
    assert time.monotonic() - began >= 0.02


def test_what_is_soon_comes_after_what_goes_on(loop: Loop) -> None:
    called: list[int] = []

    def begin() -> None:
        loop.soon(lambda: called.append(2))
        loop.soon(loop.stop)
        called.append(1)

    loop.soon(begin)
    loop.run()
    assert called == [1, 2]


def test_an_exception_is_told_and_ends_nothing_else(loop: Loop, told: list[str]) -> None:
    def fail() -> None:
        raise ValueError("so")

    loop.soon(fail)
    loop.soon(loop.stop)
    loop.run()
    assert len(told) == 1
    assert told[0].startswith("ValueError: so (")


def test_who_has_nothing_to_do_rests_once_until_there_is(loop: Loop) -> None:
    """Who was woken soon after has to wait for twice as long the next time."""
    begun = time.monotonic()
    rests: list[float] = []

    loop.rest(0.05, lambda: rests.append(time.monotonic() - begun))
    for moment in (0.02, 0.04, 0.35):
        loop.later(moment, lambda: None)
    loop.later(0.6, loop.stop)
    loop.run()
    assert len(rests) == 2
    assert 0.09 <= rests[0] < 0.35 and rests[1] >= 0.45


def test_nobody_rests_while_there_is_something_to_do(loop: Loop, told: list[str]) -> None:
    rests: list[str] = []
    loop.rest(0.1, lambda: rests.append("rest"))
    for turn in range(10):
        loop.later(turn * 0.02, lambda: None)
    loop.later(0.2, loop.stop)
    loop.run()
    assert (rests, told) == ([], [])
