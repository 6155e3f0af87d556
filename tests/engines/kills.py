"""Daemons and shims killed at random while containers are made, added to and removed.

Afterwards nothing is left, and nothing runs that nobody knows. ``python -m conformance.kills`` does it with
any engine and runtime; tests/engines/test_shim.py has a sample.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from tests.engines.image import BUSYBOX
from tests.engines.traces import Traces
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from tests.engines.catalogue import Engines
    from tests.engines.containerd import Ctr
    from tests.engines.docker import Docker
    from tests.engines.sandbox import Sandbox

#: Words in the command lines of those who are killed; dockerd starts a containerd of its own.
SHIM, DOCKERD = "containerd-shim-", "dockerd --config"
CONTAINERD, DOCKERS_CONTAINERD = "/containerd/config.toml", "/exec/containerd/containerd.toml"

#: How long what was killed may take to be cleaned up, in seconds: a shim whose container never came waits for
#: it for a while.
_PATIENCE = 60

#: How many make containers at a time.
_AT_ONCE = 3


def pids(sandbox: Sandbox, word: str) -> list[int]:
    """Return the pids of processes whose command line has a word in it."""
    found = sandbox.processes()
    return [pid for pid, line in found.items() if line and word in line and "nsenter" not in line]


def kill(pid: int) -> None:
    """End a process at once, if it has not ended."""
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass


def end(sandbox: Sandbox, victims: list[int]) -> None:
    """Kill processes, and wait for their ends."""
    for pid in victims:
        kill(pid)
    wait_until(lambda: not {*victims} & {*pids(sandbox, "")}, what="their end")


def others(left: list[str]) -> list[str]:
    """Return what is left but for the daemons themselves, which are other processes now."""
    daemons = (CONTAINERD, DOCKERS_CONTAINERD, DOCKERD)
    return [line for line in left if not any(word in line for word in daemons)]


class ByCtr:
    """Containers by ctr."""

    def __init__(self, engine: Ctr) -> None:
        self.engine = engine
        self.victims = (SHIM, SHIM, CONTAINERD)

    def play(self, id: str) -> int:
        """Make a container, add to it, remove it; return how many processes could be added."""
        added = 0
        self._ctr(*self.engine.run_words(id, ("sleep", "1000"), ("--detach", "--null-io")))
        for exec_id in ("a", "b"):
            added += self._ctr("tasks", "exec", "--exec-id", exec_id, id, "true") == 0
        self._ctr("tasks", "kill", "--signal", "SIGKILL", id)
        self._ctr("tasks", "delete", "--force", id)
        self._ctr("containers", "delete", id)
        return added

    def _ctr(self, *words: str) -> int:
        return self.engine.call(*words, check=False, timeout=20).returncode

    def revive(self) -> None:
        """Start the daemon where it was killed."""
        if not pids(self.engine.sandbox, CONTAINERD):
            self.engine.containerd.start()

    def is_empty(self) -> bool:
        """Remove all containers; tell whether that was all."""
        self.engine.remove_all()
        return not self.engine.call("containers", "list", "--quiet").stdout.split()


class ByDocker:
    """Containers by docker."""

    def __init__(self, engine: Docker) -> None:
        self.engine = engine
        self.victims = (SHIM, DOCKERD, DOCKERS_CONTAINERD)

    def play(self, id: str) -> int:
        """Make a container, add to it, remove it; return how many processes could be added."""
        added = 0
        self._docker("run", "--detach", "--name", id, BUSYBOX, "sleep", "1000")
        for _ in range(2):
            added += self._docker("exec", id, "true") == 0
        self._docker("rm", "--force", id)
        return added

    def _docker(self, *words: str) -> int:
        return self.engine(*words, check=False, timeout=30).returncode

    def revive(self) -> None:
        """Start the daemon where it was killed."""
        if not pids(self.engine.sandbox, DOCKERD):
            self.engine.start_daemon()

    def is_empty(self) -> bool:
        """Remove all containers; tell whether that was all."""
        self.engine.remove_all()
        if self.engine.output("ps", "--all", "--quiet"):
            return False
        # One that was created, and not yet started, a dockerd that was killed forgets; containerd knows it.
        for id in self._ctr("containers", "list", "--quiet").split():
            self._ctr("tasks", "delete", "--force", id)
            self._ctr("containers", "delete", id)
        return True

    def _ctr(self, *words: str) -> str:
        address = os.path.join(self.engine.sandbox.directory, "docker/exec/containerd/containerd.sock")
        command = ["ctr", "--address", address, "--namespace", "moby", *words]
        return self.engine.sandbox.run(command, check=False).stdout


class _Load(threading.Thread):
    """Plays again and again; what fails is no matter."""

    def __init__(self, by: ByCtr | ByDocker, number: int) -> None:
        super().__init__(daemon=True)
        self.by = by
        self.number = number
        self.is_over = False
        self.added = 0
        self.start()

    def run(self) -> None:
        turn = 0
        while not self.is_over:
            turn += 1
            try:
                self.added += self.by.play(f"load{self.number}x{turn}")
            except subprocess.TimeoutExpired:
                pass  # Whoever should have answered was killed.


def play(engines: Engines, name: str, kills: int) -> tuple[int, list[str]]:
    """Kill so often behind an engine ("ctr", "Docker"); return how many were added, and what is left.

    Raises AssertionError where containers cannot be removed afterwards.
    """
    engine = engines.engine(name)
    by = ByCtr(engine) if name == "ctr" else ByDocker(engine)
    traces = Traces(engines.sandbox)
    chance = random.Random(kills)
    loads = [_Load(by, number) for number in range(_AT_ONCE)]
    for turn in range(kills):
        time.sleep(chance.uniform(0.1, 1.0))
        victims = pids(engines.sandbox, by.victims[turn % len(by.victims)])
        end(engines.sandbox, [chance.choice(victims)] if victims else [])
        by.revive()
    for load in loads:
        load.is_over = True
    for load in loads:
        load.join(120)
    # A last restart, for what was killed while a daemon was away.
    for word in dict.fromkeys(word for word in by.victims if word != SHIM):
        end(engines.sandbox, pids(engines.sandbox, word))
    by.revive()
    wait_until(by.is_empty, timeout=60, what="an end of all containers")
    return sum(load.added for load in loads), others(traces.left(_PATIENCE))
