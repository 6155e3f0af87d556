"""Compiles the sources of bind mounts that the runtime has to open itself, and id-mapped ones. Pure."""

from __future__ import annotations

from ..errors import NajaError
from ..operations.sources import OpenSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .mount import Mount
    from .mount_options import Mapping
    from .request import Request


def is_prepared(mount: Mount, request: Request) -> bool:
    """Tell whether the runtime opens the source of a mount, and not the init.

    It does where ids are mapped, which takes privileges over the file system; and where the init is
    in a user namespace, as somebody who may not be able to reach the source.
    """
    if not mount.bind or mount.options.remount:
        return False
    return mount.maps_ids or ("user" in request.namespaces() and not request.rootless)


def open_source(mount: Mount, request: Request, propagation: int) -> OpenSource:
    """Return the operation that opens the source of a mount. Raises NajaError."""
    options = mount.options
    uids, gids, namespace = _mapping(mount, request) if mount.maps_ids else ([], [], "")
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
        origin=mount.origin,
    )


def _mapping(mount: Mount, request: Request) -> tuple[list[Mapping], list[Mapping], str]:
    """Return uids, gids, and the path of the user namespace that is to map instead of them."""
    linux = request.config.get("linux") or {}
    of_container = {"uids": _triples(linux.get("uidMappings")), "gids": _triples(linux.get("gidMappings"))}
    own = {
        "uids": _triples(mount.entry.get("uidMappings")),
        "gids": _triples(mount.entry.get("gidMappings")),
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


def _triples(entries: list[dict[str, Any]] | None) -> list[Mapping]:
    return [(entry["containerID"], entry["hostID"], entry["size"]) for entry in entries or ()]


def _relative(triple: Mapping, of_container: list[Mapping], mount: Mount) -> Mapping:
    """Turn an id of the container into the host's ("@" of crun's idmap option)."""
    first, inside, size = triple
    for start, outside, length in of_container:
        if start <= inside and inside + size <= start + length:
            return first, outside + inside - start, size
    what = f"ids {inside} to {inside + size - 1} are not mapped in the container's user namespace"
    raise NajaError(what, origin=mount.origin)
