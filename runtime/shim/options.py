"""The options of a task: those of runc's shim, as far as they make sense where the shim is the runtime.

They come as containerd.runc.v1.Options or, from who does not know this shim (CRI, Docker), as the name of a
TOML file, or its text, with the same names. Those in FILE hold for all containers whose engine says nothing.
"""

from __future__ import annotations

import os

from ..errors import NajaError
from . import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "/etc/naja/shim.toml"

#: Where they are kept in a bundle, for who cleans up after a shim that was killed.
KEPT = "naja-options.json"

#: Where the state of containers is kept, in a directory for each of containerd's namespaces.
ROOT = "/run/containerd/naja"

#: The values that ``Group`` may have (naja.shim.groups).
GROUPS = ("pod", "namespace", "container")

#: Options as TOML names them, by the names that they have here, and the types of their values.
_NAMES: dict[str, tuple[str, type]] = {
    "NoPivotRoot": ("no_pivot_root", bool),
    "NoNewKeyring": ("no_new_keyring", bool),
    "ShimCgroup": ("shim_cgroup", str),
    "IoUid": ("io_uid", int),
    "IoGid": ("io_gid", int),
    "BinaryName": ("binary_name", str),
    "Root": ("root", str),
    "CriuPath": ("criu_path", str),
    "SystemdCgroup": ("systemd_cgroup", bool),
    "CriuImagePath": ("criu_image_path", str),
    "CriuWorkPath": ("criu_work_path", str),
    "TaskAPIAddress": ("task_api_address", str),
    "TaskAPIVersion": ("task_api_version", int),
    "Group": ("group", str),
}

#: What there is no use for here, and why.
_REFUSED = {
    "binary_name": "this shim is the runtime; another program has io.containerd.runc.v2",
    "criu_path": "CRIU is found by PATH",
    "task_api_address": "the task service is where the shim is",
}


def read(any: dict[str, Any] | None) -> dict[str, Any]:
    """Return all options. Raises NajaError for what is of no use, Malformed for another kind of message."""
    found = {name: kind() for name, kind in _NAMES.values()}
    name = any["type_url"].rpartition("/")[2] if any else ""
    if name == messages.GENERIC_OPTIONS.name:
        generic = messages.unwrap(any, messages.GENERIC_OPTIONS)
        path = generic["config_path"]
        found |= _of_file(path) if path else _of_text(generic["config_body"], "the runtime's options")
    elif name:
        found |= messages.unwrap(any, messages.OPTIONS, messages.OLD_OPTIONS)
    elif os.path.exists(FILE):
        found |= _of_file(FILE)
    for option, why in _REFUSED.items():
        if found[option]:
            raise NajaError(f"option {_written(option)}={found[option]} is of no use", why=why)
    if found["group"] not in ("", *GROUPS):
        raise NajaError(f"option Group={found['group']} is none of {', '.join(GROUPS)}")
    return found


def _written(option: str) -> str:
    return next(written for written, (name, _) in _NAMES.items() if name == option)


def _of_file(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return _of_text(file.read(), path)
    except OSError as error:
        raise NajaError.from_os_error(f"read the shim's options in {path}", error) from None


def _of_text(text: bytes, place: str) -> dict[str, Any]:
    import tomllib

    try:
        table = tomllib.loads(text.decode())
    except ValueError as error:
        raise NajaError(f"{place} is no TOML", why=str(error)) from None
    found = {}
    for key, value in table.items():
        if key not in _NAMES:
            raise NajaError(f"{place} has an option that is not known: {key}")
        name, kind = _NAMES[key]
        if type(value) is not kind:
            raise NajaError(f"{place}: {key} is to be a {kind.__name__}, not {value!r}")
        found[name] = value
    return found


def is_plain(any: dict[str, Any] | None) -> bool:
    """Tell whether ``read`` needs no parser, which only a worker is to load."""
    name = any["type_url"].rpartition("/")[2] if any else ""
    return name != messages.GENERIC_OPTIONS.name and (bool(name) or not os.path.exists(FILE))


def root(options: dict[str, Any], namespace: str) -> str:
    """Return the state root of the containers of one of containerd's namespaces."""
    return os.path.join(options["root"] or ROOT, namespace)
