"""A client of the Container Runtime Interface, version 1, for what the tests need of it.

The generated client would need protobuf; a message here is a dict, and a table says which number and
kind each field has (k8s.io/cri-api, pkg/apis/runtime/v1/api.proto; encoding:
protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from typing import Any

import grpc

Message = dict[str, Any]

#: Kinds of fields: a number (varint), text or bytes, a map of texts, or the name of a message. A list in
#: the message is a repeated field; ``*`` marks those that are repeated when they are decoded.
NUMBER, TEXT, BYTES, MAP = "number", "text", "bytes", "map"

FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "Empty": {},
    "Id": {"pod_sandbox_id": (1, TEXT)},
    "RunPod": {"config": (1, "PodConfig"), "runtime_handler": (2, TEXT)},
    "PodConfig": {
        "metadata": (1, "PodMetadata"),
        "hostname": (2, TEXT),
        "log_directory": (3, TEXT),
        "linux": (8, "PodLinux"),
    },
    "PodMetadata": {"name": (1, TEXT), "uid": (2, TEXT), "namespace": (3, TEXT)},
    "PodLinux": {"cgroup_parent": (1, TEXT), "security_context": (2, "PodSecurity"), "sysctls": (3, MAP)},
    "PodSecurity": {"namespace_options": (1, "Namespaces"), "privileged": (6, NUMBER)},
    "Namespaces": {"network": (1, NUMBER), "pid": (2, NUMBER), "ipc": (3, NUMBER), "target_id": (4, TEXT)},
    "PodList": {"items": (1, "*PodItem")},
    "PodItem": {"id": (1, TEXT), "state": (3, NUMBER)},
    "PodStatusReply": {"status": (1, "PodStatus")},
    "PodStatus": {"id": (1, TEXT), "state": (3, NUMBER), "network": (5, "PodNetwork")},
    "PodNetwork": {"ip": (1, TEXT)},
    "CreateContainer": {
        "pod_sandbox_id": (1, TEXT),
        "config": (2, "Container"),
        "sandbox_config": (3, "PodConfig"),
    },
    "Container": {
        "metadata": (1, "PodMetadata"),
        "image": (2, "Image"),
        "command": (3, TEXT),
        "args": (4, TEXT),
        "working_dir": (5, TEXT),
        "envs": (6, "KeyValue"),
        "mounts": (7, "Mount"),
        "devices": (8, "Device"),
        "log_path": (11, TEXT),
        "stdin": (12, NUMBER),
        "tty": (14, NUMBER),
        "linux": (15, "ContainerLinux"),
    },
    "Image": {"image": (1, TEXT)},
    "KeyValue": {"key": (1, TEXT), "value": (2, TEXT)},
    "Mount": {
        "container_path": (1, TEXT),
        "host_path": (2, TEXT),
        "readonly": (3, NUMBER),
        "propagation": (5, NUMBER),
    },
    "Device": {"container_path": (1, TEXT), "host_path": (2, TEXT), "permissions": (3, TEXT)},
    "ContainerLinux": {"resources": (1, "Resources"), "security_context": (2, "Security")},
    "Resources": {
        "cpu_period": (1, NUMBER),
        "cpu_quota": (2, NUMBER),
        "cpu_shares": (3, NUMBER),
        "memory_limit_in_bytes": (4, NUMBER),
        "oom_score_adj": (5, NUMBER),
    },
    "Security": {
        "capabilities": (1, "Capabilities"),
        "privileged": (2, NUMBER),
        "namespace_options": (3, "Namespaces"),
        "run_as_user": (5, "Int64"),
        "readonly_rootfs": (7, NUMBER),
        "supplemental_groups": (8, NUMBER),
        "no_new_privs": (11, NUMBER),
        "run_as_group": (12, "Int64"),
        "masked_paths": (13, TEXT),
        "readonly_paths": (14, TEXT),
        "seccomp": (15, "Profile"),
    },
    "Capabilities": {"add_capabilities": (1, TEXT), "drop_capabilities": (2, TEXT)},
    "Profile": {"profile_type": (1, NUMBER), "localhost_ref": (2, TEXT)},
    "Int64": {"value": (1, NUMBER)},
    "ContainerId": {"container_id": (1, TEXT), "timeout": (2, NUMBER)},
    "ContainerStatusReply": {"status": (1, "ContainerStatus")},
    "ContainerStatus": {
        "id": (1, TEXT),
        "state": (3, NUMBER),
        "exit_code": (7, NUMBER),
        "reason": (10, TEXT),
        "message": (11, TEXT),
    },
    "ExecSync": {"container_id": (1, TEXT), "cmd": (2, TEXT), "timeout": (3, NUMBER)},
    "ExecSyncReply": {"stdout": (1, BYTES), "stderr": (2, BYTES), "exit_code": (3, NUMBER)},
    "Exec": {
        "container_id": (1, TEXT),
        "cmd": (2, TEXT),
        "tty": (3, NUMBER),
        "stdin": (4, NUMBER),
        "stdout": (5, NUMBER),
        "stderr": (6, NUMBER),
    },
    "Attach": {
        "container_id": (1, TEXT),
        "stdin": (2, NUMBER),
        "tty": (3, NUMBER),
        "stdout": (4, NUMBER),
        "stderr": (5, NUMBER),
    },
    "Url": {"url": (1, TEXT)},
    "UpdateResources": {"container_id": (1, TEXT), "linux": (2, "Resources")},
    "StatsReply": {"stats": (1, "Stats")},
    "Stats": {"cpu": (2, "Cpu"), "memory": (3, "Memory")},
    "Cpu": {"usage_core_nano_seconds": (2, "UInt64")},
    "Memory": {"working_set_bytes": (2, "UInt64")},
    "UInt64": {"value": (1, NUMBER)},
}

#: The states of a container and the namespaces' modes (api.proto).
CREATED, RUNNING, EXITED = 0, 1, 2
POD, CONTAINER, NODE = 0, 1, 2
#: What the runtime under test is called in containerd's configuration.
HANDLER = "under-test"


class CallFailed(AssertionError):
    """The service answered with an error; the text is its message."""


class RuntimeService:
    """runtime.v1.RuntimeService on a unix socket. Each call raises CallFailed where it fails."""

    def __init__(self, address: str, timeout: float = 60) -> None:
        self._channel = grpc.insecure_channel(
            f"unix://{address}", options=[("grpc.default_authority", "localhost")]
        )
        self._timeout = timeout

    def call(self, method: str, request: str, reply: str, **fields: Any) -> Message:
        """Call a method with a message of type ``request``; return one of type ``reply``."""
        function: Any = self._channel.unary_unary(f"/runtime.v1.RuntimeService/{method}")
        try:
            answer: bytes = function(encode(request, fields), timeout=self._timeout)
        except grpc.RpcError as error:
            raise CallFailed(f"{method}: {error.details()}") from None
        return decode(reply, answer)

    def run_pod(self, config: Message, handler: str = "") -> str:
        """Run a pod with the runtime that is called ``handler``, or the default one; return its ID."""
        reply = self.call("RunPodSandbox", "RunPod", "Id", config=config, runtime_handler=handler)
        return str(reply["pod_sandbox_id"])

    def pods(self) -> list[str]:
        reply = self.call("ListPodSandbox", "Empty", "PodList")
        return [item["id"] for item in reply.get("items", [])]

    def pod_status(self, pod: str) -> Message:
        reply = self.call("PodSandboxStatus", "Id", "PodStatusReply", pod_sandbox_id=pod)
        status: Message = reply["status"]
        return status

    def stop_pod(self, pod: str) -> None:
        self.call("StopPodSandbox", "Id", "Empty", pod_sandbox_id=pod)

    def remove_pod(self, pod: str) -> None:
        self.call("RemovePodSandbox", "Id", "Empty", pod_sandbox_id=pod)

    def create(self, pod: str, config: Message, pod_config: Message) -> str:
        fields = {"pod_sandbox_id": pod, "config": config, "sandbox_config": pod_config}
        return str(self.call("CreateContainer", "CreateContainer", "ContainerId", **fields)["container_id"])

    def start(self, container: str) -> None:
        self.call("StartContainer", "ContainerId", "Empty", container_id=container)

    def stop(self, container: str, timeout: int) -> None:
        self.call("StopContainer", "ContainerId", "Empty", container_id=container, timeout=timeout)

    def remove(self, container: str) -> None:
        self.call("RemoveContainer", "ContainerId", "Empty", container_id=container)

    def status(self, container: str) -> Message:
        reply = self.call("ContainerStatus", "ContainerId", "ContainerStatusReply", container_id=container)
        status: Message = reply["status"]
        return status

    def exec(self, container: str, *words: str, timeout: int = 20) -> tuple[int, str, str]:
        """Return the exit code, stdout and stderr of a command in the container."""
        fields = {"container_id": container, "cmd": list(words), "timeout": timeout}
        reply = self.call("ExecSync", "ExecSync", "ExecSyncReply", **fields)
        texts = [reply.get(name, b"").decode() for name in ("stdout", "stderr")]
        return reply.get("exit_code", 0), texts[0], texts[1]

    def exec_url(self, container: str, *words: str, tty: bool) -> str:
        """Return where the streams of a command are; it is started by whoever connects."""
        fields = {"container_id": container, "cmd": list(words), "tty": tty}
        return str(self.call("Exec", "Exec", "Url", **fields, **streams(tty))["url"])

    def attach_url(self, container: str, *, tty: bool) -> str:
        """Return where the streams of a container's first process are."""
        return str(
            self.call("Attach", "Attach", "Url", container_id=container, tty=tty, **streams(tty))["url"]
        )

    def update(self, container: str, **resources: int) -> None:
        fields = {"container_id": container, "linux": resources}
        self.call("UpdateContainerResources", "UpdateResources", "Empty", **fields)

    def stats(self, container: str) -> Message:
        reply = self.call("ContainerStats", "ContainerId", "StatsReply", container_id=container)
        stats: Message = reply["stats"]
        return stats


