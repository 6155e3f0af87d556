"""Many processes added to many containers at a time, by containerd: how long each took, and what is left."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.engines.kills import SHIM, pids
from tests.engines.traces import Traces

if TYPE_CHECKING:
    from tests.engines.containerd import Containerd
    from tests.engines.sandbox import Sandbox

#: What a shim may come to hold meanwhile that is no leak: it offers itself to others, and Go waits by epoll.
_OWN = 4

_PATIENCE = 15

#: How soon a shim of naja's makes its nursery, in seconds.
_NURSERY = 1.0


class Outcome:
    """What came of it: milliseconds of each that succeeded, why others failed, and what was left."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.failures: list[str] = []
        self.left: list[str] = []

    def percentile(self, of_hundred: int) -> float:
        """Return what so many of a hundred took at most."""
        times = sorted(self.times)
        return times[min(len(times) - 1, len(times) * of_hundred // 100)] if times else 0.0


def play(containerd: Containerd, ids: list[str], number: int, at_once: int) -> Outcome:
    """Add so many processes that end at once, by ctr, to running containers in turn."""
    outcome = Outcome()
    command = containerd.sandbox.command(["ctr", "--address", containerd.address, "tasks", "exec"])
    settle(containerd.sandbox)
    traces, before = Traces(containerd.sandbox), descriptors(containerd.sandbox)

    def one(index: int) -> None:
        begun = time.perf_counter()
        words = ["--exec-id", f"x{index}", ids[index % len(ids)], "true"]
        try:
            subprocess.run(
                [*command, *words], check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=120
            )
        except subprocess.SubprocessError as error:
            outcome.failures.append(f"{error}: {(getattr(error, 'stderr', b'') or b'').decode()[-300:]}")
            return
        outcome.times.append((time.perf_counter() - begun) * 1000)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, range(number)))
    outcome.left = traces.left() + grown(containerd.sandbox, before)
    return outcome


def settle(sandbox: Sandbox) -> None:
    """Wait until no shim comes any more: naja's makes one that does nothing but fork, a second later."""
    before: list[int] = []
    while not (now := sorted(pids(sandbox, SHIM))) or now != before:
        before = now
        time.sleep(2 * _NURSERY)


def descriptors(sandbox: Sandbox) -> dict[int, int]:
    """Return how many descriptors each shim has open, by pid."""
    return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in pids(sandbox, SHIM)}


def grown(sandbox: Sandbox, before: dict[int, int]) -> list[str]:
    """Return a line for each shim that has more descriptors than before, and keeps them."""
    end = time.monotonic() + _PATIENCE
    while True:
        now = descriptors(sandbox)
        found = [
            f"shim {pid}: {now[pid]} descriptors instead of {number}"
            for pid, number in before.items()
            if now.get(pid, 0) > number + _OWN
        ]
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.1)
