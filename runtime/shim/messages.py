"""containerd's messages, as far as a shim hears and says them.

The numbers are those of containerd's .proto files: api/runtime/task/v3/shim.proto (v2 has the same),
api/types, api/events/task.proto, api/services/ttrpc/events/v1/events.proto, api/types/runc/options/oci.proto.
"""

from __future__ import annotations

import time

from .wire import BOOL, BYTES, INT64, MAP, STRING, UINT32, Malformed, Many, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# google/protobuf and what is made of these.
EMPTY = Message("google.protobuf.Empty")
ANY = Message("google.protobuf.Any", type_url=(1, STRING), value=(2, BYTES))
TIMESTAMP = Message("google.protobuf.Timestamp", seconds=(1, INT64), nanos=(2, UINT32))

MOUNT = Message(
    "containerd.types.Mount",
    type=(1, STRING),
    source=(2, STRING),
    target=(3, STRING),
    options=(4, Many(STRING)),
)

_STREAMS: dict[str, tuple[int, Any]] = {"stdin": (5, STRING), "stdout": (6, STRING), "stderr": (7, STRING)}
_ID: dict[str, tuple[int, Any]] = {"id": (1, STRING)}
_PROCESS: dict[str, tuple[int, Any]] = {**_ID, "exec_id": (2, STRING)}

CREATE = Message(
    "CreateTaskRequest",
    **_ID,
    bundle=(2, STRING),
    rootfs=(3, Many(MOUNT)),
    terminal=(4, BOOL),
    **_STREAMS,
    checkpoint=(8, STRING),
    parent_checkpoint=(9, STRING),
    options=(10, ANY),
)
PID = Message("CreateTaskResponse", pid=(1, UINT32))  # StartResponse as well
EXIT = Message("DeleteResponse", pid=(1, UINT32), exit_status=(2, UINT32), exited_at=(3, TIMESTAMP))
EXEC = Message(
    "ExecProcessRequest",
    **_PROCESS,
    terminal=(3, BOOL),
    stdin=(4, STRING),
    stdout=(5, STRING),
    stderr=(6, STRING),
    spec=(7, ANY),
)
STATE = Message(
    "StateResponse",
    **_ID,
    bundle=(2, STRING),
    pid=(3, UINT32),
    status=(4, UINT32),
    **_STREAMS,
    terminal=(8, BOOL),
    exit_status=(9, UINT32),
    exited_at=(10, TIMESTAMP),
    exec_id=(11, STRING),
)
#: A request that names a container, or a process of it and nothing more.
CONTAINER, PROCESS = Message("ContainerRequest", **_ID), Message("ProcessRequest", **_PROCESS)
RESIZE = Message("ResizePtyRequest", **_PROCESS, width=(3, UINT32), height=(4, UINT32))
KILL = Message("KillRequest", **_PROCESS, signal=(3, UINT32), all=(4, BOOL))
CLOSE_IO = Message("CloseIORequest", **_PROCESS, stdin=(3, BOOL))
PROCESS_INFO = Message("containerd.v1.types.ProcessInfo", pid=(1, UINT32), info=(2, ANY))
PIDS = Message("PidsResponse", processes=(1, Many(PROCESS_INFO)))
CHECKPOINT = Message("CheckpointTaskRequest", **_ID, path=(2, STRING), options=(3, ANY))
UPDATE = Message("UpdateTaskRequest", **_ID, resources=(2, ANY), annotations=(3, MAP))
WAIT = Message("WaitResponse", exit_status=(1, UINT32), exited_at=(2, TIMESTAMP))
STATS = Message("StatsResponse", stats=(1, ANY))
CONNECT = Message("ConnectResponse", shim_pid=(1, UINT32), task_pid=(2, UINT32), version=(3, STRING))
SHUTDOWN = Message("ShutdownRequest", **_ID, now=(2, BOOL))

#: enum containerd.v1.types.Status
STATUSES = {"unknown": 0, "created": 1, "running": 2, "stopped": 3, "paused": 4, "pausing": 5}

OPTIONS = Message(
    "containerd.runc.v1.Options",
    no_pivot_root=(1, BOOL),
    no_new_keyring=(2, BOOL),
    shim_cgroup=(3, STRING),
    io_uid=(4, UINT32),
    io_gid=(5, UINT32),
    binary_name=(6, STRING),
    root=(7, STRING),
    criu_path=(8, STRING),
    systemd_cgroup=(9, BOOL),
    criu_image_path=(10, STRING),
    criu_work_path=(11, STRING),
    task_api_address=(12, STRING),
    task_api_version=(13, UINT32),
)
#: What a runtime's options are where containerd does not know the runtime: a path, and a text to go with it.
GENERIC_OPTIONS = Message(
    "runtimeoptions.v1.Options", type_url=(1, STRING), config_path=(2, STRING), config_body=(3, BYTES)
)
CHECKPOINT_OPTIONS = Message(
    "containerd.runc.v1.CheckpointOptions",
    exit=(1, BOOL),
    open_tcp=(2, BOOL),
    external_unix_sockets=(3, BOOL),
    terminal=(4, BOOL),
    file_locks=(5, BOOL),
    empty_namespaces=(6, Many(STRING)),
    cgroups_mode=(7, STRING),
    image_path=(8, STRING),
    work_path=(9, STRING),
)
#: Those of the oldest shim, which a client gives to one that it does not know (runtime/linux/runctypes).
OLD_OPTIONS = Message(
    "containerd.linux.runc.CreateOptions",
    no_pivot_root=(1, BOOL),
    no_new_keyring=(8, BOOL),
    shim_cgroup=(9, STRING),
    io_uid=(10, UINT32),
    io_gid=(11, UINT32),
    criu_work_path=(12, STRING),
    criu_image_path=(13, STRING),
)
OLD_CHECKPOINT_OPTIONS = Message(
    "containerd.linux.runc.CheckpointOptions",
    exit=(1, BOOL),
    open_tcp=(2, BOOL),
    external_unix_sockets=(3, BOOL),
    terminal=(4, BOOL),
    file_locks=(5, BOOL),
    empty_namespaces=(6, Many(STRING)),
    cgroups_mode=(7, STRING),
    work_path=(8, STRING),
    image_path=(9, STRING),
)
PROCESS_DETAILS = Message("containerd.runc.v1.ProcessDetails", exec_id=(1, STRING))

