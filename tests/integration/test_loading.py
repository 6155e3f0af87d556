"""What a verb needs is loaded at once: importlib looks for none of it, one module after the other."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from naja.startup import precompiled
from tests.support.needs import requires_command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

pytestmark = requires_command("strace")

#: Prints the modules that a verb loads at once, and those that every command does.
_GROUPS = f"""
import sys
{precompiled.boot()}
groups = sys.meta_path[0]._groups
print(*groups["command"][0], *groups[sys.argv[1]][0])
"""


def at_once(verb: str) -> set[str]:
    """Return the modules that a verb loads in groups."""
    command = [sys.executable, "-IS", "-c", _GROUPS, verb]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return {"naja.startup.precompiled", *listed.split()}


def loaded(argv: list[str], log: Path) -> set[str]:
    """Run a command; return the modules whose sources it has looked at, as it does before each is loaded."""
    words = ["strace", "-qq", "-e", "trace=newfstatat,stat,openat", "-o", str(log), *argv]
    # Of the runtime alone: strace would wait for the container, too.
    null = subprocess.DEVNULL  # A container would keep a pipe open.
    done = subprocess.run(words, stdin=null, stdout=null, stderr=null, timeout=60, check=False)
    assert done.returncode == 0, log.read_text()[-2000:]
    found = re.findall(rf'"{re.escape(precompiled.PACKAGE)}/(\S+)\.py"', log.read_text(errors="replace"))
    return {f"naja.{path.replace('/', '.')}".removesuffix(".__init__") for path in found}


@pytest.mark.parametrize("verb", ["create", "run", "start", "exec", "state", "kill", "delete"])
def test_no_module_is_loaded_on_its_own(naja: Runtime, bundle: Bundle, tmp_path: Path, verb: str) -> None:
    if naja.name != "naja":
        pytest.skip("needs naja")
    bundle.args("/bin/sleep", "1000")
    words = {"create": ["--bundle", bundle.path], "run": ["--detach", "--bundle", bundle.path]}.get(verb, [])
    more = {"exec": ["/bin/true"], "kill": ["KILL"], "delete": ["--force"]}.get(verb, [])
    if verb == "start":
        naja.create(bundle)
    elif verb not in ("create", "run"):
        naja.run_detached(bundle)
    log = tmp_path / "trace"
    alone = loaded(naja.command(verb, *words, bundle.id, *more), log) - at_once(verb)
    # Which of these it is depends on the host's cgroups.
    assert [name for name in sorted(alone) if not name.endswith(("v1", "v2"))] == []
