"""What is said to the resident process, and what comes back; a thread waits for that, or an asyncio loop."""

from __future__ import annotations

import os
import secrets
import signal
from typing import TYPE_CHECKING, Any

# Their errors are among those that may come back.
from .. import config as _config  # noqa: F401
from ..container import state
from ..errors import NajaError, remade
from ..resident.messages import close

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..types import Process as ProcessConfig
    from ..types import User

    StrPath = str | os.PathLike[str]
    Signal = int | str | signal.Signals


class ResidentGone(NajaError):
    """The resident process has ended, and took with it what was asked of it. The next call starts another.

    Containers that it has made run on, and are found by their ID.
    """


class Answer:
    """What has come of a request: a value, descriptors by name, warnings; or an error."""

    __slots__ = ("descriptors", "error", "value", "warnings")

    def __init__(self, message: dict[str, Any], descriptors: list[int]) -> None:
        self.error: NajaError | None = None
        if told := message.get("error"):
            fields = (told[name] for name in ("kind", "what", "errno", "why", "origin", "notes"))
            self.error = remade(*fields)
        self.value: Any = message.get("value")
        self.warnings: list[str] = message.get("warnings", [])
        names = self.value.get("descriptors", []) if isinstance(self.value, dict) else []
        self.descriptors: dict[str, int] = dict(zip(names, descriptors, strict=False))
        close(descriptors[len(names) :])

    @classmethod
    def failed(cls, error: NajaError) -> Answer:
        """Return an answer that nobody has given."""
        answer = cls({}, [])
        answer.error = error
        return answer

    def drop(self, *names: str) -> None:
        """Close descriptors that nobody wants; all, where none is named."""
        for name in names or list(self.descriptors):
            if name in self.descriptors:
                close([self.descriptors.pop(name)])


def undo(do: str, fields: dict[str, Any], answer: Answer) -> tuple[str, dict[str, Any]] | None:
    """Return the request that takes back what was done for somebody who is gone; None for nothing."""
    if answer.error is None and do in ("create", "run"):
        return "delete", {"root": fields["root"], "id": fields["id"], "force": True}
    if answer.error is None and do == "exec":
        return "signal", {"process": answer.value["process"], "signal": signal.SIGKILL.value}
    return None


def place(root: StrPath | None) -> str:
    """Return the state root, absolute; the default one where none is named."""
    return os.path.abspath(os.fspath(root)) if root is not None else state.default_root()


def made_up_id() -> str:
    """Return an ID that nobody else has."""
    return f"naja-{secrets.token_hex(6)}"


def creation(
    bundle: StrPath,
    *,
    no_pivot: bool = False,
    no_new_keyring: bool = False,
    systemd_cgroup: bool = False,
    rootless: bool | None = None,
    console_socket: StrPath | None = None,
    pid_file: StrPath | None = None,
) -> dict[str, Any]:
    """Return the fields of a request to make a container (naja.resident.requests)."""
    fields: dict[str, Any] = {"bundle": os.path.abspath(os.fspath(bundle))}
    flags = {"no_pivot": no_pivot, "no_new_keyring": no_new_keyring, "systemd_cgroup": systemd_cgroup}
    fields |= {name: True for name, value in flags.items() if value}
    if rootless is not None:
        fields["rootless"] = rootless
    for name, path in (("console_socket", console_socket), ("pid_file", pid_file)):
        if path is not None:
            fields[name] = os.path.abspath(os.fspath(path))
    return fields


def joining(
    user: int | str | User | None, cgroup: Mapping[str, str] | None, *, ignore_paused: bool
) -> dict[str, Any]:
    """Return the fields by which a process is added, beside the program itself."""
    fields: dict[str, Any] = {"cgroup": dict(cgroup)} if cgroup else {}
    if is_name(user):
        fields["user"] = user
    if ignore_paused:
        fields["ignore_paused"] = True
    return fields


def mounting(source: StrPath, destination: StrPath, type: str, options: Sequence[str]) -> dict[str, Any]:
    """Return the fields by which something is mounted in a container that is there."""
    path = os.fspath(source)
    if type == "bind":
        path = os.path.abspath(path)
    words = {"options": list(options)} if options else {}
    return {"source": path, "destination": os.fspath(destination), "kind": type, **words}


def signal_number(value: Signal) -> int:
    """Return the number of a signal, given as such, by name ("TERM", "SIGTERM"), or as signal.SIGTERM.

    Raises ValueError.
    """
    if isinstance(value, int) or value.isdecimal():
        number = int(value)
    else:
        name = value.upper()
        found = signal.Signals.__members__.get(name if name.startswith("SIG") else f"SIG{name}")
        if found is None:
            raise ValueError(f"{value!r} is no signal")
        number = found.value
    if not 0 <= number < 65:
        raise ValueError(f"{value!r} is no signal")
    return number


def program(
    own: Callable[[], ProcessConfig],
    asked: Sequence[str] | ProcessConfig,
    *,
    env: Mapping[str, str] | None,
    cwd: StrPath | None,
    user: int | str | User | None,
    terminal: bool,
) -> dict[str, Any]:
    """Return the process that is to be added (/process): like the container's own where nothing is said.

    ``env`` adds to its environment; ``user`` is a number, "UID:GID", or like /process/user (a name
    is for others to look up). Raises TypeError.
    """
    if isinstance(asked, str | bytes):
        raise TypeError("a program is a list of words, such as ['ls', '-l']")
    document: dict[str, Any]
    if isinstance(asked, dict):
        document = {**asked} if "cwd" in asked else {"cwd": own()["cwd"], **asked}
    else:
        left_out = ("args", "terminal", "consoleSize", "commandLine")
        document = {name: value for name, value in own().items() if name not in left_out}
        document["args"] = [os.fspath(word) for word in asked]
    if terminal:
        document["terminal"] = True
    if env:
        document["env"] = [*document.get("env", ()), *(f"{name}={value}" for name, value in env.items())]
    if cwd is not None:
        document["cwd"] = os.fspath(cwd)
    if user is not None and not is_name(user):
        document["user"] = _identity(user, document.get("user"))
    return document


def is_name(user: int | str | User | None) -> bool:
    """Tell whether a user, or a group after a colon, is given by name."""
    return isinstance(user, str) and not user.replace(":", "", 1).isdecimal()


def _identity(user: int | str | User, own: dict[str, Any] | None) -> dict[str, Any]:
    if isinstance(user, dict):
        return dict(user)
    uid, _, gid = str(user).partition(":")
    return {**(own or {}), "uid": int(uid), **({"gid": int(gid)} if gid else {})}
