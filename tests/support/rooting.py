"""Setting up a root file system in a forked child, as an init does, and looking at it from inside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from naja.linux import mounts as kernel
from naja.linux import namespaces, process
from naja.operations.base import INIT, Context, apply_all
from naja.operations.sources import make_user_namespace
from naja.plan import mounts
from naja.plan.request import Request
from tests.support.child import in_child
from tests.support.rootless import let_through

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Ids of user namespaces in tests: root inside is this user outside.
OUTSIDE = 100000
MAPPING = [{"containerID": 0, "hostID": OUTSIDE, "size": 65536}]


class Root:
    """A small root file system on disk, and the config that it is set up by."""

    def __init__(self, bundle: Path) -> None:
        self.bundle = bundle
        self.path = bundle / "rootfs"
        for name in ("dev", "etc", "proc", "sys", "tmp", "data"):
            (self.path / name).mkdir(parents=True)
        self.config: dict[str, Any] = {
            "ociVersion": "1.3.0",
            "root": {"path": "rootfs"},
            "process": {"cwd": "/"},
            "mounts": [],
            "linux": {"namespaces": [{"type": "mount"}]},
        }

    def mount(self, destination: str, kind: str, *options: str, source: str = "none", **more: Any) -> Root:
        """Add an entry to ``mounts``; return the root."""
        entry = {"destination": destination, "type": kind, "source": source, "options": list(options), **more}
        self.config["mounts"].append(entry)
        return self

    def usual_mounts(self) -> Root:
        """Add /proc, /dev and /dev/pts."""
        self.mount("/proc", "proc").mount("/dev", "tmpfs", "nosuid", "mode=755")
        return self.mount("/dev/pts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620")

    def give_away(self) -> None:
        """Let root of the tests' user namespace own the root file system, and reach it."""
        for path in [self.path, *self.path.rglob("*")]:
            os.chown(path, OUTSIDE, OUTSIDE)
        let_through(str(self.bundle.parent))

    def set_up(
        self,
        probe: Callable[[Context], Any],
        *,
        between: Callable[[Context], None] | None = None,
        user: bool = False,
        pids: bool = True,
        network: bool = True,
        **request: Any,
    ) -> Any:
        """Set the root up in a child, and return what ``probe`` returns inside.

        ``between`` runs when hooks would; with ``user`` all happens in a user namespace, which owns
        the ``pids`` and the ``network`` too. Nothing may be imported by ``probe``: its root is the
        container's. Raises what goes wrong.
        """
        if user:
            kinds = ["user"] + ["pid"] * pids + ["network"] * network
            self.config["linux"]["namespaces"] += [{"type": kind} for kind in kinds]
            self.config["linux"].update(uidMappings=MAPPING, gidMappings=MAPPING)
        asked = Request(self.config, id="test", bundle=str(self.bundle), **request)

        def work() -> Any:
            context = Context(INIT, lambda text: None)
            os.setsid()
            apply_all(mounts.prepare(asked), context)
            if user:
                become_user()
                # procfs and sysfs may be mounted by the owner of the namespaces that they show.
                namespaces.unshare(namespaces.flags(kinds[1:]))
                return in_child(lambda: inside(context))
            return inside(context)

        def inside(context: Context) -> Any:
            namespaces.unshare(namespaces.CLONE_NEWNS)
            apply_all(mounts.before_hooks(asked), context)
            if between:
                between(context)
            apply_all(mounts.after_hooks(asked), context)
            return probe(context)

        return in_child(work)


def become_user() -> None:
    """Become root of a new user namespace."""
    triples = [(entry["containerID"], entry["hostID"], entry["size"]) for entry in MAPPING]
    namespaces.setns(make_user_namespace(triples, triples), namespaces.CLONE_NEWUSER)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    process.set_dumpable(True)


def mounts_inside() -> dict[str, tuple[str, set[str]]]:
    """Return file system type and mount options by mount point, as the caller's /proc tells."""
    found = {}
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            words = line.split(" ")
            found[words[4]] = (words[words.index("-") + 1], set(words[5].split(",")))
    return found


def private_host() -> None:
    """Enter a copy of the host's mounts that a test may change."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    kernel.set_propagation("/", kernel.MS_PRIVATE | kernel.MS_REC)
