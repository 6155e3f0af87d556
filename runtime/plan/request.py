"""What a plan depends on beside config.json: who asks, and how."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


#: What stands for the process of a container that is created without one, and never started.
NO_PROCESS: dict[str, Any] = {"cwd": "/"}


class Request:
    """A container to be made (or a process to be added to it), as the caller asked for it.

    Plain data; making one touches nothing. Defaults are those of ``naja create`` by root.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        id: str = "",
        bundle: str = "/",
        rootless: bool = False,
        may_mount: bool = True,
        detached: bool = True,
        console_socket: str = "",
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        preserve_fds: int = 0,
        systemd_cgroup: bool = False,
        gate: bool = True,
        cgroup_kind: str = "v1",
        cgroup_mounts: dict[str, str] | None = None,
        cgroup_paths: dict[str, str] | None = None,
        selinux: bool = True,
        environment: dict[str, str] | None = None,
        cache: str = "",
    ) -> None:
        #: The validated config.json, as parsed.
        self.config = config
        self.id = id
        #: Absolute path of the bundle; relative paths of the config start there.
        self.bundle = bundle
        #: True where the caller lacks root's privileges on the host (or is in a user namespace).
        self.rootless = rootless
        #: Whether the caller may mount where it is, as root may, and root of a user namespace and its mounts.
        self.may_mount = may_mount
        #: False where the caller stays attached (``run`` without ``--detach``).
        self.detached = detached
        self.console_socket = console_socket
        self.no_pivot = no_pivot
        self.no_new_keyring = no_new_keyring
        self.preserve_fds = preserve_fds
        self.systemd_cgroup = systemd_cgroup
        #: True where the process waits for ``naja start`` (create); False for run and exec.
        self.gate = gate
        #: What is mounted on the host: "v1" (hybrid too) or "v2".
        self.cgroup_kind = cgroup_kind
        #: v1: host mount point by hierarchy name ("memory", "cpu,cpuacct", "name=systemd",
        #: "" for a v2 tree beside them); v2: {"": "/sys/fs/cgroup"}.
        self.cgroup_mounts = cgroup_mounts or {}
        #: The container's cgroup below each of these, by the same keys ("/naja/ID").
        self.cgroup_paths = cgroup_paths or {}
        #: Whether SELinux is active on the host.
        self.selinux = selinux
        #: What of the caller's environment is for the container (LISTEN_FDS, LISTEN_FDNAMES).
        self.environment = environment or {}
        #: Directory for what need not be computed twice (seccomp filters); "" for none.
        self.cache = cache

    @property
    def process(self) -> dict[str, Any]:
        """The container's own process."""
        return self.config.get("process") or NO_PROCESS

    def namespaces(self) -> dict[str, str]:
        """Return the namespaces that the config asks for: path by type, "" for a new one."""
        linux = self.config.get("linux") or {}
        return {entry["type"]: entry.get("path", "") for entry in linux.get("namespaces") or ()}

    def namespace_origin(self, kind: str) -> str:
        """Return the place of a namespace that the config asks for."""
        kinds = [entry["type"] for entry in self.config["linux"]["namespaces"]]
        return f"/linux/namespaces/{kinds.index(kind)}"
