"""What an undo fails at is told after what it is for, and what it could not remove is there to be removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.command import Runtime
from tests.support.needs import requires_command

if TYPE_CHECKING:
    from tests.support.bundle import Bundle

pytestmark = requires_command("strace")


def failing(naja: Runtime, *calls: str) -> Runtime:
    """Return the runtime, for which system calls fail."""
    faults = [word for call in calls for word in ("-e", f"inject={call}:error=EIO")]
    return Runtime(naja.root, ["strace", "-f", "-qq", "-o", "/dev/null", *faults, *naja.argv])


@pytest.mark.parametrize("verb", ["run", "create"])
def test_a_creation(naja: Runtime, bundle: Bundle, verb: str) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    unlucky = failing(naja, "rmdir")
    done = unlucky.detached(verb, "--bundle", bundle.args("/bin/true").path, bundle.id, check=False)
    first, _, then = done.stderr.partition("; and then: ")
    assert first.startswith("naja: hook /bin/false failed with exit status 1, asked for by ")
    assert "Input/output error (EIO)" in then
    assert done.stderr.count("\n") == 1
    assert naja.ids() == [bundle.id]
    naja.delete(bundle, "--force")
    assert naja.ids() == []


def test_a_hook_after_the_start(naja: Runtime, bundle: Bundle) -> None:
    """The container is to end with it, and cannot be signalled."""
    bundle.config["hooks"] = {"poststart": [{"path": "/bin/false"}]}
    naja.create(bundle.args("/bin/sleep", "1000"))
    done = failing(naja, "pidfd_send_signal").run("start", bundle.id, check=False)
    first, _, then = done.stderr.partition("; and then: ")
    assert first.startswith("naja: hook /bin/false failed with exit status 1, asked for by ")
    assert "Input/output error (EIO)" in then
    assert done.stderr.count("\n") == 1
    naja.delete(bundle, "--force")


@pytest.mark.parametrize("call", ["mkdirat", "fchmodat", "flock"])
@pytest.mark.parametrize("verb", ["run", "create"])
def test_an_end_that_is_asked_for_as_the_state_is_made(
    naja: Runtime, bundle: Bundle, verb: str, call: str
) -> None:
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=SIGTERM:when=1"]
    asked = Runtime(naja.root, [*words, *naja.argv])
    done = asked.detached(verb, "--bundle", bundle.args("/bin/true").path, bundle.id, check=False)
    # To run it is like any other signal: it is passed on to the container's process.
    assert verb == "run" or done.status != 0
    assert naja.ids() == []
