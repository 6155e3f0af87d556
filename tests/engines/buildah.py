"""buildah: it builds images, each RUN of them in a container of the runtime."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.engines.image import BUSYBOX

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.engines.sandbox import Sandbox

    Scenario = Callable[["Buildah"], None]


class Buildah:
    """buildah with storage of its own, and the runtime by `--runtime`."""

    name = "buildah"

    def __init__(self, sandbox: Sandbox, runtime: str, images: str) -> None:
        """Load the images."""
        self.sandbox = sandbox
        self.runtime = runtime
        self.directory = os.path.join(sandbox.directory, "buildah")
        os.makedirs(self.directory)
        # A root without CAP_SYS_RESOURCE can raise no limit.
        self.configuration = os.path.join(self.directory, "containers.conf")
        with open(self.configuration, "w") as file:
            file.write(
                '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\nnetns = "none"\n'
            )
        self("pull", f"docker-archive:{images}:{BUSYBOX}")

    def __call__(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a subcommand. Raises CommandFailed where it fails (with ``check``)."""
        storage = ["--root", os.path.join(self.directory, "storage"), "--runroot", "/run/buildah-storage"]
        command = ["env", f"CONTAINERS_CONF={self.configuration}", "buildah", *storage]
        return self.sandbox.run([*command, "--storage-driver", "overlay", *words], check=check)

    def run(self, container: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        flags = ("--runtime", self.runtime, "--isolation", "oci", "--network", "none")
        return self("run", *flags, container, "--", *words, check=check)

    def remove_all(self) -> None:
        """Remove all working containers."""
        self("rm", "--all", check=False)


def run(engine: Buildah) -> None:
    container = engine("from", "--pull-never", BUSYBOX).stdout.strip()
    assert engine.run(container, "sh", "-c", "echo out").stdout == "out\n"
    engine.run(container, "touch", "/made")
    engine.run(container, "test", "-e", "/made")


def exit_codes(engine: Buildah) -> None:
    container = engine("from", "--pull-never", BUSYBOX).stdout.strip()
    assert engine.run(container, "sh", "-c", "exit 42", check=False).returncode == 42


def missing_command(engine: Buildah) -> None:
    container = engine("from", "--pull-never", BUSYBOX).stdout.strip()
    done = engine.run(container, "no-such-program", check=False)
    assert done.returncode != 0
    assert "executable file not found in $PATH" in done.stderr, done


def build(engine: Buildah) -> None:
    context = os.path.join(engine.directory, "context")
    os.makedirs(context, exist_ok=True)
    with open(os.path.join(context, "Containerfile"), "w") as file:
        file.write(
            f"FROM {BUSYBOX}\nRUN echo built > /file\nUSER 1000\nRUN test $(id -u) = 1000 && cat /file\n"
        )
    flags = ("--runtime", engine.runtime, "--isolation", "oci", "--network", "none", "--pull-never")
    done = engine("build", *flags, "--tag", "built", context)
    assert "built" in done.stdout, done


BUILDAH: dict[str, Scenario] = {
    "run": run,
    "exit codes, 125": exit_codes,
    "missing command: 127": missing_command,
    "build of an image": build,
}
