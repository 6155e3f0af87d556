"""What a question of insight is about: a bundle, a config.json, or a container; and its plan."""

from __future__ import annotations

import os

from .. import config
from ..config import json
from ..errors import NajaError
from . import state
from .creation import Creation
from .lifecycle import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from ..plan import Plan


class Subject:
    """A config, checked, and what its plan depends on beside it.

    ``name`` is what it was asked for by; ``id`` and ``bundle`` are a container's, or what it would have.
    ``rootless`` and ``systemd`` say how a container was made; None and the command's own elsewhere.
    """

    def __init__(
        self,
        name: str,
        document: dict[str, Any],
        bundle: str,
        *,
        id: str = "ID",
        rootless: bool | None = None,
        systemd: bool = False,
        checked: bool = True,
    ) -> None:
        """Check the config, unless ``checked`` is false. Raises NajaError."""
        self.name = name
        self.config = document
        self.bundle = bundle
        self.id = id
        self.rootless = rootless
        self.systemd = systemd
        if checked:
            config.check(document)

    @classmethod
    def find(
        cls,
        name: str,
        *,
        root: str,
        warn: Callable[[str], None],
        systemd: bool,
        rootless: bool | None,
        checked: bool = True,
    ) -> Self:
        """Return what a word names: a container below the state root, a bundle, or a config.json.

        "./NAME" is never a container. Raises NajaError where it is none of them, or its config will not do.
        """
        if "/" not in name and name in state.ids(root):
            container = Container.load(name, root=root, warn=warn)
            record = container.record
            return cls(
                name,
                container.config,
                record["bundle"],
                id=name,
                rootless=record["rootless"],
                systemd=bool(record["cgroup"]["unit"]),
            )
        if os.path.isfile(name):  # A device or a FIFO is none.
            document = _read_file(name)
            above = os.path.dirname(name) or "."
            return cls(name, document, above, systemd=systemd, rootless=rootless, checked=checked)
        if not os.path.isdir(name):
            why = f"there is no such directory, file, or container below {root}"
            raise NajaError(f"{name} is neither a bundle nor a container", why=why)
        return cls(name, config.load(name), name, systemd=systemd, rootless=rootless, checked=checked)

    def plan(self, warn: Callable[[str], None], *, bundle: str = "", **options: Any) -> Plan:
        """Return what creating it would do, or did, in another bundle where one is named.

        ``options`` are those of Creation. Raises NajaError.
        """
        chosen = {"root": "", "gate": True, "detached": False, **options}
        creation = Creation(
            self.id,
            bundle or self.bundle,
            warn=warn,
            rootless=self.rootless,
            systemd_cgroup=self.systemd,
            **chosen,
        )
        return creation.plan(self.config)


def _read_file(path: str) -> dict[str, Any]:
    try:
        document = json.loads(json.read(path), path)
    except OSError as error:
        raise NajaError.from_os_error(f"read {path}", error) from None
    if type(document) is not dict:
        raise NajaError(f"{path} holds no JSON object")
    return document
