"""Restore: a container is made from its bundle and from what ``naja.container.checkpoint`` saved of it."""

from __future__ import annotations

import os

from .. import cgroups, config, hooks
from ..config import json
from ..criu import messages, mounts, service
from ..errors import Aftermath, NajaError, Unsupported
from ..linux import namespaces, process
from ..operations.base import RUNTIME, Context, apply_all
from ..operations.limits import ResetAffinity
from ..operations.terminal import send_descriptor, serve
from ..plan import cgroup
from ..plan.creation import hook_state
from ..process.attached import Attached
from . import state
from .caller import check_pid_file
from .checkpoint import DESCRIPTORS, FOREIGN, Directories, common_options, is_foreign
from .creation import Creation
from .lifecycle import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: The directory of a container's state that its mounts are laid out in for CRIU.
_STAGING = "criu"

#: Namespaces that CRIU can make, but not join.
_NOT_JOINED = ("cgroup", "time", "mount")


def restore(
    id: str,
    bundle: str,
    images: str,
    *,
    root: str | None = None,
    work: str = "",
    parent: str = "",
    detach: bool = False,
    no_subreaper: bool = False,
    options: dict[str, Any] | None = None,
    warn: Callable[[str], None],
    **making: Any,
) -> int:
    """Make a container from its bundle and the directory ``images``. Returns its exit code, or 0.

    ``work`` is where CRIU's log goes, else with the images; ``parent`` the earlier image that they
    build on, relative to them. ``options`` are further ones of CRIU's, by their names in
    ``messages.OPTIONS``; ``making`` those of ``Creation``. Otherwise as ``naja.container.running.run``.
    Raises NajaError; then nothing of the container is left.
    """
    root = root or state.default_root()
    attached = None if detach else Attached()
    if attached and not no_subreaper:
        process.set_child_subreaper(True)
    try:
        restoration = Restoration(id, bundle, root=root, warn=warn, gate=False, detached=detach, **making)
        restoration.make_from(images, work, parent, options or {})
        restoration.directory.unlock()
        if attached is None:
            return 0
        if restoration.console >= 0:
            attached.relay(restoration.console)
        code = attached.wait(restoration.init)
    finally:
        if attached:
            attached.close()
    Container(restoration.directory, restoration.record, warn).delete(force=True)
    return code


