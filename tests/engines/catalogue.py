"""All engines and what is done with each: for pytest, and for the matrix of conformance/engines.py."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.engines.buildah import BUILDAH, Buildah
from tests.engines.containerd import CNI_PLUGINS, Containerd, Cri, Ctr
from tests.engines.cri_scenarios import CRI
from tests.engines.crictl import BUILT, CRICTL, Crictl
from tests.engines.ctr_scenarios import CTR
from tests.engines.docker import Docker, knows_shims, remapped
from tests.engines.docker_scenarios import DOCKER, PODMAN, RANGELESS, REMAPPED, ROOTLESS
from tests.engines.image import write_images
from tests.engines.podman import Podman, RangelessPodman, RootlessPodman
from tests.engines.sandbox import PATH, Sandbox
from tests.engines.shims import type_of
from tests.engines.swarm import SWARM, Swarm
from tests.engines.traces import Traces
from tests.support.bundle import make_rootfs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self


@dataclass
class Entry:
    """An engine: how it is made in an Engines, what it needs in PATH, and its scenarios by name."""

    name: str
    programs: tuple[str, ...]
    make: Callable[[Engines], Any]
    scenarios: Mapping[str, Callable[[Any], None]]
    #: Whether containerd stands behind it.
    takes_shims: bool = True

    def missing(self, runtime: str = "") -> list[str]:
        """Return what is needed and not there, for a runtime where one is named."""
        if type_of(runtime) and not self.takes_shims:
            return ["a runtime that is no shim"]
        path = f"{PATH}:{CNI_PLUGINS}"
        missing = [program for program in self.programs if not shutil.which(program, path=path)]
        if type_of(runtime) and not missing and "dockerd" in self.programs and not knows_shims():
            missing = ["Docker 23, which knows shims"]
        return ["crictl (make crictl)" if program == BUILT else program for program in missing]


class Engines:
    """A sandbox with engines that use one runtime; each is started when it is first asked for."""

    def __init__(self, runtime: str) -> None:
        """Make the sandbox and the images; ``runtime`` is a program's path. Raises OSError."""
        self.runtime = runtime
        # Directly below the usual place: a unix socket's path has 107 bytes at most.
        self.directory = tempfile.mkdtemp(prefix="naja-engines-")
        os.chmod(self.directory, 0o711)  # users of user namespaces pass through
        self._engines: dict[str, Any] = {}
        self._containerd: Containerd | None = None
        rootfs = os.path.join(self.directory, "rootfs")
        make_rootfs(rootfs)
        self.images = os.path.join(self.directory, "images.tar")
        write_images(self.images, rootfs)
        # A shim is found by its name.
        self.sandbox = Sandbox(self.directory, os.path.dirname(runtime) if type_of(runtime) else "")

    def engine(self, name: str) -> Any:
        """Return the engine with this name in CATALOGUE, started."""
        if name not in self._engines:
            self._engines[name] = CATALOGUE[name].make(self)
        return self._engines[name]

    def containerd(self) -> Containerd:
        """Return the one containerd, started."""
        if self._containerd is None:
            self._containerd = Containerd(self.sandbox, self.runtime, self.images)
        return self._containerd

    def play(self, name: str, scenario: str) -> list[str]:
        """Play a scenario and remove its containers; return what they left on the host.

        Raises AssertionError (and what a timeout raises) where the scenario fails.
        """
        engine = self.engine(name)
        traces = Traces(self.sandbox)
        try:
            CATALOGUE[name].scenarios[scenario](engine)
        finally:
            engine.remove_all()
        return traces.left()

    def close(self) -> None:
        """End all that runs, and remove all files."""
        self.sandbox.close()
        shutil.rmtree(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


#: By name, in the order of the matrix's columns.
CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry("ctr", ("containerd", "ctr"), lambda engines: Ctr(engines.containerd()), CTR),
        Entry(
            "CRI",
            ("containerd", "ctr", "bridge", "host-local"),
            lambda engines: Cri(engines.containerd()),
            CRI,
        ),
        Entry(
            "crictl",
            ("containerd", "ctr", BUILT),
            lambda engines: Crictl(engines.containerd()),
            CRICTL,
        ),
        Entry(
            "Docker",
            ("dockerd", "docker", "containerd"),
            lambda engines: Docker(engines.sandbox, engines.runtime, engines.images),
            DOCKER,
        ),
        Entry(
            "Docker, userns-remap",
            ("dockerd", "docker", "containerd"),
            lambda engines: remapped(engines.sandbox, engines.runtime, engines.images),
            REMAPPED,
        ),
        Entry(
            "Swarm",
            ("dockerd", "docker", "containerd", "iptables"),
            lambda engines: Swarm(engines.sandbox, engines.runtime, engines.images),
            SWARM,
        ),
        Entry(
            "Podman",
            ("podman", "conmon", "bridge", "host-local", "iptables"),
            lambda engines: Podman(engines.sandbox, engines.runtime, engines.images),
            PODMAN,
            takes_shims=False,
        ),
        Entry(
            "Podman, rootless",
            ("podman", "conmon", "newuidmap", "setpriv"),
            lambda engines: RootlessPodman(engines.sandbox, engines.runtime, engines.images),
            ROOTLESS,
            takes_shims=False,
        ),
        Entry(
            "Podman, rootless, one ID",
            ("podman", "conmon", "setpriv"),
            lambda engines: RangelessPodman(engines.sandbox, engines.runtime, engines.images),
            RANGELESS,
            takes_shims=False,
        ),
        Entry(
            "buildah",
            ("buildah",),
            lambda engines: Buildah(engines.sandbox, engines.runtime, engines.images),
            BUILDAH,
            takes_shims=False,
        ),
    )
}
