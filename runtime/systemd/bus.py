"""Talking to systemd over D-Bus (org.freedesktop.systemd1(5)), with jeepney.

jeepney, because it is pure Python without dependencies, blocking, and lets go of asyncio, which alone
would cost 40 ms; dbus-fast is asyncio all through. Imported only where systemd manages the cgroups.
"""

from __future__ import annotations

import os
import socket
import time

from ..errors import NajaError, package_missing

try:
    from jeepney import (  # type: ignore[import-untyped]
        DBusAddress,
        HeaderFields,
        MatchRule,
        MessageType,
        new_method_call,
        new_method_return,
    )
    from jeepney.bus import get_connectable_addresses  # type: ignore[import-untyped]
    from jeepney.bus_messages import message_bus  # type: ignore[import-untyped]
    from jeepney.io.blocking import DBusConnection  # type: ignore[import-untyped]
except ImportError as error:
    raise package_missing("a cgroup of systemd's", "jeepney", error) from None

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    #: A unit's property: name, D-Bus type, value.
    Property = tuple[str, str, Any]

#: How long a job of systemd may take, in seconds, once it is known; runc waits as long.
_PATIENCE = 30.0
#: How long an answer may take: a bus may be slow for a minute, and runc waits for ever.
_LONGEST_ANSWER = 300.0

#: Where root reaches the system's systemd without a bus between them.
_PRIVATE = "unix:path=/run/systemd/private"

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER, _UNIT = f"{_NAME}.Manager", f"{_NAME}.Unit"
_PROPERTIES = "org.freedesktop.DBus.Properties"

#: How systemd says that there is no unit of that name, or of that invocation (any more).
_NO_UNIT = (".NoSuchUnit", ".NoUnitForInvocationID", ".UnknownObject")


class BusError(NajaError):
    """Systemd's answer was an error; ``name`` is its D-Bus name."""

    def __init__(self, what: str, name: str, message: str) -> None:
        super().__init__(what, why=f"{message} ({name})")
        self.name = name


class _Private(DBusConnection):  # type: ignore[misc]
    """A connection to systemd itself: there is no bus to say hello to, as jeepney would."""

    def send_and_get_reply(self, message: Any, *, timeout: float | None = None) -> Any:
        if message.header.fields[HeaderFields.member] == "Hello":
            return new_method_return(message, "s", ("",))
        return super().send_and_get_reply(message, timeout=timeout)


