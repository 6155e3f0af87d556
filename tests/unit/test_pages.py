"""Which parts of memory are put into a file that forks share."""

from __future__ import annotations

import os

from naja.startup import pages


def test_parts_are_those_that_were_written_to() -> None:
    assert pages._runs([]) == []
    assert pages._runs(range(7, 7 + pages._LEAST)) == [(7, 7 + pages._LEAST)]
    assert pages._runs(range(1, pages._LEAST)) == [], "a mapping for so few is too dear"


def test_what_is_close_together_is_one_part() -> None:
    for gap, parts in ((pages._GAP, [(0, 100 + pages._GAP)]), (99, [(0, 50), (149, 199)])):
        assert pages._runs([*range(50), *range(50 + gap, 100 + gap)]) == parts


def test_what_is_mostly_the_program_s_is_no_part() -> None:
    assert pages._runs(range(0, 300, 3)) == []


def test_without_a_dump_nothing_is_done() -> None:
    before = os.listdir("/proc/self/fd")
    pages.share()
    pages.give_back()
    assert not pages._parts
    assert os.listdir("/proc/self/fd") == before
