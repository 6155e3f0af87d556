"""Who asks, and what follows from that alone."""

from __future__ import annotations

import os

from ..container.creation import is_rootless, may_mount
from .attempt import as_root_inside, tried

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Host:
    """The caller on this host. ``rootless`` is as for Creation: without root's privileges over the host."""

    def __init__(self, rootless: bool | None = None) -> None:
        self.rootless = is_rootless() if rootless is None else rootless
        #: Whether it may mount, and make namespaces, as it is; else in a user namespace at best.
        self.privileged = may_mount()

    def inside(self, attempt: Callable[[], object]) -> str:
        """Try something with the rights that the root of a container has before it gives them up."""

        def do() -> None:
            if not self.privileged:
                as_root_inside()
            attempt()

        return tried(do)

    def name(self) -> str:
        """Return who asks, in words."""
        try:
            import pwd

            user = pwd.getpwuid(os.geteuid()).pw_name
        except (KeyError, ImportError):
            user = str(os.geteuid())
        where = " of a user namespace" if self.rootless and os.geteuid() == 0 else ""
        return f"{user}{where}"
