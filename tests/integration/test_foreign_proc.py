"""naja in a pid namespace with the /proc of another: a number is another process there; nothing is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.command import Runtime
from tests.support.needs import requires_command

if TYPE_CHECKING:
    from tests.support.bundle import Bundle

pytestmark = requires_command("unshare")

REFUSED = "/proc belongs to another pid namespace: mount it anew"


@pytest.fixture
def nested(naja: Runtime) -> Runtime:
    """The runtime in a pid namespace of its own."""
    return Runtime(naja.root, ["unshare", "--pid", "--fork", *naja.argv])


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("verb", ["run", "create"])
def test_a_creation(nested: Runtime, bundle: Bundle, verb: str, user: bool) -> None:
    """Of a user namespace it would write the id maps of another process."""
    if user:
        bundle.linux["namespaces"].append({"type": "user"})
        for kind in ("uidMappings", "gidMappings"):
            bundle.linux[kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    done = nested.detached(verb, "--bundle", bundle.args("/bin/true").path, bundle.id, check=False)
    assert done.status == 1
    assert REFUSED in done.stderr
    assert done.stderr.count("\n") == 1
    assert nested.ids() == []


@pytest.mark.parametrize(
    "words", [["exec", "ID", "/bin/true"], ["kill", "ID", "KILL"], ["delete", "--force", "ID"]]
)
def test_a_container_of_the_outer_namespace(
    naja: Runtime, nested: Runtime, bundle: Bundle, words: list[str]
) -> None:
    """Its pid is another process's here, or nobody's."""
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    done = nested.run(*[bundle.id if word == "ID" else word for word in words], check=False)
    assert done.status != 0
    assert REFUSED in done.stderr
    assert naja.status(bundle) == "running"
    naja.delete(bundle, "--force")


def test_with_a_proc_of_its_own(naja: Runtime, bundle: Bundle) -> None:
    nested = Runtime(naja.root, ["unshare", "--pid", "--fork", "--mount-proc", *naja.argv])
    nested.run_attached(bundle.args("/bin/true"))