class Restoration(Creation):
    """A container in the making from its images; CRIU takes the place of the stage and the init."""

    def make_from(self, images: str, work: str, parent: str, options: dict[str, Any]) -> None:
        """Make the container. Raises NajaError; then nothing of it is left."""
        check_pid_file(self.pid_file)
        process.require_proc()
        service.require_version()
        stdio = _read_descriptors(images)
        _check_parent(images, parent)
        hierarchies = cgroups.detect()
        self.config, content = config.read(self.bundle)
        self._compile(hierarchies)
        self._require_terminal()
        signals = process.EndingSignals()
        try:
            self.directory = state.StateDirectory.create(self.root, self.id)
            self.directory.claim()
        except BaseException:
            signals.come()
            raise
        try:
            signals.come()
            self._staging = os.path.join(self.directory.path, _STAGING)
            self._manager.intend(self.directory.identity())
            self._begin_record(content, _STAGING)
            mounts.make_mount_points(self._request)
            with Directories(images, work) as directories:
                self._restore(directories, stdio, options)
        except BaseException as error:
            with Aftermath(error):
                self.take_back()
            raise

    def _restore(self, directories: Directories, stdio: list[str], options: dict[str, Any]) -> None:
        foreign, joined = self._namespaces()
        # Where stdout and stderr were one pipe, they become the caller's stdout: the first one counts.
        inherited = {key: number for number, key in reversed([*enumerate(stdio)]) if is_foreign(key)}
        options = {
            **options,
            **common_options(self.config),
            **directories.options("restore.log"),
            "root": os.path.join(self.bundle, self.config["root"]["path"]),
            "rst_sibling": True,
            # The newer way to restore mounts takes the sharing of all that come from one file system from
            # a single mount, which has to show all of it: ours show the sources only.
            "mntns_compat_mode": True,
            "external": mounts.restored(self._request, self._staging),
            "inherit_fd": [
                messages.encode(messages.INHERITED, {"key": key, "fd": descriptor})
                for key, descriptor in (inherited | foreign).items()
            ],
            "join_ns": joined,
        }

        def prepare() -> None:
            mounts.stage(self._request, self._staging, self.warn)
            directories.reopen()

        with service.Service(keep=[*directories.descriptors, *foreign.values()], prepare=prepare) as criu:
            self._enter_cgroup(criu.pid)
            options["cg_root"] = _cgroup_roots(criu.pid)
            criu.begin()
            encoded = messages.encode(messages.OPTIONS, options)
            answer = criu.request(messages.RESTORE, self._listen, opts=encoded)
        for descriptor in foreign.values():
            os.close(descriptor)
        if not answer["success"]:
            raise NajaError(f"restore container {self.id}", why=service.last_errors(directories.log))

    def _enter_cgroup(self, pid: int) -> None:
        """Make the container's cgroup, and have CRIU be in it: so will be what it restores."""
        context = Context(RUNTIME, self.warn)
        context.pid = context.values["stage"] = pid
        self._manager.follow(context)
        entering = [*cgroup.enter(self._request), ResetAffinity()]
        apply_all(cgroup.prepare(self._request) + entering, context)

    def _namespaces(self) -> tuple[dict[str, int], list[bytes]]:
        """Return the namespaces that the config names by path, as CRIU wants them. Raises NajaError.

        Some are descriptors by the names that the image has for them, the others are joined by path.
        """
        if "mount" not in self._request.namespaces():
            raise Unsupported("restore without a mount namespace", origin="/linux/namespaces")
        foreign: dict[str, int] = {}
        joined: list[bytes] = []
        for index, entry in enumerate(self.config["linux"].get("namespaces") or ()):
            kind, path, origin = entry["type"], entry.get("path", ""), f"/linux/namespaces/{index}/path"
            if not path:
                continue
            if kind in FOREIGN:
                try:
                    foreign[FOREIGN[kind][1]] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                except OSError as error:
                    raise NajaError.from_os_error(f"open namespace {path}", error, origin=origin) from None
            elif kind in _NOT_JOINED:
                raise Unsupported(f"restore into an existing {kind} namespace", origin=origin)
            else:
                name = namespaces.file_name(kind)
                joined.append(messages.encode(messages.JOINED, {"ns": name, "ns_file": path}))
        return foreign, joined

    def _listen(self, event: str, pid: int, descriptors: list[int]) -> None:
        """Do what is due at a stage of the restore. Raises NajaError; then CRIU gives up."""
        if event == "setup-namespaces":
            self._born(pid)
            for kind in ("prestart", "createRuntime"):
                document = {**hook_state(self._request, kind), "pid": pid}
                entries = (self.config.get("hooks") or {}).get(kind) or []
                hooks.run_hooks(kind, entries, json.dumps(document), document["bundle"])
        elif event == "orphan-pts-master":
            self._take_console(descriptors[0])
        elif event == "post-restore":
            self.init = pid
            if self.config["root"].get("readonly"):
                mounts.make_root_readonly(pid)
            self._draft()
            self._ready()

    def _take_console(self, master: int) -> None:
        socket, _ = self._terminal
        if not socket:
            serve(master, sized=False)
            self.console = master
            return
        try:
            send_descriptor(socket, master, b"/dev/ptmx")
        except OSError as error:
            raise NajaError.from_os_error(f"send the terminal to {socket}", error) from None
        finally:
            os.close(master)


def _cgroup_roots(pid: int) -> list[bytes]:
    """Say where the saved cgroups are now: where CRIU is, in each hierarchy."""
    roots = []
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _, names, path = line.rstrip("\n").split(":", 2)
            roots += [
                messages.encode(messages.CGROUP_ROOT, {"ctrl": name, "path": path})
                for name in names.split(",")
            ]
    return roots


def _read_descriptors(images: str) -> list[str]:
    """Return what the saved process had as stdio. Raises NajaError where there is no image."""
    path = os.path.join(images, DESCRIPTORS)
    try:
        found = json.loads(json.read(path), path)
    except OSError as error:
        raise NajaError.from_os_error(f"open {path}", error) from None
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise NajaError(f"{path} is not a list of strings")
    return found


def _check_parent(images: str, parent: str) -> None:
    """Images name the earlier one that they build on themselves; it has to be the one given."""
    if not parent:
        return
    try:
        if os.path.samefile(os.path.join(images, "parent"), os.path.join(images, parent)):
            return
    except OSError as error:
        raise NajaError.from_os_error(f"open the parent image {parent} of {images}", error) from None
    raise NajaError(f"the images in {images} do not build on {parent}")
