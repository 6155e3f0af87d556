"""Checkpoint: a running container is saved to files, from which ``naja.container.restore`` makes it again."""

from __future__ import annotations

import os

from .. import cgroups
from ..config import json
from ..criu import messages, mounts, service
from ..errors import NajaError, Unsupported
from ..linux import namespaces
from ..linux.mounts import mount_id, mount_table
from ..plan import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..linux.process import Held
    from .lifecycle import Container

#: Where CRIU is configured further, for all containers or by an annotation for one, as with runc.
_CONFIG_FILE, CONFIG_ANNOTATION = "/etc/criu/runc.conf", "org.criu.config"

#: Namespaces that a container may have got from others, by the names that runc gives them in images.
#: A restored container is put into those that its own config.json names.
FOREIGN = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}

#: The file in an image that tells what the saved process had as stdin, stdout and stderr.
DESCRIPTORS = "descriptors.json"

_WRONG_STATUS = "Container cannot be checkpointed in {} state"

_ALL_MESSAGES = 4


def checkpoint(
    container: Container,
    images: str,
    *,
    work: str = "",
    parent: str = "",
    page_server: tuple[str, int] | None = None,
    pre_dump: bool = False,
    leave_running: bool = False,
    status_fd: int = -1,
    options: dict[str, Any] | None = None,
) -> None:
    """Save a container into the directory ``images``; then it ends, unless it is to be left running.

    ``work`` is where CRIU's log goes, else with the images. ``parent`` is an earlier image, relative
    to this one. ``pre_dump`` saves no more than the memory. A zero byte is written to ``status_fd``
    when ``page_server`` (address and port), or whoever restores with lazy pages, may come for them.
    ``options`` are further ones of CRIU's, by their names in ``messages.OPTIONS``. Raises NajaError.
    """
    status = container.status()
    if status not in ("running", "paused"):
        raise NajaError(_WRONG_STATUS.format(status), why=container.id)
    if not any(entry["type"] == "mount" for entry in container.config["linux"].get("namespaces") or ()):
        what = "checkpoint a container without a mount namespace"
        raise Unsupported(what, why="its mounts are in no mount table", origin="/linux/namespaces")
    if "naja.landlock" in (container.config.get("annotations") or {}):
        why = "CRIU restores none, and the processes would be free of it"
        raise Unsupported("checkpoint under Landlock", why=why, origin="/annotations/naja.landlock")
    options = dict(options or {})
    service.require_version()
    for feature, wanted in (("mem_track", pre_dump or parent), ("lazy_pages", options.get("lazy_pages"))):
        if wanted:
            service.require_feature(feature)
    if page_server:
        options["ps"] = messages.encode(
            messages.PAGE_SERVER, {"address": page_server[0], "port": page_server[1]}
        )
    if parent:
        options["parent_img"] = parent
        if not os.path.isdir(os.path.join(images, parent)):
            raise NajaError(f"the parent image {parent} is not there, as seen from {images}")
    with (
        Directories(images, work) as directories,
        container.lasting(_WRONG_STATUS.format("stopped")) as held,
    ):
        options |= directories.options("dump.log") | _of_container(container, held)
        options |= {"leave_running": leave_running, "track_mem": pre_dump or bool(parent)}
        if not pre_dump:
            options["external"] = _externals(container, held, images)
        _dump(container.id, messages.PRE_DUMP if pre_dump else messages.DUMP, options, directories, status_fd)
    if not (leave_running or pre_dump):
        container.delete(force=True)


class Directories:
    """The directories of the images and of the logs, made where they are missing, and open."""

    def __init__(self, images: str, work: str = "") -> None:
        """Open them. Raises NajaError."""
        self._paths = [os.path.abspath(path) for path in (images, work) if path]
        self.descriptors: list[int] = []
        for path in self._paths:
            try:
                os.makedirs(path, 0o700, exist_ok=True)
                self.descriptors.append(_open_directory(path))
            except OSError as error:
                self.__exit__()
                raise NajaError.from_os_error(f"open the directory {path}", error) from None

    def __enter__(self) -> Directories:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)

    def reopen(self) -> None:
        """Open them again, under the same numbers, in a new mount namespace. Raises OSError.

        CRIU mounts on what is below them, which only works in the namespace that they belong to.
        """
        for path, descriptor in zip(self._paths, self.descriptors, strict=True):
            here = _open_directory(path)
            os.dup2(here, descriptor)
            os.close(here)

    def options(self, log: str) -> dict[str, Any]:
        """Return CRIU's options for them and its log, of that name."""
        self.log = os.path.join(self._paths[-1], log)
        return {
            "images_dir_fd": self.descriptors[0],
            "work_dir_fd": self.descriptors[-1],
            "log_file": log,
            "log_level": _ALL_MESSAGES,
        }


