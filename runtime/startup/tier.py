"""How this very process was started, for ``naja --version``: in the fastest way, or why not.

Engines' verbs never ask.
"""

from __future__ import annotations

import os
import sys

from . import precompiled

__all__ = ["told"]

#: The directory that Debian's packages have their modules in.
_DISTRIBUTION = "/usr/lib/naja"


def told(command: str) -> str:
    """Return a line, without its end; ``command`` is the name that naja was called by."""
    finder = sys.meta_path[0] if sys.meta_path else None
    loaded = isinstance(finder, precompiled.Finder)
    if isinstance(finder, precompiled.Finder) and finder.is_dumped():
        return "from a dump"
    why = _reason() if loaded or sys.flags.isolated else "this is not the command that its launcher writes"
    if not why:
        return (
            "by half of Python's start" if "_early" in sys.builtin_module_names else "as an ordinary Python"
        )
    return f"slower than it could be, as {why}; {_remedy(command)}"


def _reason() -> str:
    """Return why naja was not started from what was made for it; "" where nothing was."""
    tag = f".{sys.implementation.cache_tag}"
    try:
        made = os.listdir(os.path.dirname(precompiled.FILE))
    except OSError:
        made = []
    if f"precompiled{tag}" not in made:
        return "it was installed for another Python"
    return "Python or a module has changed since" if f"warm{tag}" in made else ""


def _real(command: str) -> str:
    """Return the file of the command that naja was called by (environ(7))."""
    directories = [""] if "/" in command else os.environ.get("PATH", "").split(":")
    places = (os.path.join(directory, command) for directory in directories)
    return os.path.realpath(next(filter(os.path.isfile, places), "naja"))


def _remedy(command: str) -> str:
    """Return what to do, or by whom it is done."""
    home = os.path.dirname(precompiled.PACKAGE)
    if home == _DISTRIBUTION:
        return "a package made for this Python has it"
    words = [sys.executable, "-m", "naja.startup.launcher"]
    if sys.flags.isolated:
        # By itself it would not find naja; what was added last is where its dependencies are.
        words = [f"PYTHONPATH={home}", *words]
        if sys.path[-1] != home:
            words += ["--packages", sys.path[-1]]
    return "faster after: " + " ".join([*words, _real(command)])
