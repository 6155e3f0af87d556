"""Called by hatchling when it builds a wheel: what pyproject.toml cannot say.

In the checkout the package naja is the folder runtime/. An editable install finds it by a link, in the
directory that pyproject.toml names (dev-mode-dirs); any other gets the schemas and the hooks inside, and
man pages and completion beside it. The command in a wheel is pip's: the fast one is made for one Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_LINK, _FOLDER = "build/import/naja", "../../runtime"

#: By shell: where its completion is looked for.
_COMPLETIONS = {
    "bash": "share/bash-completion/completions/naja",
    "zsh": "share/zsh/site-functions/_naja",
    "fish": "share/fish/vendor_completions.d/naja.fish",
}


class Naja(BuildHookInterface[Any]):
    """The hook; hatchling finds it by its base class."""

    _scratch = ""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Prepare a build; ``version`` is "editable" or "standard". Raises OSError, CalledProcessError."""
        if version == "editable":
            self._link()
            return
        for name in ("schemas", "hooks"):
            build_data["force_include"][name] = f"naja/share/{name}"
        build_data["shared_data"].update(self._documents())

    def finalize(self, _version: str, _build_data: dict[str, Any], _artifact: str) -> None:
        """Take away what was made for the build."""
        if self._scratch:
            shutil.rmtree(self._scratch)

    def _link(self) -> None:
        link = os.path.join(self.root, _LINK)
        os.makedirs(os.path.dirname(link), exist_ok=True)
        if not os.path.islink(link):
            os.symlink(_FOLDER, link)

    def _documents(self) -> dict[str, str]:
        """Make man pages and completion; return where they are, and where they will be below the prefix."""
        self._scratch = tempfile.mkdtemp()
        os.symlink(os.path.join(self.root, "runtime"), f"{self._scratch}/naja")
        found = {}
        self._run("naja.cli.manual", f"{self._scratch}/man")
        for name in os.listdir(f"{self._scratch}/man"):
            found[f"{self._scratch}/man/{name}"] = f"share/man/man8/{name}"
        for shell, place in _COMPLETIONS.items():
            with open(f"{self._scratch}/{shell}", "wb") as file:
                file.write(self._run("naja", "completion", shell))
            found[file.name] = place
        return found

    def _run(self, module: str, *words: str) -> bytes:
        environment = {**os.environ, "PYTHONPATH": self._scratch, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, "-m", module, *words], env=environment, check=True, stdout=subprocess.PIPE
        ).stdout
