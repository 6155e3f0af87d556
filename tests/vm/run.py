"""Run the tests of tests/vm, or any command, in a virtual machine of each kind.

    python tests/vm/run.py                               the tests on v2, hybrid and systemd, with naja
    python tests/vm/run.py --all                         and all of tests/integration, which takes long
    python tests/vm/run.py --runtime crun --variant v2   one kind of host, another runtime
    python tests/vm/run.py --variant hybrid -- cat /proc/self/cgroup

The exit status is that of the first command that failed, 2 where no machine could be made.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if not __package__:
    sys.path[0] = ROOT

from tests.vm.machine import VARIANTS, Machine, MachineError  # noqa: E402

TESTED = ("v2", "hybrid", "systemd")
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
#: What else depends on the kind of cgroups.
INTEGRATION = (
    *("test_cgroup_v1.py", "test_cgroup_v2.py", "test_cgroup_systemd.py", "test_cgroup_rootless.py"),
    "test_properties_resources.py",
)


def main(argv: list[str]) -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="run.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="kind of host; may be repeated")
    parser.add_argument(
        "--runtime", default="", help="the runtime to test, naja by default: runc, crun, a path"
    )
    parser.add_argument("--all", action="store_true", help="test what has nothing to do with cgroups too")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds that a machine may live")
    parser.add_argument("command", nargs="*", help="instead of the tests of tests/vm")
    options = parser.parse_args(argv)
    # As an exception, so that the machine and its directory go with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    integration = [""] if options.all else INTEGRATION
    command = options.command or [*PYTEST, "tests/vm", *(f"tests/integration/{name}" for name in integration)]
    failure = 0
    for variant in options.variant or TESTED:
        began = time.monotonic()
        try:
            outcome = Machine(variant).run(
                command, options.timeout, directory=ROOT, environment={"NAJA": options.runtime}
            )
        except MachineError as error:
            print(f"{variant}: {error}", file=sys.stderr)
            failure = failure or 2
            continue
        sys.stdout.write(outcome.stdout)
        sys.stderr.write(outcome.stderr)
        print(f"{variant}: status {outcome.status} after {time.monotonic() - began:.0f} s", flush=True)
        failure = failure or outcome.status
    return failure


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
