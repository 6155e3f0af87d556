"""A small virtual machine with the host's files in it, to test kinds of cgroups that the host has not.

It needs no KVM, no image and no network: qemu emulates the processor, the guest's root is the host's,
shared read-only beneath a layer in memory. A command sees the host's programs and files, works in the
same directory, and changes nothing on the host.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from typing import NamedTuple

from tests.vm.kernel import GUEST, MachineError, initramfs, prepare

__all__ = ["VARIANTS", "KernelPanic", "Machine", "MachineError", "Outcome"]

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

#: The kinds of host: cgroup v2 alone; v1 hierarchies with a v2 tree beside them; v2 with systemd as
#: PID 1; and v1 alone with every controller that it has.
VARIANTS = ("v2", "hybrid", "systemd", "v1")

#: q35 and not microvm, which hangs at random when it calibrates its clock without KVM. One thread for both
#: processors: with two, qemu before 8.1 may run an instruction that the kernel has replaced (README.md).
HARDWARE = (
    *("-M", "q35", "-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "2048"),
    *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
    *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-device", "virtio-serial-pci"),
)
ARGUMENTS = "console=ttyS0 quiet tsc=reliable no_timer_check hugepages=8"
#: A kernel that hangs panics, shows what every processor does (panic_print), and reboots, which ends qemu.
#: The seconds are many, as a slow host must not look like a hang: 60 in the kernel without a pause (twice
#: watchdog_thresh) or without an RCU grace period, 240 in an uninterruptible sleep. Tests give up after 300.
ON_HANGS = (
    "panic=-1 panic_print=0x40 oops=panic softlockup_panic=1 watchdog_thresh=30"
    " sysctl.kernel.panic_on_rcu_stall=1 rcupdate.rcu_cpu_stall_timeout=60"
    " hung_task_panic=1 sysctl.kernel.hung_task_timeout_secs=240"
)
#: The panics that are the kernel's own. The end of PID 1 is not: whatever runs in the guest may kill it.
PANIC = re.compile("Kernel panic - not syncing: (?!Attempted to kill init)")
#: How much of the console, of stdout and of stderr an error shows. Two stacks need 9000 characters.
LAST_WORDS = {"console": 20000, "stdout": 3000, "stderr": 3000}


class KernelPanic(MachineError):
    """The guest's kernel hung or met a bug of its own, whatever ran in it."""


class Outcome(NamedTuple):
    """How a command in the guest ended."""

    status: int
    stdout: str
    stderr: str


class Machine:
    """A kind of guest; each command gets a machine of its own, which ends with it."""

    def __init__(self, variant: str, cache: str = os.path.join(ROOT, "build", "vm")) -> None:
        """Prepare what is to be booted. Raises MachineError where a program or package is missing."""
        if variant not in VARIANTS:
            raise MachineError(f"no variant {variant!r}; there are {', '.join(VARIANTS)}")
        self.variant = variant
        self._qemu = _program("qemu-system-x86_64", "qemu-system-x86")
        self._busybox = _program("busybox", "busybox-static")
        if variant == "systemd":
            _program("/lib/systemd/systemd", "systemd")
            _program("dbus-daemon", "dbus")
        self._kernel = prepare(cache)
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(
        self,
        argv: list[str],
        timeout: float,
        *,
        directory: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> Outcome:
        """Boot, run a command as root in ``directory`` (the present one), and return how it ended.

        $NAJA_VM holds the variant. Raises MachineError where the guest dies or takes too long, KernelPanic
        where it is its kernel that died.
        """
        with tempfile.TemporaryDirectory(prefix="naja-vm-") as share:
            shutil.copytree(GUEST, os.path.join(share, "guest"))
            variables = {"NAJA_VM": self.variant, "TMPDIR": "/naja/tmp", "HOME": "/root"}
            variables |= {"PATH": os.environ.get("PATH", os.defpath)} | (environment or {})
            with open(os.path.join(share, "command"), "w") as command:
                command.write(f"cd {shlex.quote(directory or os.getcwd())}\n")
                command.writelines(
                    f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()
                )
                command.write(f"exec {shlex.join(argv)}\n")
            with open(os.path.join(share, "initramfs"), "wb") as archive:
                archive.write(initramfs(self._kernel, self._busybox))
            errors = self._wait(share, timeout)
            if not os.path.exists(os.path.join(share, "status")):
                if PANIC.search(_read(share, "console")):
                    raise KernelPanic(f"the guest's kernel died: {errors}{_last_words(share)}")
                raise MachineError(f"the guest died: {errors}{_last_words(share)}")
            return Outcome(int(_read(share, "status")), _read(share, "stdout"), _read(share, "stderr"))

    def _wait(self, share: str, timeout: float) -> str:
        """Run qemu to its end, and return its complaints. Raises MachineError."""
        self._running = subprocess.Popen(
            self._command(share), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        with self._running:
            try:
                if self._stopped:
                    raise MachineError("stopped before it was up")
                return self._running.communicate(timeout=timeout)[1].decode()
            except subprocess.TimeoutExpired as error:
                raise MachineError(f"not done after {timeout:g} s{_last_words(share)}") from error
            finally:
                self._running.kill()

    def stop(self) -> None:
        """Switch the machine off, where another thread runs a command in it."""
        self._stopped = True
        if self._running:
            self._running.kill()

    def _command(self, share: str) -> list[str]:
        command = [self._qemu, *HARDWARE, "-kernel", self._kernel.image, "-initrd", f"{share}/initramfs"]
        command += ["-append", f"{ARGUMENTS} {ON_HANGS} naja.variant={self.variant}"]
        command += ["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"]
        command += ["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]
        command += ["-fsdev", f"local,id=share,path={share},security_model=none"]
        command += ["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"]
        command += ["-serial", f"file:{share}/console"]
        for name in ("stdout", "stderr"):
            command += ["-chardev", f"file,id={name},path={share}/{name}"]
            command += ["-device", f"virtserialport,chardev={name},name=naja.{name}"]
        return command


def _program(name: str, package: str) -> str:
    path = shutil.which(name)
    if not path:
        raise MachineError(f"{name} is missing (Debian: apt-get install {package})")
    return path


def _read(share: str, name: str) -> str:
    try:
        with open(os.path.join(share, name), errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _last_words(share: str) -> str:
    """Return the end of what the guest said, for an error."""
    return "".join(f"\n{name}:\n{_read(share, name)[-length:]}" for name, length in LAST_WORDS.items())
