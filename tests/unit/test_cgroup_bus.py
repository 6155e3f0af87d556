"""What is said to systemd, and to whom: units are started, and stopped, by a bus that plays its part."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from jeepney import (  # type: ignore[import-untyped]
    DBusAddress,
    HeaderFields,
    Parser,
    new_error,
    new_method_return,
    new_signal,
)

from naja import cgroups
from naja.container.record import strange_cgroup
from naja.errors import NajaError
from naja.operations.base import RUNTIME, Context
from naja.operations.scope import StartUnit
from naja.systemd import bus
from naja.systemd.bus import BusError, Systemd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNIT = "naja-x.scope"
ERROR = "org.freedesktop.systemd1."


class FakeSystemd:
    """As much of systemd as starts and stops units; ``said`` is what it was told."""

    def __init__(self) -> None:
        #: (state, invocation) by name.
        self.units: dict[str, tuple[str, str]] = {}
        self.said: list[str] = []
        #: How the next jobs end, but for "done"; None for one that does not end.
        self.results: deque[str | None] = deque()
        self.subscribed = False
        #: Called when a unit is about to be started.
        self.before_start: Callable[[], None] = lambda: None
        self._signals: deque[Any] = deque()
        self._lives = 0

    def new_life(self, name: str, state: str = "active") -> str:
        """Have a unit be there; return its invocation, which begins with a digit or a letter in turn."""
        self._lives += 1
        self.units[name] = (state, f"{'a5'[self._lives % 2]}{self._lives:031x}")
        return self.units[name][1]

    # What a connection does.

    def connection(self, _: object) -> FakeSystemd:
        self.subscribed = False
        return self

    def close(self) -> None:
        pass

    @contextlib.contextmanager
    def filter(self, rule: object, bufsize: int) -> Iterator[deque[Any]]:
        yield self._signals

    def recv_until_filtered(self, signals: deque[Any], *, timeout: float) -> Any:
        if not signals:
            raise TimeoutError
        return signals.popleft()

    def send_and_get_reply(self, message: Any, *, timeout: float) -> Any:
        fields = message.header.fields
        member, path = fields[HeaderFields.member], fields[HeaderFields.path]
        if member == "AddMatch":
            return new_method_return(message)
        self.said.append(member)
        try:
            signature, body = getattr(self, f"_{member}")(path, *message.body)
        except BusError as error:
            return new_error(message, error.name, "s", (error.why,))
        return new_method_return(message, signature, body)

    # What the methods do.

    def _job(self, result: str | None) -> tuple[str, tuple[str]]:
        self._lives += 1
        path = f"/org/freedesktop/systemd1/job/{self._lives}"
        if result:
            self._signals.append(SimpleNamespace(body=(0, "/org/freedesktop/systemd1/job/0", "x", "done")))
            self._signals.append(SimpleNamespace(body=(self._lives, path, UNIT, result)))
        return "o", (path,)

    def _Subscribe(self, _: str) -> tuple[None, tuple[()]]:
        if self.subscribed:
            raise BusError("", f"{ERROR}AlreadySubscribed", "Client is already subscribed.")
        self.subscribed = True
        return None, ()

    def _StartTransientUnit(self, _: str, name: str, *__: object) -> tuple[str, tuple[str]]:
        self.before_start()
        if name in self.units and name.endswith(".slice"):
            return self._job("done")  # Those without a file are taken for new, and are not.
        if name in self.units:
            raise BusError(
                "", f"{ERROR}UnitExists", f"Unit {name} was already loaded or has a fragment file."
            )
        result = self.results.popleft() if self.results else "done"
        self.new_life(name, "active" if result == "done" else "failed")
        return self._job(result)

    def _CancelJob(self, _: str, number: int) -> tuple[None, tuple[()]]:
        assert number
        return None, ()

    def _ResetFailedUnit(self, _: str, name: str) -> tuple[None, tuple[()]]:
        if name not in self.units:
            raise BusError("", f"{ERROR}NoSuchUnit", f"Unit {name} not loaded.")
        if self.units[name][0] == "failed":
            del self.units[name]
        return None, ()

    def _GetUnit(self, _: str, name: str) -> tuple[str, tuple[str]]:
        if name not in self.units:
            raise BusError("", f"{ERROR}NoSuchUnit", f"Unit {name} not loaded.")
        return "o", (f"/org/freedesktop/systemd1/unit/named_{name.encode().hex()}",)

    def _at(self, path: str) -> str:
        """Return the name of the unit at a path: of its name, or of its invocation."""
        label = path.rpartition("/")[2]
        for name, (_, invocation) in self.units.items():
            if label == f"named_{name.encode().hex()}":
                return name
            if label == (f"_3{invocation}" if invocation[0].isdigit() else invocation):
                return name
        raise BusError("", "org.freedesktop.DBus.Error.UnknownObject", f"Unknown object '{path}'.")

    def _Get(self, path: str, _: str, name: str) -> tuple[str, tuple[Any]]:
        state, invocation = self.units[self._at(path)]
        if name == "ActiveState":
            return "v", (("s", state),)
        return "v", (("ay", bytes.fromhex(invocation)),)

    def _Stop(self, path: str, mode: str) -> tuple[str, tuple[str]]:
        state, invocation = self.units.pop(self._at(path))
        if state == "failed":
            self.units[UNIT] = (state, invocation)
        return self._job("done")

    def _ResetFailed(self, path: str) -> tuple[None, tuple[()]]:
        return self._ResetFailedUnit("", self._at(path))


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
    """What naja talks to."""
    fake = FakeSystemd()
    monkeypatch.setattr(bus, "_connect", lambda address: None)
    monkeypatch.setattr(bus, "DBusConnection", fake.connection)
    return fake


class Creation:
    """As much of a create as its unit needs."""

    def __init__(self, unit: str = UNIT) -> None:
        self.unit = unit
        hierarchies = cgroups.Hierarchies("v2", {"": "/nonexistent"}, {"": "/"})
        self.manager = cgroups.manager(
            f"a.slice::{unit}" if unit.endswith(".slice") else "",
            "x",
            systemd=True,
            rootless=False,
            hierarchies=hierarchies,
        )
        self.context = Context(RUNTIME, print)
        self.context.values.update(stage=7)
        self.manager.intend()
        self.manager.follow(self.context)

    def start(self) -> None:
        StartUnit(self.unit, [], user=False).apply(self.context)

    def fail(self, match: str) -> None:
        """Fail to start the unit, and undo what was done."""
        with pytest.raises(NajaError, match=match):
            self.start()
        self.manager.kill(9)
        self.manager.delete()

    def delete(self) -> None:
        """Delete the container, in another process."""
        restored = cgroups.restore(self.manager.record())
        restored.kill(9)
        restored.delete()


def test_a_unit_ends_with_its_container(systemd: FakeSystemd) -> None:
    for _ in range(2):  # With a digit in front, and with a letter.
        creation = Creation()
        creation.start()
        assert creation.manager.record()["invocation"] == systemd.units[UNIT][1]
        creation.delete()
        assert systemd.units == {}
        systemd.new_life("other.scope")
        del systemd.units["other.scope"]


def test_a_unit_of_that_name_is_left_alone(systemd: FakeSystemd) -> None:
    """It is neither stopped by the undo, nor is its failure forgotten."""
    systemd.new_life(UNIT)
    Creation().fail("already loaded or has a fragment file")
    assert UNIT in systemd.units
    assert not {"Stop", "StopUnit", "ResetFailed", "ResetFailedUnit"}.intersection(systemd.said)


def test_what_is_left_of_a_unit_that_failed_makes_room(systemd: FakeSystemd) -> None:
    systemd.new_life(UNIT, "failed")
    Creation().start()
    assert systemd.units[UNIT][0] == "active"
    assert systemd.said.count("StartTransientUnit") == 2
    assert systemd.said.count("Subscribe") == 1


def test_a_slice_that_is_there_is_not_stopped(systemd: FakeSystemd) -> None:
    """systemd takes a start of it, and starts nothing."""
    systemd.new_life("b.slice")
    creation = Creation("b.slice")
    creation.start()
    creation.delete()
    assert "b.slice" in systemd.units
    creation = Creation("c.slice")
    creation.start()
    creation.delete()
    assert "c.slice" not in systemd.units


def test_a_unit_that_vanishes_in_between(systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was there at the first try, and is not when its state is asked for."""
    systemd.new_life(UNIT)
    asked = systemd._GetUnit

    started: list[str] = []
    systemd.before_start = lambda: started.append(UNIT) if systemd.said.count("ResetFailedUnit") else None

    def vanish(path: str, name: str) -> tuple[str, tuple[str]]:
        if not started:
            systemd.units.pop(name, None)
        return asked(path, name)

    monkeypatch.setattr(systemd, "_GetUnit", vanish)
    Creation().start()
    assert systemd.units[UNIT][0] == "active"


