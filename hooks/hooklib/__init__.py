"""What the hook programs that ship with naja share."""

import os
import sys
from importlib import util

_HOOKS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_ABOVE = os.path.dirname(_HOOKS)


def _is_ours(path: str) -> bool:
    """Tell whether a directory is of this file's owner, and nobody else may write to it."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return status.st_uid == os.stat(__file__).st_uid and not status.st_mode & 0o002


def _find_package(directory: str) -> None:
    """Make ``import naja`` find a directory, whatever that is called."""
    spec = util.spec_from_file_location(
        "naja", f"{directory}/__init__.py", submodule_search_locations=[directory]
    )
    assert spec and spec.loader
    package = sys.modules["naja"] = util.module_from_spec(spec)
    spec.loader.exec_module(package)


# Where naja is installed the hooks are inside of the package, in a checkout beside it. They run as root
# wherever they were copied to: what somebody has put beside them is not naja.
_INSTALLED = _HOOKS.endswith("/naja/share/hooks")
_PACKAGE = os.path.dirname(_ABOVE) if _INSTALLED else f"{_ABOVE}/runtime"
if _is_ours(_PACKAGE) and _is_ours(os.path.dirname(_PACKAGE)):
    _find_package(_PACKAGE)
    if _INSTALLED:
        sys.path.append(os.path.dirname(_PACKAGE))  # For what naja was installed with.
