"""Run the tests of tests/vm, or any command, in a virtual machine of each kind.

    python tests/vm/run.py                               the tests on v2, hybrid and systemd, with naja
    python tests/vm/run.py --all                         and all of tests/integration, which takes long
    python tests/vm/run.py --runtime crun --variant v2   one kind of host, another runtime
    python tests/vm/run.py --variant hybrid -- cat /proc/self/cgroup

As many machines run at a time as the host bears. Where a guest's kernel hangs or panics, that is
reported, and the machine booted once more. The exit status is that of the last command that failed, 2
where a machine could not be made or died.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if not __package__:
    sys.path[0] = ROOT

from tests.vm.machine import VARIANTS, KernelPanic, Machine, MachineError, Outcome  # noqa: E402

if TYPE_CHECKING:
    from concurrent.futures import Future

#: The longest first.
TESTED = ("v2", "systemd", "hybrid")
#: With AGAIN=N up to N tests that fail are run once more.
MODULE = ("tests.again", os.environ["AGAIN"]) if "AGAIN" in os.environ else ("pytest", "-pno:cacheprovider")
PYTEST = (sys.executable, "-m", *MODULE, "-q", "--durations=10")
#: What else depends on the kind of cgroups. With cgroupfs a host with systemd is one with v2 and no more.
COMMON = (
    "test_cgroup_v2.py",
    "test_cgroup_systemd.py",
    "test_cgroup_rootless.py",
    "test_cgroup_threaded.py",
    "test_properties_resources.py",
)
INTEGRATION = {
    "v2": (*COMMON, "test_exec_limits.py"),
    "systemd": (),
    "hybrid": ("test_cgroup_v1.py", *COMMON),
    "v1": ("test_cgroup_v1.py", *COMMON),
}


def main(argv: list[str]) -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="run.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="kind of host; may be repeated")
    parser.add_argument(
        "--runtime", default="", help="the runtime to test, naja by default: runc, crun, a path"
    )
    parser.add_argument("--all", action="store_true", help="test what has nothing to do with cgroups too")
    parser.add_argument("--timeout", type=float, default=1500, help="seconds that a machine may live")
    parser.add_argument(
        "--jobs", type=int, default=at_a_time(), help="machines at a time, by default what the host bears"
    )
    parser.add_argument("command", nargs="*", help="instead of the tests of tests/vm")
    options = parser.parse_args(argv)
    # As an exception, so that the machines and their directories go with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def run(machine: Machine) -> tuple[Outcome, str]:
        command = options.command or tests(machine.variant, everything=options.all)
        return run_again(machine, command, options.timeout, {"NAJA": options.runtime})

    failure = 0
    machines: list[Machine] = []
    try:
        machines += map(Machine, options.variant or TESTED)
        with ThreadPoolExecutor(options.jobs) as pool:
            try:
                for machine, running in [(machine, pool.submit(run, machine)) for machine in machines]:
                    failure = report(machine.variant, running) or failure
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                for machine in machines:
                    machine.stop()
    except MachineError as error:
        print(error, file=sys.stderr)
        return 2
    return failure


def at_a_time() -> int:
    """Return how many machines may run at a time.

    One for each processor, as a guest has a thread for all of its own; and for each 3 GiB of memory.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(os.cpu_count() or 1, memory // (3 << 30)))


def run_again(
    machine: Machine, command: list[str], timeout: float, environment: dict[str, str]
) -> tuple[Outcome, str]:
    """Run a command in a machine, a second time where its kernel dies, and say how long it took.

    Raises MachineError.
    """
    note = ""
    began = time.monotonic()
    try:
        outcome = machine.run(command, timeout, directory=ROOT, environment=environment)
    except KernelPanic as panic:
        again = f"{machine.variant}: booting once more"
        print(f"{machine.variant}: {panic}\n{again}", file=sys.stderr, flush=True)
        note = ", at the second boot: in the first the guest's kernel died (see above)"
        outcome = machine.run(command, timeout, directory=ROOT, environment=environment)
    return outcome, f"{time.monotonic() - began:.0f} s{note}"


def report(variant: str, running: Future[tuple[Outcome, str]]) -> int:
    """Wait for a machine, print what its command said, and return the status, 2 where the machine died."""
    try:
        outcome, duration = running.result()
    except MachineError as error:
        print(f"{variant}: {error}", file=sys.stderr)
        return 2
    sys.stdout.write(outcome.stdout)
    sys.stderr.write(outcome.stderr)
    print(f"{variant}: status {outcome.status} after {duration}", flush=True)
    return outcome.status


def tests(variant: str, *, everything: bool) -> list[str]:
    """Return the command that runs the tests of a variant."""
    if everything:
        return [*PYTEST, "tests/vm", "tests/integration"]
    # Engines take as long as all else: make test-vm-engines.
    return [
        *PYTEST,
        "tests/vm",
        "--ignore=tests/vm/test_vm_engines.py",
        *(f"tests/integration/{name}" for name in INTEGRATION[variant]),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
