"""The lowest memory limit at which /bin/true runs, for naja, runc and crun.

    python -m conformance.lowest_memory [--times N] [RUNTIME ...]
    python tests/vm/run.py --variant v2 -- .venv/bin/python -m conformance.lowest_memory

/bin/true is Debian's static busybox. A limit is good where the container ends with status 0 N times
in a row. The limits are tried from below, so what is printed is the first good one of LADDER; once
in the host's cgroup namespace, and once in one of its own. In the guest with systemd, systemd makes
the cgroups; on a hybrid host the v2 tree is hidden, as crun 1.8 refuses it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from typing import TYPE_CHECKING

from conformance.bench.place import hide_unified
from conformance.bench.subject import Failed
from tests.support.bundle import Bundle, make_rootfs
from tests.support.command import Runtime, runtime_command
from tests.vm.cgroup import VARIANT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RUNTIMES = ("naja", "runc", "crun")
KIB = 1 << 10
#: The limits that are tried, in KiB.
LADDER = (
    *(16, 32, 64, 96, 128, 192, 256, 384, 512, 768),
    *(1024, 1536, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 8192, 12288, 16384),
)


def lowest(runs: Callable[[int], bool], ladder: Sequence[int], times: int) -> int | None:
    """Return the first limit of ``ladder`` with which ``runs`` is true so many times in a row."""
    return next((limit for limit in ladder if all(runs(limit) for _ in range(times))), None)


def measure(runtime: Runtime, bundle: Bundle, times: int) -> int | None:
    """Return the lowest limit, in KiB, with which the bundle's container ends well. Raises Failed.

    Failed is for a runtime that cannot run it without a limit either.
    """
    bundle.linux["resources"].pop("memory", None)
    done = runtime.run_attached(bundle.args("/bin/true"), check=False)
    runtime.delete(bundle, "--force", check=False)
    if done.status:
        raise Failed(str(done))

    def runs(limit: int) -> bool:
        bundle.linux["resources"]["memory"] = {"limit": limit * KIB}
        done = runtime.run_attached(bundle.args("/bin/true"), check=False)
        runtime.delete(bundle, "--force", check=False)
        return done.status == 0

    return lowest(runs, LADDER, times)


def made(name: str, directory: str) -> Runtime:
    """Return a runtime with a state directory of its own."""
    argv = runtime_command() if name == "naja" else [name]
    if VARIANT == "systemd":
        argv = [*argv, "--systemd-cgroup"]
    return Runtime(os.path.join(directory, f"state-{name}"), argv)


def main(words: list[str]) -> int:
    """Measure what the command line asks for; print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="lowest_memory", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=5, help="how often a limit has to do")
    parser.add_argument("runtime", nargs="*", default=RUNTIMES, help="naja, runc and crun by default")
    options = parser.parse_args(words)
    try:
        report(options.runtime, options.times)
    except Failed as error:
        print(f"lowest_memory: {error}", file=sys.stderr)
        return 1
    return 0


def report(names: Sequence[str], times: int) -> None:
    """Print the table. Raises Failed."""
    hidden = "" if VARIANT or not hide_unified() else " without its v2 tree"
    print(
        f"Linux {platform.release()}, {VARIANT or 'this host'}{hidden}; good {times} times in a row, KiB:\n"
    )
    print("| runtime | lowest limit | with a cgroup namespace |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="naja-lowest-") as directory:
        rootfs = os.path.join(directory, "rootfs")
        make_rootfs(rootfs)
        bundle = Bundle(os.path.join(directory, "bundle"), f"najalowest{os.getpid()}", rootfs)
        if VARIANT == "systemd":
            bundle.linux["cgroupsPath"] = f"system.slice:naja:{bundle.id}"
        shared = bundle.linux["namespaces"]
        for name in names:
            cells = []
            for namespaces in (shared, [*shared, {"type": "cgroup"}]):
                bundle.linux["namespaces"] = namespaces
                found = measure(made(name, directory), bundle, times)
                cells.append(str(found or f"above {LADDER[-1]}"))
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
