"""containerd's part towards a shim, played without it: the program, the calls, the FIFOs, the events."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from naja.shim import messages
from naja.shim.wire import Message
from tests.support.command import runtime_command
from tests.support.ttrpc import Client, Events

if TYPE_CHECKING:
    from tests.support.bundle import Bundle

NAMESPACE = "naja-test"
SERVICE = "containerd.task.v2.Task"

#: By method: what is sent and what comes back.
METHODS: dict[str, tuple[Message, Message]] = {
    "State": (messages.PROCESS, messages.STATE),
    "Create": (messages.CREATE, messages.PID),
    "Start": (messages.PROCESS, messages.PID),
    "Delete": (messages.PROCESS, messages.EXIT),
    "Pids": (messages.CONTAINER, messages.PIDS),
    "Pause": (messages.CONTAINER, messages.EMPTY),
    "Resume": (messages.CONTAINER, messages.EMPTY),
    "Checkpoint": (messages.CHECKPOINT, messages.EMPTY),
    "Kill": (messages.KILL, messages.EMPTY),
    "Exec": (messages.EXEC, messages.EMPTY),
    "ResizePty": (messages.RESIZE, messages.EMPTY),
    "CloseIO": (messages.CLOSE_IO, messages.EMPTY),
    "Update": (messages.UPDATE, messages.EMPTY),
    "Wait": (messages.PROCESS, messages.WAIT),
    "Stats": (messages.CONTAINER, messages.STATS),
    "Connect": (messages.CONTAINER, messages.CONNECT),
    "Shutdown": (messages.SHUTDOWN, messages.EMPTY),
}


def program() -> str:
    """Return the shim beside the runtime under test, "" where there is none."""
    found = shutil.which(runtime_command()[0]) or ""
    path = os.path.join(os.path.dirname(found), "containerd-shim-naja-v2")
    return path if found and os.path.exists(path) else ""


class Containerd:
    """A directory, an address, and events; ``tasks`` are those that ``task`` has made."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.root = os.path.join(directory, "state")
        self.address = os.path.join(directory, "c.sock")
        self.events = Events(f"{self.address}.ttrpc")
        self.tasks: list[Task] = []
        self.variables: dict[str, str] = {}
        #: What goes before the program.
        self.before: list[str] = []

    def run(self, bundle: Bundle, *words: str, options: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the shim's program as containerd does."""
        log = os.path.join(bundle.path, "log")
        if not os.path.exists(log):
            os.mkfifo(log)
        flags = ["-namespace", NAMESPACE, "-address", self.address, "-publish-binary", "/bin/false"]
        environment = {**os.environ, "TTRPC_ADDRESS": f"{self.address}.ttrpc", **self.variables}
        return subprocess.run(
            [*self.before, program(), *flags, "-id", bundle.id, *words],
            cwd=bundle.path,
            input=options,
            capture_output=True,
            timeout=60,
            check=False,
            env=environment,
        )

    def options(self, **values: Any) -> dict[str, Any]:
        """Return runc's options in an Any, with a state root of the test's own."""
        return messages.wrap(messages.OPTIONS, {"root": self.root, **values})

    def task(self, bundle: Bundle, **options: Any) -> Task:
        """Start a shim for a bundle, or find the one of its group."""
        any = messages.ANY.encode(self.options(**options))
        done = self.run(bundle, "start", options=any)
        assert done.returncode == 0, done
        task = Task(self, bundle, done.stdout.decode(), self.options(**options))
        self.tasks.append(task)
        return task

    def close(self) -> None:
        """End all shims and what they look after."""
        for task in self.tasks:
            task.close()
            done = self.run(task.bundle, "-bundle", task.bundle.path, "delete")
            assert done.returncode == 0, done.stderr
        for pid in {task.shim for task in self.tasks}:
            end(pid)
        self.events.hang_up()


def end(pid: int) -> None:
    """Kill a shim, which is our orphan or a nursery's, and wait for it."""
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return  # It has ended before.
    try:
        signal.pidfd_send_signal(held, signal.SIGKILL)
        select.select([held], [], [], 20)
        os.waitpid(pid, os.WNOHANG)
    except (ChildProcessError, ProcessLookupError):
        pass
    finally:
        os.close(held)


class Task:
    """A container behind a shim."""

    def __init__(self, containerd: Containerd, bundle: Bundle, address: str, options: dict[str, Any]) -> None:
        self.containerd = containerd
        self.bundle = bundle
        self.id = bundle.id
        self.address = address
        self.options = options
        self.client = Client(address.removeprefix("unix://"))
        self.shim: int = self("Connect")["shim_pid"]

    def begin(self, method: str, timeout: float = 0, **values: Any) -> tuple[str, int]:
        """Make a call; ``finish`` returns what came of it."""
        request = METHODS[method][0].encode({"id": self.id, **values})
        return method, self.client.begin(SERVICE, method, request, timeout)

    def finish(self, call: tuple[str, int]) -> dict[str, Any]:
        """Return what a call is answered with. Raises Failure."""
        method, stream = call
        return METHODS[method][1].decode(self.client.end(stream))

    def __call__(self, method: str, timeout: float = 0, **values: Any) -> dict[str, Any]:
        """Make a call and return the answer. Raises Failure."""
        return self.finish(self.begin(method, timeout, **values))

    def create(self, **values: Any) -> int:
        """Create the container; returns its pid."""
        pid = self("Create", bundle=self.bundle.path, options=self.options, **values)["pid"]
        return int(pid)

    def run(self, **values: Any) -> int:
        """Create and start the container; returns its pid."""
        self.create(**values)
        return int(self("Start")["pid"])

    def exec(self, id: str, *words: str, terminal: bool = False, **values: Any) -> int:
        """Add a process and start it; returns its pid."""
        program = {"args": list(words), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
        spec = {"type_url": "types.containerd.io/opencontainers/runtime-spec/1/Process"}
        spec["value"] = json.dumps(program).encode()  # type: ignore[assignment]
        self("Exec", exec_id=id, spec=spec, terminal=terminal, **values)
        return int(self("Start", exec_id=id)["pid"])

    def status(self, exec_id: str = "") -> str:
        """Return the status in words."""
        number = self("State", exec_id=exec_id)["status"]
        return next(name for name, value in messages.STATUSES.items() if value == number)

    def fifo(self, name: str) -> str:
        """Make a FIFO, and return its path."""
        path = os.path.join(self.bundle.path, name)
        os.mkfifo(path)
        return path

    def delete(self) -> dict[str, Any]:
        """Delete the container as containerd does: then the shim may go."""
        answer = self("Delete")
        self("Shutdown")
        return answer

    def close(self) -> None:
        """Hang up."""
        self.client.close()
