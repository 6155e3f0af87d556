"""containerd: one daemon, driven by `ctr` and through its CRI plugin."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from tests.engines.cri import HANDLER, RuntimeService
from tests.engines.image import BUSYBOX, PAUSE
from tests.engines.shims import type_of
from tests.engines.streaming import Streams
from tests.support.wait import wait_until

if TYPE_CHECKING:
    import subprocess

    from tests.engines.sandbox import Sandbox
    from tests.support.terminal import OnTerminal

#: Debian's directory of CNI plugins (containernetworking-plugins).
CNI_PLUGINS = "/usr/lib/cni"


class Containerd:
    """The daemon, on a socket and in directories of its own."""

    def __init__(self, sandbox: Sandbox, runtime: str, images: str) -> None:
        """Start it with the runtime as that of the CRI plugin, and load the images."""
        self.sandbox = sandbox
        self.runtime = runtime
        self.directory = os.path.join(sandbox.directory, "containerd")
        self.address = os.path.join(self.directory, "containerd.sock")
        os.makedirs(os.path.join(self.directory, "cni"))
        configuration = os.path.join(self.directory, "config.toml")
        with open(configuration, "w") as file:
            file.write(config_toml(self.directory, self.address, runtime))
        with open(os.path.join(self.directory, "cni/10-bridge.conflist"), "w") as file:
            json.dump(cni_network(self.directory), file)
        self._command = ["containerd", "--config", configuration]
        self.start()
        for namespace in ("default", "k8s.io"):
            self.ctr("--namespace", namespace, "images", "import", images)

    def start(self) -> None:
        """Start the daemon, at first, or after it was killed."""
        self.sandbox.daemon(self._command, os.path.join(self.directory, "log"), self.address)
        wait_until(self._answers, timeout=30 * self.sandbox.patience, what="containerd")

    def _answers(self) -> bool:
        return self.ctr("version", check=False).returncode == 0

    def ctr(
        self, *words: str, check: bool = True, timeout: float = 60, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a `ctr` command. Raises CommandFailed where it fails (with ``check``)."""
        return self.sandbox.run(
            ["ctr", "--address", self.address, *words], check=check, timeout=timeout, input=input
        )


class Ctr:
    """containerd's own command: the shim and the runtime with nothing between."""

    name = "ctr"

    def __init__(self, containerd: Containerd) -> None:
        self.containerd = containerd
        self.sandbox = containerd.sandbox
        self.call = containerd.ctr

    def run_words(self, name: str, words: tuple[str, ...], flags: tuple[str, ...]) -> list[str]:
        runtime = self.containerd.runtime
        kind = type_of(runtime)
        chosen = ("--runtime", kind) if kind else ("--runc-binary", runtime)
        return ["run", *chosen, *flags, BUSYBOX, name, *words]

    def run(
        self, *words: str, flags: tuple[str, ...] = (), check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``words`` in a new container that is removed afterwards."""
        return self.call(*self.run_words("once", words, ("--rm", *flags)), check=check, input=input)

    def start(self, name: str, *words: str, flags: tuple[str, ...] = ()) -> None:
        """Run ``words`` in a new container in the background."""
        self.call(*self.run_words(name, words, ("--detach", *flags)))

    def on_terminal(self, *words: str) -> OnTerminal:
        return self.sandbox.on_terminal(["ctr", "--address", self.containerd.address, *words])

    def exec(
        self,
        name: str,
        *words: str,
        flags: tuple[str, ...] = (),
        check: bool = True,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return self.call("tasks", "exec", "--exec-id", "e1", *flags, name, *words, check=check, input=input)

    def status(self, name: str) -> str:
        """Return RUNNING, PAUSED, STOPPED…, or "" where there is no task."""
        for line in self.call("tasks", "list").stdout.splitlines():
            fields = line.split()
            if fields[0] == name:
                return fields[2]
        return ""

    def pid(self, name: str) -> int:
        for line in self.call("tasks", "list").stdout.splitlines():
            fields = line.split()
            if fields[0] == name:
                return int(fields[1])
        raise AssertionError(f"no task {name}")

    def remove_all(self) -> None:
        """Remove all containers by force."""
        for name in self.call("containers", "list", "--quiet").stdout.split():
            self.call("tasks", "delete", "--force", name, check=False)
            self.call("containers", "delete", name, check=False)


class Cri:
    """The Container Runtime Interface, as the kubelet speaks it."""

    name = "CRI"

    def __init__(self, containerd: Containerd) -> None:
        self.containerd = containerd
        self.sandbox = containerd.sandbox
        self.service = RuntimeService(containerd.address)

    def streams(self, url: str) -> Streams:
        """Connect to the streams behind an URL that the service answered."""
        return Streams(url, f"/proc/{self.sandbox.first}/ns/net")

    def remove_all(self) -> None:
        """Remove all pods and their containers by force."""
        for pod in self.service.pods():
            self.service.stop_pod(pod)
            self.service.remove_pod(pod)


def config_toml(directory: str, address: str, runtime: str) -> str:
    """Return containerd's configuration (version 2) with the runtime for CRI."""
    plugin = f'plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{HANDLER}'
    lines = [f"[{plugin}]", f'runtime_type = "{type_of(runtime) or "io.containerd.runc.v2"}"']
    if not type_of(runtime):
        lines += [f"[{plugin}.options]", f'BinaryName = "{runtime}"']
    chosen = "\n".join(lines)
    return f"""
version = 2
root = "{directory}/root"
state = "/run/containerd"

[grpc]
  address = "{address}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_apparmor = true
  # A root without CAP_SYS_RESOURCE can lower no score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "{HANDLER}"
{chosen}
"""


def cni_network(directory: str) -> dict[str, object]:
    """Return a network of pods: a bridge in the sandbox's network namespace."""
    return {
        "cniVersion": "0.4.0",
        "name": "naja-test",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": f"{directory}/cni-leases",
                    "ranges": [[{"subnet": "10.99.0.0/16"}]],
                },
            }
        ],
    }
