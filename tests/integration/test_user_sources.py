"""Mount sources of a container in a user namespace that is made from within one, as below rootless Podman."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from naja.operations.sources import make_user_namespace
from tests.support.bundle import Bundle
from tests.support.command import Result, Runtime
from tests.support.namespaces import OUTSIDE, map_ids
from tests.support.needs import requires_command, requires_root

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [requires_root, requires_command("unshare", "nsenter")]


class Engine:
    """Who runs naja as root of a user namespace and of what is mounted in it, or of the former alone."""

    def __init__(self, directory: str, naja: Runtime, busybox_rootfs: str, tag: str) -> None:
        os.chmod(directory, 0o711)
        self.runtime = Runtime(f"{directory}/root", naja.argv)
        self.bundle = Bundle(f"{directory}/bundle", tag, busybox_rootfs)
        self.hidden = f"{directory}/hidden"
        for place in (self.runtime.root, self.hidden):
            os.mkdir(place, 0o700)
            os.chown(place, OUTSIDE, OUTSIDE)
        del self.bundle.linux["cgroupsPath"], self.bundle.linux["resources"]
        self.bundle.linux["namespaces"].append({"type": "user"})
        # The container's root is the second of the engine's ids, who may not enter what its root alone may.
        map_ids(self.bundle, OUTSIDE + 1)
        for name in ("uidMappings", "gidMappings"):
            self.bundle.linux[name] = [{"containerID": 0, "hostID": 1, "size": 1000}]

    def run(self, *words: str, mounts: bool = True) -> Result:
        """Run naja inside; ``mounts`` says whether the mount namespace is the engine's as well."""
        ids = [(0, OUTSIDE, 65536)]
        user = make_user_namespace(ids, ids)
        argv = ["nsenter", f"--user=/proc/self/fd/{user}", "--setuid=0", "--setgid=0"]
        if mounts:
            argv += ["unshare", "--mount"]
        argv += self.runtime.command(*words)
        try:
            done = subprocess.run(
                argv,
                check=False,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=60,
                pass_fds=[user],
            )
        finally:
            os.close(user)
        return self.runtime.judge(Result(argv, done.returncode, done.stdout, done.stderr), check=False)


@pytest.fixture
def engine(naja: Runtime, busybox_rootfs: str, tag: str) -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(directory, naja, busybox_rootfs, tag)
        yield engine
        assert engine.runtime.ids() == []


def test_a_source_that_only_the_engine_can_reach(engine: Engine) -> None:
    """As /run/user/1000/containers/…/hosts with ``podman run --uidmap 0:1:5000`` of a user."""
    source = f"{engine.hidden}/hosts"
    with open(source, "w") as file:
        file.write("127.0.0.1 localhost\n")
    engine.bundle.mount("/etc/hosts", "bind", source, "bind", "rprivate")
    engine.bundle.mount("/hidden", "bind", engine.hidden, "rbind", "ro")
    engine.bundle.shell("cat /etc/hosts /proc/self/uid_map; ls -d /hidden; touch /hidden/x 2>&1")
    result = engine.run("run", "--bundle", engine.bundle.path, engine.bundle.id)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[:3] == [["127.0.0.1", "localhost"], ["0", "1", "1000"], ["/hidden"]], str(result)
    assert result.status == 1


def test_a_source_where_mounts_are_not_the_engines(engine: Engine) -> None:
    """Root of a user namespace alone may clone no mount of the host's; what all can reach is bound."""
    with tempfile.TemporaryDirectory() as seen:
        os.chmod(seen, 0o755)
        engine.bundle.mount("/seen", "bind", seen, "bind", "ro")
        engine.bundle.shell("ls -d /seen")
        result = engine.run("run", "--bundle", engine.bundle.path, engine.bundle.id, mounts=False)
        assert (result.status, result.stdout) == (0, "/seen\n"), str(result)
