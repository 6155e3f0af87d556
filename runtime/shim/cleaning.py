"""``delete``: what is left of a container whose shim was killed."""

from __future__ import annotations

import os

from ..config import json
from ..config.json import read
from . import address, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import Settings


def clean_up(settings: Settings, warn: Callable[[str], None]) -> int:
    """End and remove a container, and its socket where nobody listens there.

    Returns its pid, 0 where it is not known. Raises NajaError.
    """
    id, bundle = settings.id, settings.bundle
    try:
        with open(os.path.join(bundle, "address"), "rb") as file:
            where = os.fsdecode(file.read())
        address.ask(where, "Forget", id)
    except OSError:
        pass  # It had not come that far, or is gone.
    try:
        # Of others as well: of a ``start`` that was killed, with its caller, nobody hears.
        address.remove_all_dead()
    except OSError:
        pass
    path = os.path.join(bundle, options.KEPT)
    try:
        chosen = json.loads(read(path), path)
    except OSError:
        chosen = options.read(None)  # Nothing was made, or where everything else is.
    root = options.root(chosen, settings.namespace)
    if not (os.path.lexists(os.path.join(root, id)) or _has_mounts(bundle)):
        return 0  # As a rule: containerd calls at every end of a shim, and waits.
    from . import verbs

    return verbs.clean_up(id, root, bundle, warn)


def _has_mounts(bundle: str) -> bool:
    with open("/proc/self/mountinfo", "rb") as file:
        return os.fsencode(f" {bundle}/") in file.read()
