"""What a property of config.json is seen to do: by a shell in a container, or in a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


def shown(naja: Runtime, bundle: Bundle, script: str) -> str:
    """Return what a shell script prints in the bundle's container; it may end in a failure."""
    return naja.run_attached(bundle.shell(script + "\ntrue")).stdout.strip()


def refused(naja: Runtime, bundle: Bundle) -> str:
    """Return the one line that says why the bundle's container cannot be made."""
    done = naja.run_attached(bundle.save(), check=False)
    assert done.status != 0, done
    assert done.stderr.count("\n") == 1, done
    return done.stderr