class Systemd:
    """A connection to systemd: the system's, or the calling user's own."""

    def __init__(self, *, user: bool) -> None:
        """Connect. Raises NajaError where there is no bus, and for root no systemd either."""
        #: Whether systemd tells us of its jobs.
        self._subscribed = False
        address = _user_bus() if user else _system_bus()
        try:
            self._connection = DBusConnection(_connect(address))
        except (OSError, RuntimeError) as error:
            if not user and self._connect_privately():
                return
            where = "user" if user else "system"
            raise NajaError(
                f"reach systemd over the {where} bus {address}", why=f"{error}; is it running?"
            ) from None

    def _connect_privately(self) -> bool:
        """Connect to systemd without a bus; False where it is not there, or not for us."""
        try:
            self._connection = _Private(_connect(_PRIVATE))
        except (OSError, RuntimeError):
            return False
        self._subscribed = True  # Whoever is connected like this is told of everything.
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def call(self, what: str, method: str, signature: str, *arguments: Any) -> tuple[Any, ...]:
        """Call a method of systemd's manager. Returns its answer. Raises BusError, NajaError."""
        return self._call(what, _message(_PATH, _MANAGER, method, signature, arguments))

    def _call(self, what: str, message: Any) -> tuple[Any, ...]:
        try:
            answer = self._connection.send_and_get_reply(message, timeout=_LONGEST_ANSWER)
        except TimeoutError:
            why = f"systemd did not answer within {_LONGEST_ANSWER:g} seconds"
            raise NajaError(what, why=why) from None
        except OSError as error:
            raise NajaError.from_os_error(what, error) from None
        body: tuple[Any, ...] = answer.body
        if answer.header.message_type is MessageType.error:
            name = answer.header.fields[HeaderFields.error_name]
            raise BusError(what, name, str(body[0]) if body else "")
        return body

    def property(self, name: str) -> str:
        """Return a property of systemd's manager as text. Raises NajaError."""
        return str(self._get(f"ask systemd for its {name}", _PATH, _MANAGER, name))

    def is_down(self, unit: str) -> bool:
        """Tell whether nothing of a unit is left but its name, and that it failed. Raises NajaError.

        ``unit`` is its name, or its invocation.
        """
        return self._of_unit(unit, "ActiveState", "inactive") in ("failed", "inactive")

    def invocation(self, unit: str) -> str:
        """Return what tells this life of a unit from others of that name; "" where it is not there.

        systemd.exec(5), $INVOCATION_ID. Raises NajaError.
        """
        return bytes(self._of_unit(unit, "InvocationID", b"")).hex()

    def _of_unit(self, unit: str, name: str, otherwise: Any) -> Any:
        """Return a property of a unit, ``otherwise`` where the unit is not there."""
        what = f"ask systemd for the {name} of {unit}"
        try:
            path = _unit_path(unit) if "." not in unit else self.call(what, "GetUnit", "s", unit)[0]
            return self._get(what, path, _UNIT, name)
        except BusError as error:
            if error.name.endswith(_NO_UNIT):
                return otherwise
            raise

    def _get(self, what: str, path: str, interface: str, name: str) -> Any:
        ((_, value),) = self._call(what, _message(path, _PROPERTIES, "Get", "ss", (interface, name)))
        return value

    def run_job(self, what: str, method: str, signature: str, *arguments: Any) -> str:
        """Call a method that starts a job, and wait for the job to end. Returns its result ("done").

        A job that takes too long is taken back; its result is "timeout". Raises BusError, NajaError.
        """
        return self._run(what, _message(_PATH, _MANAGER, method, signature, arguments))

    def stop(self, what: str, invocation: str) -> None:
        """Stop a unit and forget that it failed, where it still is that invocation. Raises NajaError."""
        path = _unit_path(invocation)
        try:
            result = self._run(what, _message(path, _UNIT, "Stop", "s", ("replace",)))
            self._call(what, _message(path, _UNIT, "ResetFailed", "", ()))
        except BusError as error:
            # It ended when its last process did.
            if not error.name.endswith(_NO_UNIT):
                raise
            return
        if result == "timeout":
            raise NajaError(what, why=f"not done within {_PATIENCE:g} seconds")

    def forget(self, what: str, unit: str) -> None:
        """Have a unit that failed make room for one of its name. Raises NajaError."""
        try:
            self.call(what, "ResetFailedUnit", "s", unit)
        except BusError as error:
            if not error.name.endswith(_NO_UNIT):
                raise

    def _run(self, what: str, message: Any) -> str:
        rule = MatchRule(type="signal", interface=_MANAGER, member="JobRemoved")
        if not self._subscribed:
            # systemd sends signals only while somebody is known to listen, and takes no second word for it.
            self._call(what, message_bus.AddMatch(rule))
            self.call(what, "Subscribe", "")
            self._subscribed = True
        with self._connection.filter(rule, bufsize=1000) as signals:
            (job,) = self._call(what, message)
            end = time.monotonic() + _PATIENCE
            while True:
                try:
                    signal = self._connection.recv_until_filtered(signals, timeout=end - time.monotonic())
                except TimeoutError:
                    self._cancel(what, job)
                    return "timeout"
                except OSError as error:
                    raise NajaError.from_os_error(what, error) from None
                _, path, _, result = signal.body
                if path == job:
                    return str(result)

    def _cancel(self, what: str, job: str) -> None:
        try:
            self.call(what, "CancelJob", "u", int(job.rpartition("/")[2]))
        except BusError as error:
            if not error.name.endswith(".NoSuchJob"):
                raise


def _message(path: str, interface: str, method: str, signature: str, arguments: tuple[Any, ...]) -> Any:
    return new_method_call(DBusAddress(path, _NAME, interface), method, signature or None, arguments)


def _unit_path(invocation: str) -> str:
    """Return the object of a unit by its invocation: so no other one of that name is ever meant."""
    # A label of a path does not begin with a digit: systemd writes the first one as _3x.
    label = f"_3{invocation}" if invocation[0].isdigit() else invocation
    return f"{_PATH}/unit/{label}"


def attach(unit: str, pid: int) -> None:
    """Let the calling user's systemd move a process into one of its units. Raises NajaError."""
    with Systemd(user=True) as systemd:
        what = f"attach process {pid} to systemd unit {unit}"
        systemd.call(what, "AttachProcessesToUnit", "ssau", unit, "", [pid])


def _connect(address: str) -> socket.socket:
    """Connect to a bus and say who we are: the kernel tells it, so that it is right in a user namespace."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_LONGEST_ANSWER)
    try:
        connection.connect(next(iter(get_connectable_addresses(address))))
        connection.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
        answer = b""
        while answer.count(b"\r\n") < 2:
            chunk = connection.recv(1024)
            if not chunk or b"REJECTED" in answer + chunk:
                raise OSError("the bus does not accept us")
            answer += chunk
    except BaseException:
        connection.close()
        raise
    connection.settimeout(None)
    return connection


def _system_bus() -> str:
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"


def _user_bus() -> str:
    if address := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    if directory := os.environ.get("XDG_RUNTIME_DIR"):
        return f"unix:path={directory}/bus"
    raise NajaError(
        "reach systemd over the user bus",
        why="neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set",
    )


def variants(properties: list[Property]) -> list[tuple[str, tuple[str, Any]]]:
    """Return properties as D-Bus takes them: a(sv)."""
    return [(name, (kind, value)) for name, kind, value in properties]
