"""By which of its four ways the command starts, and why not by the best (docs/design.md, Fast)."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig

from ..linux import libc
from ..startup import precompiled
from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED = "a start in 2 instead of 20 ms; nothing else depends on it"
#: What the ways are called, the best first.
DUMP, EARLY, LAUNCHER, SCRIPT = "dump", "early", "launcher", "script"


def findings() -> Iterator[Finding]:
    """Yield the way of this very process, which is missing something unless it is the first."""
    way = current()
    why, remedy = "", ""
    if way != DUMP:
        why, remedy = _reason(way)
        why = f"it starts by {way}: {why}"
    yield Finding("start", why, needed=_NEEDED, detail=f"by {way}", remedy=remedy)


def current() -> str:
    """Return the way by which this process has been started."""
    from ..startup.seal import is_sealed

    if "_early" in sys.builtin_module_names:
        return DUMP if _is_dumped() else EARLY
    return LAUNCHER if is_sealed() else SCRIPT


def _is_dumped() -> bool:
    """Tell whether this process goes on from a dump: it has what no module but the dump has loaded."""
    return "naja.startup.dumped" in sys.modules


def _reason(way: str) -> tuple[str, str]:
    """Return why it is no better one, and what helps."""
    write = "python -m naja.startup.launcher FILE (in a checkout: make command)"
    if way == SCRIPT:
        if not shutil.which("cc") and not os.path.exists(libc.FILE):
            return "there is no C compiler", f"install gcc and python3-dev, then {write}"
        return "it was not called by the command that naja writes", f"call that, or write it: {write}"
    archive = f"{sysconfig.get_config_var('LIBPL')}/{sysconfig.get_config_var('LIBRARY')}"
    if way == LAUNCHER and not os.path.exists(archive):
        return "Python's headers and archive are missing", f"install python3-dev, then {write}"
    changed = precompiled_changed()
    if changed:
        return f"{changed} has changed since the command was written", write
    return "the dump could not be made, or this Python does not bear it", f"{write} tells more"


def precompiled_changed() -> str:
    """Return a source file that is newer than the compiled modules; "" where there is none."""
    try:
        written = os.stat(precompiled.FILE).st_mtime_ns
    except OSError:
        return ""
    for directory, _, names in os.walk(precompiled.PACKAGE):
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith(".py") and os.stat(path).st_mtime_ns > written:
                return path
    return ""