def streams(tty: bool) -> dict[str, bool]:
    """Return the fields that ask for all streams; a terminal has no stderr."""
    return {"stdin": True, "stdout": True, "stderr": not tty}


def encode(name: str, message: Message) -> bytes:
    """Return a message of the named type in protobuf's wire format. Raises KeyError for a wrong field."""
    data = b""
    for field, value in message.items():
        number, kind = FIELDS[name][field]
        for entry in value if isinstance(value, list) else [value]:
            data += _encode_field(number, kind, entry)
    return data


def _encode_field(number: int, kind: str, value: Any) -> bytes:
    if kind == NUMBER:
        return _varint(number << 3) + _varint(int(value) & (1 << 64) - 1)
    if kind == MAP:
        entries = [encode("KeyValue", {"key": key, "value": text}) for key, text in value.items()]
        return b"".join(_delimited(number, entry) for entry in entries)
    if kind == TEXT:
        return _delimited(number, value.encode())
    return _delimited(number, encode(kind, value))


def _delimited(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def decode(name: str, data: bytes) -> Message:
    """Return the known fields of a message of the named type; the others are passed over."""
    kinds = {number: (field, kind) for field, (number, kind) in FIELDS[name].items()}
    message: Message = {}
    place = 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        value: Any
        if tag & 7 == 0:
            value, place = _read_varint(data, place)
        elif tag & 7 == 2:
            size, place = _read_varint(data, place)
            value, place = data[place : place + size], place + size
        else:
            size = {1: 8, 5: 4}[tag & 7]
            value, place = data[place : place + size], place + size
        if tag >> 3 in kinds:
            field, kind = kinds[tag >> 3]
            _add(message, field, kind, value)
    return message


def _add(message: Message, field: str, kind: str, value: Any) -> None:
    if kind.startswith("*"):
        message.setdefault(field, []).append(decode(kind[1:], value))
    elif kind == TEXT:
        message[field] = value.decode()
    elif kind in (NUMBER, BYTES):
        message[field] = value
    else:
        message[field] = decode(kind, value)


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place
