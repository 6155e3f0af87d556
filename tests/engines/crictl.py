"""crictl, the CRI's own command, on the containerd that the CRI's scenarios have.

`make crictl` builds it with Go. What it adds to them is a second client: its configuration in JSON, its
streams by SPDY.
"""

from __future__ import annotations

import itertools
import json
import os
from typing import TYPE_CHECKING

from tests.engines.cri import CONTAINER, NODE, POD
from tests.engines.image import BUSYBOX
from tests.support.command import REPOSITORY
from tests.support.wait import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from typing import Any

    from tests.engines.containerd import Containerd
    from tests.support.terminal import OnTerminal

    Scenario = Callable[["Crictl"], None]

#: Where `make crictl` puts it.
BUILT = os.path.join(REPOSITORY, "build/crictl")
SERVER = ("sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done")
SHARED = {"network": NODE, "pid": CONTAINER, "ipc": POD}

_numbers = itertools.count()


class Crictl:
    """The command, and where it looks for containerd."""

    name = "crictl"

    def __init__(self, containerd: Containerd) -> None:
        self.sandbox = containerd.sandbox
        self.directory = os.path.join(containerd.sandbox.directory, "crictl")
        os.makedirs(self.directory)
        address = f"unix://{containerd.address}"
        self.command = [BUILT, "--runtime-endpoint", address, "--image-endpoint", address, "--timeout", "30s"]

    def __call__(
        self, *words: str, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a subcommand. Raises CommandFailed where it fails (with ``check``)."""
        return self.sandbox.run([*self.command, *words], check=check, input=input)

    def output(self, *words: str) -> str:
        return self(*words).stdout.strip()

    def on_terminal(self, *words: str) -> OnTerminal:
        return self.sandbox.on_terminal([*self.command, *words])

    def pod(self) -> str:
        """Return the file of the configuration of a new pod on the node's network."""
        name = f"crictl{next(_numbers)}"
        linux = {"cgroup_parent": "/kubepods", "security_context": {"namespace_options": SHARED}}
        metadata = {"name": name, "uid": name, "namespace": "default", "attempt": 0}
        logs = os.path.join(self.directory, name)
        os.makedirs(logs)
        return self._write(name, {"metadata": metadata, "log_directory": logs, "linux": linux})

    def run(self, *words: str, check: bool = True, memory: int = 0, **config: Any) -> Any:
        """Run ``words`` in a new pod; return the ID, or with ``check`` false what became of it."""
        name = f"box{next(_numbers)}"
        container = {
            "metadata": {"name": name},
            "image": {"image": BUSYBOX},
            "command": list(words),
            "log_path": f"{name}.log",
            "linux": {
                "resources": {"memory_limit_in_bytes": memory},
                "security_context": {"namespace_options": SHARED},
            },
            **config,
        }
        done = self("run", "--no-pull", self._write(name, container), self.pod(), check=check)
        return done.stdout.strip() if check else done

    def _write(self, name: str, config: dict[str, Any]) -> str:
        path = os.path.join(self.directory, f"{name}.json")
        with open(path, "w") as file:
            json.dump(config, file)
        return path

    def status(self, container: str) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.output("inspect", container))["status"]
        return status

    def wait_for_end(self, container: str) -> dict[str, Any]:
        """Return the container's status once it has ended."""
        wait_until(lambda: self.status(container)["state"] == "CONTAINER_EXITED", what="its end")
        return self.status(container)

    def remove_all(self) -> None:
        """Remove all pods and their containers by force."""
        self("rmp", "--all", "--force", check=False)


def run(engine: Crictl) -> None:
    container = engine.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert engine.wait_for_end(container)["exitCode"] == 3
    done = engine("logs", container)
    assert (done.stdout, done.stderr) == ("out\n", "err\n"), done


def execute(engine: Crictl) -> None:
    container = engine.run(*SERVER)
    done = engine("exec", "--sync", container, "sh", "-c", "echo err >&2; exit 3", check=False)
    assert "exited with 3: err" in done.stderr, done
    assert engine.output("exec", "--sync", container, "echo", "out") == "out"
    done = engine("exec", "-i", container, "sh", "-c", "cat; echo err >&2", input="through")
    assert (done.stdout, done.stderr) == ("through", "err\n"), done


def execute_terminal(engine: Crictl) -> None:
    container = engine.run(*SERVER)
    with engine.on_terminal("exec", "-it", container, "sh") as terminal:
        terminal.screen.expect("# ")
        terminal.screen.send("tty; stty size; exit 0\n")
        terminal.screen.expect("/dev/pts/")
        terminal.screen.expect("24 80")
        assert terminal.wait() == 0, terminal.screen.seen


def attach(engine: Crictl) -> None:
    container = engine.run("sh", tty=True, stdin=True)
    with engine.on_terminal("attach", "-it", container) as terminal:
        terminal.screen.send("echo at$((6 * 7))ed; exit 5\n")
        terminal.screen.expect("at42ed")
    assert engine.wait_for_end(container)["exitCode"] == 5


def stop(engine: Crictl) -> None:
    container = engine.run(*SERVER)
    wait_until(lambda: engine.output("logs", container) == "up")
    engine("stop", "--timeout", "10", container)
    assert engine.status(container)["exitCode"] == 0


def kill(engine: Crictl) -> None:
    container = engine.run("sleep", "1000")
    engine("stop", "--timeout", "0", container)
    assert engine.status(container)["exitCode"] == 137


def update(engine: Crictl) -> None:
    container = engine.run(*SERVER, memory=64 << 20)
    files = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/cpu/cpu.shares")
    assert engine.output("exec", container, "cat", files[0]) == str(64 << 20)
    engine("update", "--memory", str(96 << 20), "--cpu-share", "555", container)
    assert engine.output("exec", container, "cat", *files).split() == [str(96 << 20), "555"]


def missing_command(engine: Crictl) -> None:
    done = engine.run("no-such-program", check=False)
    assert done.returncode == 1, done
    text = done.stderr.replace("\\", "")
    assert 'exec: "no-such-program": executable file not found in $PATH' in text, text


def statistics(engine: Crictl) -> None:
    container = engine.run(*SERVER)
    assert container[:13] in engine.output("stats", "--seconds", "0")


CRICTL: dict[str, Scenario] = {
    "run": run,
    "exec": execute,
    "exec -it": execute_terminal,
    "attach": attach,
    "stop": stop,
    "kill": kill,
    "update of limits": update,
    "missing command: 127": missing_command,
    "stats": statistics,
}
