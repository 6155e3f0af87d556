"""Making a file system with the options that config.json names."""

from __future__ import annotations

import errno
import os

from ..errors import NajaError
from ..linux import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: Name, value (None for a flag), JSON pointer.
    Parameter = tuple[str, str | None, str]


def written(name: str, value: str | None) -> str:
    """Return an option as it is written in config.json."""
    return name if value is None else f"{name}={value}"


#: What is missing, as a rule, where the kernel says nothing.
_SILENT = {"overlay": "it needs lowerdir=, and where it is to be written to upperdir= and workdir="}


def new_mount(kind: str, source: str, parameters: list[Parameter], attributes: int, origin: str) -> int:
    """Return a detached mount of a new file system. Raises NajaError that names the option at fault."""
    what = f"make a {kind} file system"
    try:
        fs = mounts.fsopen(kind)
    except OSError as error:
        why = f"the kernel knows no file system {kind!r}" if error.errno == errno.ENODEV else ""
        raise NajaError.from_os_error(what, error, why=why, origin=origin) from None
    try:
        configure(fs, [("source", source, origin), *parameters])
        mounts.fsconfig_create(fs)
        return mounts.fsmount(fs, attributes)
    except OSError as error:
        why = mounts.complaints(fs) or _SILENT.get(kind, "")
        if error.errno == errno.EPERM and not why:
            why = "it takes root of the host: in a user namespace few kinds can be mounted, and no disks"
        raise NajaError.from_os_error(what, error, why=why, origin=origin) from None
    finally:
        os.close(fs)


def configure(fs: int, parameters: list[Parameter]) -> None:
    """Set options of a file system, one by one. Raises NajaError that names the option at fault."""
    for name, value, origin in parameters:
        try:
            if value is None:
                mounts.fsconfig_flag(fs, name)
            else:
                mounts.fsconfig_string(fs, name, value)
        except OSError as error:
            what, why = f"set mount option {written(name, value)}", mounts.complaints(fs)
            raise NajaError.from_os_error(what, error, why=why, origin=origin) from None
