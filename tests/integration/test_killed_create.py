"""`kill -9` of create at random moments: `delete --force` removes whatever was left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.leaks import Watch, children
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

MOMENTS = 50


@pytest.fixture
def seed() -> int:
    """The moments' seed; it is shown where the test fails. $NAJA_SEED repeats a run."""
    value = int(os.environ.get("NAJA_SEED", random.randrange(1 << 32)))
    print(f"NAJA_SEED={value}")
    return value


def duration_of_create(naja: Runtime, bundle: Bundle) -> float:
    """Return the seconds that a create takes when it is left alone."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        naja.create(bundle)
        times.append(time.monotonic() - began)
        naja.delete(bundle, "--force")
    return max(times)


def killed_create(naja: Runtime, bundle: Bundle, after: float) -> None:
    """Begin a create and kill its first process ``after`` so many seconds."""
    creating = subprocess.Popen(
        naja.command("create", "--bundle", bundle.path, bundle.id),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after)
    creating.send_signal(signal.SIGKILL)
    creating.wait(timeout=10)


def test_killed_at_any_moment(
    naja: Runtime, busybox_bundle: Callable[[], Bundle], leak_check: Watch, seed: int
) -> None:
    bundle = busybox_bundle().args("/bin/sleep", "1000")
    lasts = duration_of_create(naja, bundle)
    moments = random.Random(seed)
    for _ in range(MOMENTS):
        after = moments.uniform(0, lasts * 1.1)
        killed_create(naja, bundle, after)
        naja.delete(bundle, "--force")
        # Whoever of the create is still alive must end by itself, now that its parent is dead.
        leaks = leak_check.leaks(patience=3)
        assert not leaks, f"killed after {after * 1000:.1f} ms of {lasts * 1000:.1f}: {leaks}"


def test_orphans_of_a_killed_create_end_by_themselves(
    naja: Runtime, busybox_bundle: Callable[[], Bundle], leak_check: Watch, seed: int
) -> None:
    """Before any delete: a stage or an init that lost its runtime does not wait for ever, or runs on.

    Only a container that was created completely may stay.
    """
    bundle = busybox_bundle().args("/bin/sleep", "1000")
    lasts = duration_of_create(naja, bundle)
    moments = random.Random(seed)
    for _ in range(15):
        killed_create(naja, bundle, moments.uniform(0, lasts * 0.8))
        state = naja.run("state", bundle.id, check=False)
        if '"created"' not in state.stdout:
            wait_until(
                lambda: not set(children()) - leak_check.before,
                timeout=5,
                what=f"the end of the orphans, {children()}",
            )
        naja.delete(bundle, "--force")


@pytest.mark.parametrize("flags", [(), ("--detach",)])
def test_killed_run(
    naja: Runtime, busybox_bundle: Callable[[], Bundle], leak_check: Watch, seed: int, flags: tuple[str, ...]
) -> None:
    """The same for `run`, whose container stays behind without it."""
    bundle = busybox_bundle().args("/bin/sleep", "1000")
    moments = random.Random(seed)
    for _ in range(20):
        running = subprocess.Popen(
            naja.command("run", "--bundle", bundle.path, *flags, bundle.id), stdout=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0, 0.06))
        running.kill()
        running.wait(timeout=10)
        naja.delete(bundle, "--force")
        leaks = leak_check.leaks(patience=3)
        assert not leaks, leaks
