"""Bundles made from Python: a config.json with the names of the specification, put together step by step."""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .. import config as _config
from ..config import json, template
from ..errors import AlreadyExists, NajaError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from ..types import Config, Process, Resources, RlimitType
    from .asking import StrPath

__all__ = ["Bundle"]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}

#: Length of a period in which CPU time is counted, in microseconds.
_PERIOD = 100_000


class Bundle:
    """A config.json in the making; each step returns the bundle, and ``write`` makes a directory of it.

    It begins as what ``naja spec`` writes, but without a terminal: a root file system in rootfs/ that is
    read-only, namespaces of its own (of the network, too, with nothing but a loopback), few capabilities.
    What there is no step for is a change of ``config``.
    """

    def __init__(self, config: Config | None = None) -> None:
        """Begin with a config, which is copied; with that of ``naja spec`` where there is none."""
        #: What will be config.json.
        self.config: Config = copy.deepcopy(config) if config else cast("Config", template.default_config())
        if config is None:
            self._process["terminal"] = False
        self._of_host = False

    @classmethod
    def from_host(cls, *args: str) -> Self:
        """Begin with the host's own programs, read-only, and 256 MiB and 64 processes: ``naja spec --host``.

        ``args`` are the program and its arguments.
        """
        with tempfile.TemporaryDirectory() as scratch:
            bundle = cls(cast("Config", template.host_config(list(args), scratch)))
        bundle._process["terminal"] = False
        bundle._of_host = True
        return bundle

    @property
    def _process(self) -> Process:
        return self.config.setdefault("process", {"cwd": "/"})

    @property
    def _resources(self) -> Resources:
        return self.config.setdefault("linux", {}).setdefault("resources", {})

    def rootfs(self, path: StrPath, *, readonly: bool | None = None) -> Self:
        """Use a directory as the root file system (/root); what else is said of it stays."""
        root = self.config.setdefault("root", {"path": "rootfs"})
        root["path"] = os.path.abspath(os.fspath(path))
        if readonly is not None:
            root["readonly"] = readonly
        self._of_host = False
        return self

    def readonly(self, value: bool = True) -> Self:
        """Say whether the root file system may not be written to (/root/readonly)."""
        self.config.setdefault("root", {"path": "rootfs"})["readonly"] = value
        return self

    def args(self, *args: StrPath) -> Self:
        """Set the program and its arguments (/process/args)."""
        self._process["args"] = [os.fspath(word) for word in args]
        return self

    def env(self, variables: Mapping[str, str] | None = None, /, **more: str) -> Self:
        """Add variables to the environment (/process/env), in the place of those of the same name."""
        given = {**(variables or {}), **more}
        kept = [each for each in self._process.get("env", ()) if each.partition("=")[0] not in given]
        self._process["env"] = [*kept, *(f"{name}={value}" for name, value in given.items())]
        return self

    def cwd(self, path: StrPath) -> Self:
        """Set the working directory, absolute (/process/cwd)."""
        self._process["cwd"] = os.fspath(path)
        return self

    def user(self, uid: int, gid: int | None = None, groups: Sequence[int] = ()) -> Self:
        """Set the user, group (of the same number if not said) and further groups (/process/user)."""
        self._process["user"] = {"uid": uid, "gid": uid if gid is None else gid}
        if groups:
            self._process["user"]["additionalGids"] = list(groups)
        return self

    def capabilities(self, *names: str) -> Self:
        """Set the capabilities (/process/capabilities): these CAP_ names, and no others."""
        sets = ("bounding", "effective", "permitted")
        self._process["capabilities"] = cast("Any", {each: list(names) for each in sets})
        return self

    def rlimit(self, type: RlimitType, soft: int, hard: int | None = None) -> Self:
        """Set a limit of getrlimit(2) (/process/rlimits); the hard one is the same where it is not said."""
        others = [each for each in self._process.get("rlimits", ()) if each["type"] != type]
        self._process["rlimits"] = [
            *others,
            {"type": type, "soft": soft, "hard": soft if hard is None else hard},
        ]
        return self

    def terminal(self, value: bool = True) -> Self:
        """Say whether the process gets a terminal (/process/terminal)."""
        self._process["terminal"] = value
        return self

    def hostname(self, name: str) -> Self:
        """Set the host name (/hostname)."""
        self.config["hostname"] = name
        return self

    def annotations(self, values: Mapping[str, str]) -> Self:
        """Add annotations (/annotations)."""
        self.config.setdefault("annotations", {}).update(values)
        return self

    def mount(
        self,
        source: StrPath,
        destination: StrPath,
        *,
        type: str = "bind",
        options: Sequence[str] = (),
        readonly: bool = False,
    ) -> Self:
        """Add a mount (/mounts): a file or directory of the host, or a file system of another type.

        Of a bind mount with no ``options`` all that is below comes along, and nothing of it is a device or
        setuid.
        """
        chosen = list(options)
        path = os.fspath(source)
        if type == "bind":
            path = os.path.abspath(path)
            chosen = chosen or ["rbind", "nosuid", "nodev"]
        if readonly:
            chosen.append("rro" if "rbind" in chosen else "ro")
        mounts = self.config.setdefault("mounts", [])
        mounts.append(
            {"destination": os.fspath(destination), "type": type, "source": path, "options": chosen}
        )
        return self

    def tmpfs(self, destination: StrPath, *, size: int | str = "64m", mode: int = 0o1777) -> Self:
        """Add an empty file system in memory, of a size in bytes or such as "64m" (/mounts)."""
        options = ["nosuid", "nodev", f"mode={mode:o}", f"size={_size(size)}"]
        return self.mount("tmpfs", destination, type="tmpfs", options=options)

    def limit(
        self,
        *,
        memory: int | str | None = None,
        swap: int | str | None = None,
        pids: int | None = None,
        cpus: float | None = None,
    ) -> Self:
        """Set limits (/linux/resources): bytes or such as "64m", processes, processors (0.5: half of one).

        ``swap`` is memory and swap together, as in config.json; without it, of swap there may be as much as
        the host has.
        """
        if memory is not None:
            self._resources.setdefault("memory", {})["limit"] = _size(memory)
        if swap is not None:
            self._resources.setdefault("memory", {})["swap"] = _size(swap)
        if pids is not None:
            self._resources["pids"] = {"limit": pids}
        if cpus is not None:
            cpu = self._resources.setdefault("cpu", {})
            cpu["period"], cpu["quota"] = _PERIOD, round(cpus * _PERIOD)
        return self

    def host_network(self) -> Self:
        """Have the host's network, in the place of one of its own (/linux/namespaces)."""
        linux = self.config.setdefault("linux", {})
        linux["namespaces"] = [each for each in linux.get("namespaces", ()) if each["type"] != "network"]
        return self

    def rootless(self) -> Self:
        """Have a user namespace, the calling user being root in it, and no limits: ``spec --rootless``."""
        template.rootless_config(cast("dict[str, Any]", self.config))
        return self

    def validate(self) -> Self:
        """Refuse what no container can be made of. Raises ConfigError for the first thing that is wrong."""
        _config.check(copy.deepcopy(cast("dict[str, Any]", self.config)))
        return self

    def write(self, path: StrPath) -> Path:
        """Write the bundle: a directory, made if need be, with config.json; return its path.

        Raises ConfigError, AlreadyExists where there is a config.json, and NajaError.
        """
        self.validate()
        directory = Path(path).absolute()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if self._of_host:
                template.make_host_root(os.fspath(directory))
            with open(directory / "config.json", "x", encoding="ascii") as file:
                file.write(json.dumps(self.config, indent=4) + "\n")
        except FileExistsError as error:
            raise AlreadyExists(f"{error.filename} exists already", why="remove it first") from None
        except OSError as error:
            raise NajaError.from_os_error(f"write {directory}/config.json", error) from None
        return directory


def _size(value: int | str) -> int:
    """Return a number of bytes, given as such or as text with a unit ("64m", "1.5G"). Raises ValueError."""
    if isinstance(value, int):
        return value
    text = value.strip().lower().removesuffix("b").removesuffix("i")
    number = text.rstrip("kmgt")
    unit = text[len(number) :]
    try:
        return round(float(number) * _UNITS[unit])
    except (KeyError, ValueError):
        raise ValueError(f"{value!r} is no size, such as 64m") from None
