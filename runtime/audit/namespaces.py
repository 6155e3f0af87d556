"""What a container shares with the host, or with others: namespaces, and the ids of a user namespace."""

from __future__ import annotations

from .exposure import Exposure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts

#: Weight, whether it takes root's rights, and what could be done, by kind. A time namespace hides nothing
#: but the boot time; who may set the clock has CAP_SYS_TIME, with one or without.
_HOST = {
    "pid": (3.0, True, "sees all processes of the host; may signal and look into those of its user"),
    "network": (2.5, False, "uses the host's network, its loopback services and abstract sockets"),
    "ipc": (1.0, True, "reads and changes the host's shared memory, semaphores and message queues"),
    "uts": (0.3, True, "knows the host's name; may change it with CAP_SYS_ADMIN"),
    "mount": (1.0, True, "is kept to its root by its root directory alone"),
    "cgroup": (0.2, False, "sees where its cgroups lie on the host"),
}

_ALREADY = "the wall between root inside and root of the host"


def exposures(facts: Facts) -> Iterator[Exposure]:
    """Yield what namespaces expose."""
    yield from _users(facts)
    for kind, (path, origin) in facts.host.items():
        if kind in _HOST:
            weight, takes_root, what = _HOST[kind]
            fix = f"remove the path at {origin}" if path else f'add {{"type": "{kind}"}} to {origin}'
            share = facts.reach if takes_root else 1.0
            yield Exposure(
                f"host-{kind}", weight * share, origin, f"the host's {kind} namespace: {what}", fix
            )
    for kind, (path, origin) in facts.joined.items():
        what = f"joins the {kind} namespace {path}: what is in there is its own as well"
        yield Exposure("joined-namespace", 0.3, origin, what, f"remove {origin}")


def _users(facts: Facts) -> Iterator[Exposure]:
    if not facts.confined:
        origin = facts.host["user"][1]
        fix = f'add {{"type": "user"}} to {origin}, and /linux/uidMappings and gidMappings'
        if facts.uid == 0:
            what = (
                "root without a user namespace: whoever gets out, or reaches a file of the host, is its root"
            )
            yield Exposure("root-is-root", 2.0, "/process/user/uid", what, fix)
        else:
            what = f"no user namespace: its user {facts.uid} is the host's user {facts.uid}"
            yield Exposure("no-user-namespace", 0.5, origin, what, fix)
    elif facts.maps_root:
        what = "root of the host is mapped into the user namespace: its files are the container's"
        yield Exposure(
            "maps-host-root", 2.5, "/linux/uidMappings", what, "map to ids that nobody has (hostID 100000)"
        )
