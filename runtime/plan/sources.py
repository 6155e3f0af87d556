"""Compiles the sources of bind mounts that the runtime has to open itself, and id-mapped ones.

All are opened before the first mount is made, but those whose way leads through the container's root: what
they are may depend on an earlier mount. Which way that is, links of the host say; else this is pure.
"""

from __future__ import annotations

import os

from ..errors import NajaError
from ..operations.sources import OpenSource, ShowMounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from .mount import Mount
    from .mount_options import Mapping
    from .request import Request


def is_prepared(mount: Mount, request: Request) -> bool:
    """Tell whether the runtime opens the source of a mount, and not the init.

    It does where ids are mapped, which takes privileges over the file system; and, if it may, where the
    init is in a user namespace, as somebody who may not be able to reach the source.
    """
    if not mount.bind or mount.options.remount:
        return False
    return mount.maps_ids or ("user" in request.namespaces() and request.may_mount)


def open_first(mount: Mount, request: Request, propagation: int) -> list[Operation]:
    """Return what opens the source of a mount before any is made. Raises NajaError."""
    if not is_prepared(mount, request) or is_among(mount, request):
        return []
    return [_open(mount, request, propagation)]


def open_in_turn(mount: Mount, request: Request, propagation: int) -> list[Operation]:
    """Return what opens the source of a mount when it is its turn. Raises NajaError."""
    if not is_prepared(mount, request) or not is_among(mount, request):
        return []
    return [ShowMounts(origin=mount.origin), _open(mount, request, propagation, among=True)]


def is_among(mount: Mount, request: Request) -> bool:
    """Tell whether mounts of the container are on the way to a source, or would be taken along."""
    root = os.path.realpath(os.path.join(request.bundle, request.config["root"]["path"]))
    end = _walk(mount.source, root)
    return not end or (mount.options.recursive and f"{root}/".startswith(f"{end.rstrip('/')}/"))


#: As many symbolic links as the kernel follows (path_resolution(7)).
_MOST_LINKS = 40


def _walk(path: str, root: str) -> str:
    """Return where a path leads to over the host's links; "" where the way leads through a directory."""
    at, links = "", 0
    parts = path.split("/")[::-1]
    while parts:
        part = parts.pop()
        if part in ("", ".", ".."):
            at = at.rpartition("/")[0] if part == ".." else at
            continue
        here, at = at, f"{at}/{part}"
        if at == root:
            return ""
        try:
            link = os.readlink(at)
        except OSError:
            continue  # None, or nothing yet.
        links += 1
        if links > _MOST_LINKS:
            break
        parts += link.split("/")[::-1]
        at = "" if link.startswith("/") else here
    return at or "/"


def _open(mount: Mount, request: Request, propagation: int, *, among: bool = False) -> OpenSource:
    options = mount.options
    uids, gids, namespace = mapping(mount, request) if mount.maps_ids else ([], [], "")
    return OpenSource(
        mount.name,
        mount.source,
        recursive=options.recursive,
        follow=not (options.source_nofollow or options.copy_symlink),
        propagation=propagation,
        uids=uids,
        gids=gids,
        namespace=namespace,
        map_all=options.recursive_idmap,
        among=among,
        origin=mount.origin,
    )


def mapping(mount: Mount, request: Request) -> tuple[list[Mapping], list[Mapping], str]:
    """Return uids, gids, and the path of a user namespace that maps instead of them. Raises NajaError."""
    linux = request.config.get("linux") or {}
    of_container = {"uids": triples(linux.get("uidMappings")), "gids": triples(linux.get("gidMappings"))}
    own = {
        "uids": triples(mount.entry.get("uidMappings")),
        "gids": triples(mount.entry.get("gidMappings")),
    }
    for kind, entries in mount.options.mappings.items():
        own[kind] = [
            _relative(triple, of_container[kind], mount) if relative else triple
            for triple, relative in entries
        ]
    if not own["uids"] and not own["gids"]:
        namespace = request.namespaces().get("user", "")
        if namespace:
            return [], [], namespace
    uids, gids = own["uids"] or of_container["uids"], own["gids"] or of_container["gids"]
    if not uids or not gids:
        missing = "uids" if not uids else "gids"
        what = f"the mount on {mount.destination} maps ids"
        why = f"neither it nor a user namespace of the container says how {missing} are mapped"
        raise NajaError(what, why=why, origin=mount.origin)
    return uids, gids, ""


def triples(entries: list[dict[str, Any]] | None) -> list[Mapping]:
    """Return id mappings of config.json as operations have them."""
    return [(entry["containerID"], entry["hostID"], entry["size"]) for entry in entries or ()]


def _relative(triple: Mapping, of_container: list[Mapping], mount: Mount) -> Mapping:
    """Turn an id of the container into the host's ("@" of crun's idmap option)."""
    first, inside, size = triple
    for start, outside, length in of_container:
        if start <= inside and inside + size <= start + length:
            return first, outside + inside - start, size
    what = f"ids {inside} to {inside + size - 1} are not mapped in the container's user namespace"
    raise NajaError(what, origin=mount.origin)
