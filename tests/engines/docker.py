"""Docker, and the command line that Podman has in common with it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

from tests.engines.image import BUSYBOX
from tests.engines.sandbox import PATH
from tests.engines.shims import type_of
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from tests.engines.sandbox import Sandbox
    from tests.support.terminal import OnTerminal

#: Where Docker's user namespaces begin, and how long they are (subuid(5)).
REMAP_BASE, REMAP_SIZE = 100000, 65536


class Docklike:
    """An engine that is told what to do as `docker` is."""

    name = ""

    def __init__(self, sandbox: Sandbox, command: list[str]) -> None:
        self.sandbox = sandbox
        self.command = command

    def __call__(
        self, *words: str, check: bool = True, timeout: float = 60, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a subcommand. Raises CommandFailed where it fails (with ``check``)."""
        return self.sandbox.run([*self.command, *words], check=check, timeout=timeout, input=input)

    def on_terminal(self, *words: str) -> OnTerminal:
        return self.sandbox.on_terminal([*self.command, *words])

    def run(
        self, *words: str, flags: tuple[str, ...] = (), check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``words`` in a new container that is removed afterwards."""
        return self("run", "--rm", *flags, BUSYBOX, *words, check=check, input=input)

    def start(self, name: str, *words: str, flags: tuple[str, ...] = ()) -> None:
        """Run ``words`` in a new container in the background."""
        self("run", "--detach", "--name", name, *flags, BUSYBOX, *words)

    def output(self, *words: str) -> str:
        return self(*words).stdout.strip()

    def inspect(self, name: str, template: str) -> str:
        return self.output("inspect", "--format", template, name)

    def pid(self, name: str) -> int:
        return int(self.inspect(name, "{{.State.Pid}}"))

    def wait_for(self, name: str, template: str, value: str, timeout: float = 20) -> None:
        """Wait until a property of a container has this value."""
        wait_until(
            lambda: self.inspect(name, template) == value,
            timeout=timeout,
            what=f"{name}: {template} = {value}",
        )

    def remove_all(self) -> None:
        """Remove all containers by force."""
        for name in self.output("ps", "--all", "--quiet").split():
            self("rm", "--force", name, check=False)

    def cgroup_file(self, name: str, hierarchy: str, file: str) -> str:
        """Return what a control file of the container's cgroup holds."""
        pid = self.pid(name)
        script = (
            f"cat /sys/fs/cgroup/{hierarchy}$(sed -n 's/^[0-9]*:{hierarchy}://p' /proc/{pid}/cgroup)/{file}"
        )
        return self.sandbox.run(["sh", "-c", script]).stdout.strip()


class Docker(Docklike):
    """dockerd with the runtime as its default; without more ``settings`` no bridge, no iptables."""

    name = "Docker"

    def __init__(
        self,
        sandbox: Sandbox,
        runtime: str,
        images: str,
        place: str = "docker",
        settings: dict[str, object] | None = None,
    ) -> None:
        """Start the daemon in a directory called ``place``, and load the images."""
        directory = os.path.join(sandbox.directory, place)
        os.makedirs(directory)
        self._directory = directory
        self._socket = os.path.join(directory, "docker.sock")
        super().__init__(sandbox, ["docker", "--host", f"unix://{self._socket}"])
        with open(os.path.join(directory, "daemon.json"), "w") as file:
            json.dump(daemon_json(directory, runtime) | (settings or {}), file)
        self.start_daemon()
        self("load", "--input", images)

    def start_daemon(self) -> None:
        """Start dockerd, at first, or after it was killed."""
        daemon = ["dockerd", "--config-file", os.path.join(self._directory, "daemon.json")]
        daemon += ["--host", f"unix://{self._socket}", "--pidfile", os.path.join(self._directory, "pid")]
        log = os.path.join(self._directory, "log")
        self.sandbox.daemon(daemon, log, self._socket)
        # After it was killed it first ends what still runs, one container after the other.
        end = time.monotonic() + 120 * self.sandbox.patience
        while self("version", check=False, timeout=120).returncode:
            if time.monotonic() > end:
                with open(log, errors="replace") as file:
                    raise AssertionError(f"dockerd does not answer:\n{file.read()[-4000:]}")
            time.sleep(0.1)


def remapped(sandbox: Sandbox, runtime: str, images: str) -> Docker:
    """Return a dockerd whose containers all get a user namespace."""
    ids = f"daemon:{REMAP_BASE}:{REMAP_SIZE}"
    sandbox.run(["sh", "-c", f"echo {ids} >> /etc/subuid; echo {ids} >> /etc/subgid"])
    return Docker(sandbox, runtime, images, "docker-remap", {"userns-remap": "daemon"})


def knows_shims() -> bool:
    """Tell whether this Docker takes a shim as a runtime: it does since 23.0."""
    command, environment = ["dockerd", "--version"], {**os.environ, "PATH": PATH}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return int(done.stdout.split()[2].partition(".")[0]) >= 23


def daemon_json(directory: str, runtime: str) -> dict[str, object]:
    """Return the content of dockerd's configuration file."""
    chosen = {"runtimeType": type_of(runtime)} if type_of(runtime) else {"path": runtime}
    return {
        "data-root": os.path.join(directory, "data"),
        "exec-root": os.path.join(directory, "exec"),
        "runtimes": {"under-test": chosen},
        "default-runtime": "under-test",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "bridge": "none",
        "iptables": False,
        "ip-forward": False,
        "storage-driver": "overlay2",
    }
