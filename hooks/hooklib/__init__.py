"""What the hook programs that ship with naja share."""

import os
import sys

_HOOKS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
# Where naja is installed they are inside of the package "runtime", in a checkout beside it.
_PACKAGE = _HOOKS.removesuffix("/share/hooks")
if os.path.basename(_PACKAGE) != "runtime" or _PACKAGE == _HOOKS:
    _PACKAGE = os.path.join(os.path.dirname(_HOOKS), "runtime")


def _is_ours(path: str) -> bool:
    """Tell whether a directory is of this file's owner, and nobody else may write to it."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return status.st_uid == os.stat(__file__).st_uid and not status.st_mode & 0o002


# Hooks run as root wherever they were copied to: what somebody has put beside them is not naja.
if _is_ours(_PACKAGE) and _is_ours(os.path.dirname(_PACKAGE)):
    sys.path.append(os.path.dirname(_PACKAGE))
