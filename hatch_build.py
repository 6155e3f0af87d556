"""Called by hatchling when it builds a wheel: what pyproject.toml cannot say.

In the checkout the package naja is the folder runtime/. An editable install finds it by a link, in the
directory that pyproject.toml names (dev-mode-dirs); any other gets the schemas and the hooks inside.
"""

from __future__ import annotations

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_LINK, _FOLDER = "build/import/naja", "../../runtime"


class Naja(BuildHookInterface[Any]):
    """The hook; hatchling finds it by its base class."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Prepare a build; ``version`` is "editable" or "standard". Raises OSError."""
        if version == "editable":
            self._link()
            return
        for name in ("schemas", "hooks"):
            build_data["force_include"][name] = f"naja/share/{name}"

    def _link(self) -> None:
        link = os.path.join(self.root, _LINK)
        os.makedirs(os.path.dirname(link), exist_ok=True)
        if not os.path.islink(link):
            os.symlink(_FOLDER, link)
