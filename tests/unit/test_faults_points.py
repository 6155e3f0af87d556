"""The names of points and races, by which `python -m tests.faults --point` tries one again."""

from __future__ import annotations

import random

from tests.faults.points import Fault, Point, errors_of, points_of
from tests.faults.races import Race, races

#: Process, system call, how many came before, whether Python starts.
SEEN = [("runtime", "openat", 0, True), ("init", "setns", 2, False), ("init", "close", 3, False)]


def test_a_name_leads_back_to_its_point() -> None:
    for point in points_of("exec", SEEN, ("fail", "kill", "delay"), 9):
        again = Point.parse(str(point))
        assert (again.command, again.fault) == (point.command, point.fault)
    for race in races(random.Random(1), 20):
        assert str(Race.parse(str(race))) == str(race)


def test_a_call_meets_one_of_its_errors_or_all() -> None:
    errors = errors_of("setns")
    some = [point.fault.action for point in points_of("exec", SEEN[1:2], ("fail",), 1)]
    assert some == [errors[2]]
    every = [point.fault.action for point in points_of("exec", SEEN[1:2], ("fail",), 9)]
    assert sorted(every) == sorted(errors)


def test_what_nobody_sees_is_not_delayed_and_what_cannot_fail_does_not() -> None:
    assert not list(points_of("exec", SEEN[2:], ("fail", "kill", "delay"), 9))


def test_who_is_killed() -> None:
    killed = [point.fault for point in points_of("exec", SEEN[1:2], ("kill",), 1)]
    assert [fault.kills for fault in killed] == ["runtime", "self"]
    assert Fault("init", "setns", 0, "EPERM").kills == ""


def test_a_seed_repeats_the_races() -> None:
    first, second = (list(races(random.Random(7), 30)) for _ in range(2))
    assert first == second
    assert all("update" in (race.first, race.second) for race in races(random.Random(7), 30, "update"))