def _open_directory(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def common_options(config: dict[str, Any]) -> dict[str, Any]:
    """Return CRIU's options that do not depend on the caller, alike for a dump and a restore."""
    options: dict[str, Any] = {"manage_cgroups": True, "notify_scripts": True, "orphan_pts_master": True}
    file = (config.get("annotations") or {}).get(CONFIG_ANNOTATION, "")
    if file or os.path.exists(_CONFIG_FILE):
        options["config_file"] = file or _CONFIG_FILE
    return options


def _of_container(container: Container, held: Held) -> dict[str, Any]:
    """Return CRIU's options that follow from which container it is."""
    options = {**common_options(container.config), "pid": held.pid}
    manager = container.cgroup
    freezer = manager.paths.get("" if manager.kind == "v2" else "freezer")
    if freezer:
        options["freeze_cgroup"] = freezer
    return options


def _externals(container: Container, held: Held, images: str) -> list[str]:
    """Return what CRIU is not to save, as it is not the container's own; take note of its stdio."""
    request = Request(
        container.config,
        id=container.id,
        bundle=container.record["bundle"],
        rootless=container.record["rootless"],
        **cgroups.describe(container.cgroup, cgroups.detect()),
    )
    found = mounts.saved(held.name, request)
    for kind, path in request.namespaces().items():
        if path and kind in FOREIGN:
            word, name = FOREIGN[kind]
            inode = os.stat(f"/proc/{held.name}/ns/{namespaces.file_name(kind)}").st_ino
            found.append(f"{word}[{inode}]:{name}")
    descriptors = _stdio(held.name, container.record.get("stdio") or [""] * 3)
    with open(os.path.join(images, DESCRIPTORS), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(json.dumps(descriptors))
    return found + [text for text in dict.fromkeys(descriptors) if text.startswith("file[")]


def _stdio(process: str, given: list[str]) -> list[str]:
    """Return what a process has as stdin, stdout and stderr: "pipe:[INODE]", or a path, as in /proc.

    ``process`` is what stands for it below /proc.

    A file that is not the container's, but the caller's, is "file[MOUNT:INODE]", as CRIU calls it. What was
    ``given`` to the container counts: a shell puts other files in its place for each of its redirections.
    """
    own = {number for number, _, _ in mount_table(process)}
    found = []
    for number in range(3):
        if given[number]:
            found.append(given[number])
            continue
        try:
            text = os.readlink(f"/proc/{process}/fd/{number}")
        except FileNotFoundError:
            text = ""  # Closed.
        if text.startswith("/"):
            file = os.open(f"/proc/{process}/fd/{number}", os.O_PATH | os.O_CLOEXEC)
            mount, inode = mount_id(file), os.fstat(file).st_ino
            os.close(file)
            if mount not in own:
                text = f"file[{mount:x}:{inode:x}]"
        found.append(text)
    return found


def is_foreign(descriptor: str) -> bool:
    """Tell whether a saved descriptor is one that whoever restores has to have in its place."""
    return descriptor.startswith(("pipe:", "file["))


def _dump(id: str, kind: int, options: dict[str, Any], directories: Directories, status_fd: int) -> None:
    """Let CRIU do it. Raises NajaError with what its log says."""

    def listen(event: str, pid: int, descriptors: list[int]) -> None:
        if event == "status-ready" and status_fd >= 0:
            os.write(status_fd, b"\0")
            os.close(status_fd)

    with service.Service(keep=directories.descriptors) as criu:
        criu.begin()
        answer = criu.request(kind, listen, opts=messages.encode(messages.OPTIONS, options))
    if not answer["success"]:
        raise NajaError(f"checkpoint container {id}", why=service.last_errors(directories.log))