_IN_CONTAINER: dict[str, tuple[int, Any]] = {"container_id": (1, STRING)}
TASK_IO = Message(
    "containerd.events.TaskIO", stdin=(1, STRING), stdout=(2, STRING), stderr=(3, STRING), terminal=(4, BOOL)
)
TASK_CREATE = Message(
    "containerd.events.TaskCreate",
    **_IN_CONTAINER,
    bundle=(2, STRING),
    rootfs=(3, Many(MOUNT)),
    io=(4, TASK_IO),
    checkpoint=(5, STRING),
    pid=(6, UINT32),
)
TASK_START = Message("containerd.events.TaskStart", **_IN_CONTAINER, pid=(2, UINT32))
TASK_DELETE = Message(
    "containerd.events.TaskDelete",
    **_IN_CONTAINER,
    pid=(2, UINT32),
    exit_status=(3, UINT32),
    exited_at=(4, TIMESTAMP),
    id=(5, STRING),
)
TASK_EXIT = Message(
    "containerd.events.TaskExit",
    **_IN_CONTAINER,
    id=(2, STRING),
    pid=(3, UINT32),
    exit_status=(4, UINT32),
    exited_at=(5, TIMESTAMP),
)
TASK_OOM = Message("containerd.events.TaskOOM", **_IN_CONTAINER)
TASK_EXEC_ADDED = Message("containerd.events.TaskExecAdded", **_IN_CONTAINER, exec_id=(2, STRING))
TASK_EXEC_STARTED = Message(
    "containerd.events.TaskExecStarted", **_IN_CONTAINER, exec_id=(2, STRING), pid=(3, UINT32)
)
TASK_PAUSED = Message("containerd.events.TaskPaused", **_IN_CONTAINER)
TASK_RESUMED = Message("containerd.events.TaskResumed", **_IN_CONTAINER)
TASK_CHECKPOINTED = Message("containerd.events.TaskCheckpointed", **_IN_CONTAINER, checkpoint=(2, STRING))

#: The topic of each event (core/runtime/events.go).
TOPICS = {
    TASK_CREATE: "/tasks/create",
    TASK_START: "/tasks/start",
    TASK_OOM: "/tasks/oom",
    TASK_EXIT: "/tasks/exit",
    TASK_DELETE: "/tasks/delete",
    TASK_EXEC_ADDED: "/tasks/exec-added",
    TASK_EXEC_STARTED: "/tasks/exec-started",
    TASK_PAUSED: "/tasks/paused",
    TASK_RESUMED: "/tasks/resumed",
    TASK_CHECKPOINTED: "/tasks/checkpointed",
}

ENVELOPE = Message(
    "containerd.services.events.ttrpc.v1.Envelope",
    timestamp=(1, TIMESTAMP),
    namespace=(2, STRING),
    topic=(3, STRING),
    event=(4, ANY),
)
FORWARD = Message("containerd.services.events.ttrpc.v1.ForwardRequest", envelope=(1, ENVELOPE))

RUNTIME_VERSION = Message("containerd.types.RuntimeVersion", version=(1, STRING), revision=(2, STRING))
#: What -info prints (api/types/introspection.proto).
RUNTIME_INFO = Message(
    "containerd.types.RuntimeInfo",
    name=(1, STRING),
    version=(2, RUNTIME_VERSION),
    options=(3, ANY),
    features=(4, ANY),
    annotations=(5, MAP),
)


def wrap(kind: Message, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an Any with a message in it. containerd's own (typeurl) bear the bare name of the kind."""
    return {"type_url": kind.name, "value": kind.encode(values)}


def unwrap(any: Mapping[str, Any] | None, *kinds: Message) -> dict[str, Any]:
    """Return the message in an Any, one of these kinds; an empty one of the first where there is none.

    Raises Malformed for another kind.
    """
    if any is None or not any["type_url"]:
        return kinds[0].decode(b"")
    name = any["type_url"].rpartition("/")[2]
    for kind in kinds:
        if kind.name == name:
            return kind.decode(any["value"])
    raise Malformed(f"{name} where {kinds[0].name} is due")


def timestamp(nanoseconds: int | None = None) -> dict[str, int]:
    """Return a Timestamp of a time since 1970, of now where none is given."""
    seconds, nanos = divmod(time.time_ns() if nanoseconds is None else nanoseconds, 1_000_000_000)
    return {"seconds": seconds, "nanos": nanos}
