"""What workers do for the task service: the life cycle of containers, in the ordinary, waiting way.

Each is given the worker's report, and plain data; what it returns travels back as such.
"""

from __future__ import annotations

import os
import stat

from ..config import check_process, check_resources, json
from ..container import state
from ..container.creation import Creation
from ..container.execution import add, rehearse
from ..container.lifecycle import Container
from ..errors import Aftermath, NajaError
from ..process.launch import Launch
from ..resident.leftovers import remove_unfinished
from ..resident.workers import wait_for_word
from . import metrics, rootfs
from .options import KEPT
from .watch import open_watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..resident.workers import Report
    from .watch import Handed


def create(report: Report, order: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Make a container; ``order`` is a CreateTaskRequest and the state root. Returns ``_describe``'s."""
    bundle = order["bundle"]
    _keep_options(bundle, options)
    rootfs.mount_all(order["rootfs"], bundle)
    try:
        creation = Creation(order["id"], bundle, gate=True, **_making(report, order, options))
        with Launch(0) as launch:
            creation.make(launch)
        _give_streams(creation.config, creation.config.get("process") or {}, options)
    except BaseException as error:
        with Aftermath(error):
            rootfs.unmount_all(bundle)
        raise
    return _describe(report, creation)


def undo_create(order: dict[str, Any], worker: int) -> None:
    """Take back what ``create`` or ``restore`` had begun in a worker, by its pid, that was killed."""
    try:
        remove_unfinished(order["root"], order["id"], worker)
    finally:
        rootfs.unmount_all(order["bundle"])


def _making(report: Report, order: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return what all that make a container are told."""
    return {
        "root": order["root"],
        "warn": report.warn,
        "takes_console": True,
        "pid_file": os.path.join(order["bundle"], "init.pid"),
        "no_pivot": options["no_pivot_root"],
        "no_new_keyring": options["no_new_keyring"],
        "systemd_cgroup": options["systemd_cgroup"],
    }


def _describe(report: Report, creation: Creation) -> dict[str, Any]:
    """Hand a container's terminal over; return the pid of its process, and whether it shares others' pids."""
    if creation.console >= 0:
        report.descriptors.append(creation.console)
    entries = creation.config["linux"].get("namespaces") or ()
    own = any(entry["type"] == "pid" and not entry.get("path") for entry in entries)
    return {"pid": creation.init, "shares_pids": not own}


def prepare_restore(report: Report, order: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Make all ready for ``restore``."""
    _keep_options(order["bundle"], options)
    rootfs.mount_all(order["rootfs"], order["bundle"])
    return {"pid": 0, "shares_pids": False}


def restore(report: Report, order: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Make a container from its images, running. Returns what ``_describe`` and ``start`` do."""
    from ..container.restore import Restoration

    bundle = order["bundle"]
    restoration = Restoration(order["id"], bundle, gate=False, **_making(report, order, options))
    work = options["criu_work_path"] or os.path.join(bundle, "work")
    restoration.make_from(order["checkpoint"], work, order["parent_checkpoint"], {})
    container = Container(restoration.directory, restoration.record, report.warn)
    watch = open_watch(container, report)
    return {**_describe(report, restoration), "watch": watch}


def _keep_options(bundle: str, options: dict[str, Any]) -> None:
    path = os.path.join(bundle, KEPT)
    try:
        # Whole or not at all: ``delete`` reads it where this was killed.
        file = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, json.dumps(options).encode())
        finally:
            os.close(file)
        os.rename(f"{path}.new", path)
    except OSError as error:
        raise NajaError.from_os_error(f"write {path}", error) from None


def _give_streams(config: dict[str, Any], program: dict[str, Any], options: dict[str, Any]) -> None:
    """Have FIFOs owned by who reads and writes them: they may be opened again, by /dev/stdout."""
    uid, gid = options["io_uid"] or -1, options["io_gid"] or -1
    mappings = config["linux"].get("uidMappings") or ()
    if (uid, gid) == (-1, -1) and mappings:
        uid = _on_host((program.get("user") or {}).get("uid", 0), mappings)
    if (uid, gid) == (-1, -1):
        return
    for descriptor in range(3):
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.fchown(descriptor, uid, gid)


def _on_host(uid: int, mappings: Any) -> int:
    """Return who a user of a user namespace is on the host, -1 for nobody."""
    for mapping in mappings:
        if 0 <= uid - mapping["containerID"] < mapping["size"]:
            return int(mapping["hostID"] + uid - mapping["containerID"])
    return -1


def start(report: Report, id: str, root: str) -> Handed | None:
    """Let a container's process run its program. Returns what ``watch_oom`` takes."""
    container = Container.load(id, root=root, warn=report.warn)
    watch = open_watch(container, report)
    container.start()
    return watch


def execute(report: Report, order: dict[str, Any], program: dict[str, Any], *, begun: bool = False) -> int:
    """Add a process to a container; ``order`` is an ExecProcessRequest with more. Returns its pid.

    ``begun`` where it waits for the word before anything is done: only then its streams are there.
    """
    check_process(program)
    container = Container.load(order["id"], root=order["root"], warn=report.warn)

    def prepared() -> None:
        if begun:
            wait_for_word()
        _give_streams(container.config, program, order["options"])

    pid, console = add(container, program, takes_console=True, prepared=prepared)
    if console >= 0:
        report.descriptors.append(console)
    return pid


def begin_to_execute(report: Report, order: dict[str, Any], program: dict[str, Any]) -> int:
    """Do ``execute``, whose streams come later."""
    return execute(report, order, program, begun=True)


def rehearse_execute(order: dict[str, Any], program: dict[str, Any]) -> None:
    """Do of ``execute`` what touches nothing. Raises NajaError."""
    check_process(program)
    rehearse(Container.load(order["id"], root=order["root"], warn=lambda _: None), program)


def kill(report: Report, id: str, root: str, signal: int, all: bool) -> None:
    """Signal a container's process, or all."""
    Container.load(id, root=root, warn=report.warn).kill(signal, all)


def kill_others(report: Report, id: str, root: str) -> None:
    """Kill what is left of a container whose first process has ended."""
    container = Container.load(id, root=root, warn=report.warn)
    container.status()
    container.kill(9, all=True)


def pause(report: Report, id: str, root: str) -> None:
    """Freeze a container."""
    Container.load(id, root=root, warn=report.warn).pause()


def resume(report: Report, id: str, root: str) -> None:
    """Thaw a container."""
    Container.load(id, root=root, warn=report.warn).resume()


def update(report: Report, id: str, root: str, resources: bytes) -> None:
    """Change a container's limits; ``resources`` is JSON."""
    document = json.loads(resources, "resources")
    check_resources(document)
    Container.load(id, root=root, warn=report.warn).update(document)


def processes(report: Report, id: str, root: str) -> list[int]:
    """Return the pids of all processes of a container."""
    return Container.load(id, root=root, warn=report.warn).processes()


def statistics(report: Report, id: str, root: str) -> tuple[str, bytes]:
    """Return the name of containerd's kind of metrics, and a container's in it."""
    return metrics.encode(Container.load(id, root=root, warn=report.warn))


def checkpoint(report: Report, order: dict[str, Any], options: dict[str, Any]) -> None:
    """Save a container; ``order`` is a CheckpointTaskRequest with more, ``options`` CheckpointOptions."""
    from ..container.checkpoint import checkpoint as save
    from ..criu.messages import CGROUP_MODES
    from ..linux.namespaces import CLONE_NEWNET

    mode = options["cgroups_mode"] or "soft"
    if mode not in CGROUP_MODES:
        raise NajaError(f"no mode of cgroups is called {mode!r}", why=", ".join(CGROUP_MODES))
    wanted: dict[str, Any] = {"manage_cgroups_mode": CGROUP_MODES[mode]}
    names = {"open_tcp": "tcp_established", "external_unix_sockets": "ext_unix_sk"}
    names |= {"terminal": "shell_job", "file_locks": "file_locks"}
    wanted |= {theirs: True for ours, theirs in names.items() if options[ours]}
    if options["empty_namespaces"]:
        if options["empty_namespaces"] != ["network"]:
            raise NajaError(
                "CRIU leaves no namespace empty but network", why=str(options["empty_namespaces"])
            )
        wanted["empty_ns"] = CLONE_NEWNET
    save(
        Container.load(order["id"], root=order["root"], warn=report.warn),
        options["image_path"] or order["path"],
        work=options["work_path"] or os.path.join(order["bundle"], "work"),
        leave_running=not options["exit"],
        options=wanted,
    )


def delete(report: Report, id: str, root: str, bundle: str) -> None:
    """Remove what is left of a stopped container, and its mounts."""
    try:
        Container.open(id, root=root, warn=report.warn).delete()
    except state.NoContainer:
        pass  # A checkpoint, for one, removes it.
    rootfs.unmount_all(bundle)


def clean_up(id: str, root: str, bundle: str, warn: Any) -> int:
    """End and remove a container whose shim was killed, however far it had come. Returns its pid, or 0."""
    pid = 0
    try:
        container = Container.open(id, root=root, warn=warn)
        try:
            container.status()
            pid = container.record.get("pid", 0)
        except NajaError:
            pass  # What is left of it goes all the same.
        container.delete(force=True)
    except state.NoContainer:
        pass
    rootfs.unmount_all(bundle)
    return pid