@pytest.mark.parametrize("result", ["failed", "canceled", "timeout", "dependency", None])
def test_a_job_that_does_not_end_well(systemd: FakeSystemd, result: str | None) -> None:
    """The unit was made all the same, so it is taken away."""
    systemd.results.append(result)
    Creation().fail(f"systemd's job ended with '{result or 'timeout'}'")
    assert systemd.units == {}
    assert ("CancelJob" in systemd.said) is (result is None)


def test_a_name_that_another_has_got_when_the_job_has_failed(
    systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd.results.append("failed")
    job = systemd._job

    def and_another(result: str | None) -> tuple[str, tuple[str]]:
        systemd.new_life(UNIT)
        return job(result)

    monkeypatch.setattr(systemd, "_job", and_another)
    Creation().fail("systemd's job ended with 'failed'")
    assert systemd.units[UNIT][0] == "active"


def test_a_unit_that_has_taken_its_place(systemd: FakeSystemd) -> None:
    """The container's own ended with its last process."""
    creation = Creation()
    creation.start()
    del systemd.units[UNIT]
    systemd.new_life(UNIT)
    creation.delete()
    assert systemd.units[UNIT][0] == "active"


def test_a_create_that_never_came_to_its_unit(systemd: FakeSystemd) -> None:
    creation = Creation()
    systemd.new_life(UNIT)
    creation.delete()
    assert systemd.units[UNIT][0] == "active"


@pytest.mark.parametrize("invocation", [5, None, ["5"], "../x", "0123\n"])
def test_a_record_whose_invocation_is_none(invocation: object) -> None:
    found = Creation().manager.record()
    assert strange_cgroup({**found, "invocation": "0123456789abcdef" * 2}) == ""
    assert strange_cgroup({**found, "invocation": invocation}) == "cgroup/invocation is no number"


def test_two_jobs_of_one_connection(systemd: FakeSystemd) -> None:
    with Systemd(user=False) as connection:
        for name in ("a.scope", "b.scope"):
            arguments: tuple[Any, ...] = (name, "replace", [], [])
            assert connection.run_job("x", "StartTransientUnit", "ssa(sv)a(sa(sv))", *arguments) == "done"


def test_a_slow_bus_is_waited_for(systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may take more than a minute, and only then the job's time begins."""
    clock, waits = [0.0], []
    monkeypatch.setattr("naja.systemd.bus.time.monotonic", lambda: clock[0])
    systemd.before_start = lambda: clock.__setitem__(0, clock[0] + 90)
    answer, wait = systemd.send_and_get_reply, systemd.recv_until_filtered

    def answered(message: Any, *, timeout: float) -> Any:
        assert timeout > 90
        return answer(message, timeout=timeout)

    def waited(signals: deque[Any], *, timeout: float) -> Any:
        waits.append(timeout)
        return wait(signals, timeout=timeout)

    monkeypatch.setattr(systemd, "send_and_get_reply", answered)
    monkeypatch.setattr(systemd, "recv_until_filtered", waited)
    Creation().start()
    assert waits[0] == 30


class PrivateSystemd(threading.Thread):
    """Systemd's own socket: D-Bus without a bus, so there is nobody to say hello to."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.said: list[tuple[str, str]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self.start()

    def run(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            lines = b""
            while not lines.endswith(b"BEGIN\r\n"):
                lines += connection.recv(1024)
            connection.sendall(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n")
            parser = Parser()
            for serial in itertools.count(1):
                while (message := parser.get_next_message()) is None:
                    if not (data := connection.recv(4096)):
                        return
                    parser.add_data(data)
                for answer in self._answers(message):
                    connection.sendall(answer.serialise(serial=serial))

    def _answers(self, message: Any) -> Iterator[Any]:
        fields = message.header.fields
        self.said.append((fields[HeaderFields.destination], fields[HeaderFields.member]))
        if fields[HeaderFields.member] == "Get":
            yield new_method_return(message, "v", (("s", "/x"),))
        else:
            yield new_method_return(message, "o", ("/job/1",))
            manager = DBusAddress("/org/freedesktop/systemd1", interface="org.freedesktop.systemd1.Manager")
            yield new_signal(manager, "JobRemoved", "uoss", (1, "/job/1", UNIT, "done"))


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrivateSystemd:
    monkeypatch.setattr(bus, "_PRIVATE", f"unix:path={tmp_path}/private")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    return PrivateSystemd(f"{tmp_path}/private")


def test_without_a_bus_root_speaks_to_systemd_itself(private: PrivateSystemd) -> None:
    with Systemd(user=False) as systemd:
        assert systemd.property("ControlGroup") == "/x"
        assert systemd.run_job("start", "StartTransientUnit", "s", UNIT) == "done"
    name = "org.freedesktop.systemd1"
    assert private.said == [(name, "Get"), (name, "StartTransientUnit")]


def test_a_user_has_no_such_way(private: PrivateSystemd) -> None:
    with pytest.raises(NajaError, match="reach systemd over the user bus"):
        Systemd(user=True)
    assert not private.said
