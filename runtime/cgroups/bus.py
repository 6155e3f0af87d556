"""Talking to systemd over D-Bus (org.freedesktop.systemd1(5)), with jeepney.

jeepney, because it is pure Python without dependencies, blocking, and lets go of asyncio, which alone
would cost 40 ms; dbus-fast is asyncio all through. Imported only where systemd manages the cgroups.
"""

from __future__ import annotations

import os
import socket

from runtime.errors import NajaError

try:
    from jeepney import (  # type: ignore[import-untyped]
        DBusAddress,
        HeaderFields,
        MatchRule,
        MessageType,
        new_method_call,
    )
    from jeepney.bus import get_connectable_addresses  # type: ignore[import-untyped]
    from jeepney.bus_messages import message_bus  # type: ignore[import-untyped]
    from jeepney.io.blocking import DBusConnection  # type: ignore[import-untyped]
except ImportError as error:
    raise NajaError("cgroups by systemd need the Python package jeepney", why=str(error)) from None

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from runtime.cgroups.units import Property

#: How long a job of systemd may take, in seconds; runc waits as long.
_PATIENCE = 30.0

_MANAGER = "org.freedesktop.systemd1.Manager"
_SYSTEMD = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", _MANAGER)
_PROPERTIES = DBusAddress(
    "/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.DBus.Properties"
)


class BusError(NajaError):
    """Systemd's answer was an error; ``name`` is its D-Bus name."""

    def __init__(self, what: str, name: str, message: str) -> None:
        super().__init__(what, why=f"{message} ({name})")
        self.name = name


class Systemd:
    """A connection to systemd: the system's, or the calling user's own."""

    def __init__(self, *, user: bool) -> None:
        """Connect. Raises NajaError where there is no bus."""
        address = _user_bus() if user else _system_bus()
        try:
            self._connection = DBusConnection(_connect(address))
        except (OSError, RuntimeError) as error:
            where = "user" if user else "system"
            raise NajaError(
                f"reach systemd over the {where} bus {address}", why=f"{error}; is it running?"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def call(self, what: str, method: str, signature: str, *arguments: Any) -> tuple[Any, ...]:
        """Call a method of systemd's manager. Returns its answer. Raises BusError, NajaError."""
        return self._call(what, new_method_call(_SYSTEMD, method, signature or None, arguments))

    def _call(self, what: str, message: Any) -> tuple[Any, ...]:
        try:
            answer = self._connection.send_and_get_reply(message, timeout=_PATIENCE)
        except TimeoutError:
            raise NajaError(what, why=f"systemd did not answer within {_PATIENCE:g} seconds") from None
        except OSError as error:
            raise NajaError.from_os_error(what, error) from None
        body: tuple[Any, ...] = answer.body
        if answer.header.message_type is MessageType.error:
            name = answer.header.fields[HeaderFields.error_name]
            raise BusError(what, name, str(body[0]) if body else "")
        return body

    def property(self, name: str) -> str:
        """Return a property of systemd's manager as text. Raises NajaError."""
        message = new_method_call(_PROPERTIES, "Get", "ss", (_MANAGER, name))
        ((_, value),) = self._call(f"ask systemd for its {name}", message)
        return str(value)

    def run_job(self, what: str, method: str, signature: str, *arguments: Any) -> str:
        """Call a method that starts a job, and wait for the job to end. Returns its result ("done")."""
        rule = MatchRule(type="signal", interface=_MANAGER, member="JobRemoved")
        self._call(what, message_bus.AddMatch(rule))
        # systemd sends signals only while somebody is known to listen.
        self.call(what, "Subscribe", "")
        with self._connection.filter(rule, bufsize=1000) as signals:
            (job,) = self.call(what, method, signature, *arguments)
            while True:
                try:
                    signal = self._connection.recv_until_filtered(signals, timeout=_PATIENCE)
                except TimeoutError:
                    raise NajaError(what, why=f"not done within {_PATIENCE:g} seconds") from None
                _, path, _, result = signal.body
                if path == job:
                    return str(result)


def attach(unit: str, pid: int) -> None:
    """Let the calling user's systemd move a process into one of its units. Raises NajaError."""
    with Systemd(user=True) as systemd:
        what = f"attach process {pid} to systemd unit {unit}"
        systemd.call(what, "AttachProcessesToUnit", "ssau", unit, "", [pid])


def _connect(address: str) -> socket.socket:
    """Connect to a bus and say who we are: the kernel tells it, so that it is right in a user namespace."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_PATIENCE)
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
