"""Operations that limit a cgroup: writes to its files, and device rules. All are done by the runtime.

The kernel's admin-guide/cgroup-v1 and admin-guide/cgroup-v2.
"""

from __future__ import annotations

import errno
import os

from ..errors import NajaError, Unsupported
from ..linux.cgroupfs import DENIED, read, write
from .base import Context, Operation
from .ownership import skipped


class WriteLimits(Operation):
    """Write to files of a cgroup, which may depend on one another.

    A memory limit may not rise above the limit of memory and swap, a burst not above the quota, and
    so on: which order works depends on the values before. So all are tried in the order given, and
    those that the kernel refuses are tried again once others were accepted.
    """

    __slots__ = ("directory", "limits")

    def __init__(self, directory: str, limits: list[tuple[str, str, str]]) -> None:
        self.directory = directory
        #: (file, value, origin) of each.
        self.limits = limits
        self.origin = limits[0][2]

    def describe(self) -> str:
        assignments = ", ".join(f"{file} = {value}" for file, value, _ in self.limits)
        return f"write {assignments} in {self.directory}"

    def apply(self, context: Context) -> None:
        _check_made(context, self)
        waiting = self.limits
        while waiting:
            refused, reason = [], None
            for limit in waiting:
                file, value, origin = limit
                try:
                    write(f"{self.directory}/{file}", value)
                except OSError as error:
                    refusal = _not_written(self.directory, file, value, error, origin)
                    if error.errno != errno.EINVAL:
                        raise refusal from None
                    refused.append(limit)
                    reason = reason or refusal
            if reason and len(refused) == len(waiting):
                raise reason
            waiting = refused


class WriteFirstPresent(Operation):
    """Write to the first of several files that this kernel has: they are names of the same thing."""

    __slots__ = ("choices", "directory", "required")

    def __init__(
        self, directory: str, choices: list[tuple[str, str]], origin: str, *, required: bool = True
    ) -> None:
        self.directory = directory
        #: (file, value) of each.
        self.choices = choices
        #: False where a kernel without any of the files already behaves as asked.
        self.required = required
        self.origin = origin

    def describe(self) -> str:
        choices = ", or else ".join(f"{file} = {value}" for file, value in self.choices)
        unless = "" if self.required else ", if there is such a file"
        return f"write {choices} in {self.directory}{unless}"

    def apply(self, context: Context) -> None:
        _check_made(context, self)
        for file, value in self.choices:
            try:
                write(f"{self.directory}/{file}", value)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _not_written(self.directory, file, value, error, self.origin) from None
            return
        if self.required:
            files = " or ".join(file for file, _ in self.choices)
            raise Unsupported(f"this kernel has no {files} in {self.directory}", origin=self.origin)


def in_force(operation: Operation) -> list[Operation]:
    """Return what would take back an operation that is to be done: writes of what its files hold now.

    Only of files with one value; those with a line for each device cannot be written back.
    """
    if isinstance(operation, WriteLimits):
        files = [file for file, _, _ in operation.limits]
    elif isinstance(operation, WriteFirstPresent):
        files = [file for file, _ in operation.choices]
    else:
        return []
    found = []
    for file in files:
        try:
            value = read(f"{operation.directory}/{file}")
        except OSError:
            continue  # There is none, or it cannot be read; then it was not for a limit.
        if value and "\n" not in value and ":" not in value:
            found.append((file, value, operation.origin))
    return [WriteLimits(operation.directory, found)] if found else []


def _check_made(context: Context, operation: WriteLimits | WriteFirstPresent) -> None:
    if operation.directory in skipped(context):
        raise NajaError(
            operation.describe(),
            why="without privileges the cgroup could not be made: have systemd make it (--systemd-cgroup)",
            origin=operation.origin,
        )


def _not_written(directory: str, file: str, value: str, error: OSError, origin: str) -> NajaError:
    what = f"write {file} = {value} in {directory}"
    from . import reasons

    why = reasons.of_limit(directory, file, value, error)
    if error.errno == errno.ENOENT:
        return Unsupported(what, why=why or "this kernel has no such file here", origin=origin)
    return NajaError.from_os_error(what, error, why=why, origin=origin)


class CheckMemoryUsage(Operation):
    """Refuse a memory limit that is not above what is used already (checkBeforeUpdate)."""

    __slots__ = ("directory", "file", "limit")

    def __init__(self, directory: str, file: str, limit: int, origin: str) -> None:
        self.directory = directory
        self.file = file
        self.limit = limit
        self.origin = origin

    def describe(self) -> str:
        return f"check that {self.file} is below {self.limit} in {self.directory}"

    def apply(self, context: Context) -> None:
        usage = int(read(f"{self.directory}/{self.file}"))
        if usage >= self.limit:
            raise NajaError(self.describe(), why=f"it is {usage}", origin=self.origin)


class WarnUnlessKept(Operation):
    """Tell of a limit that the kernel takes without an error, and does not keep."""

    __slots__ = ("directory", "file", "limit")

    def __init__(self, directory: str, file: str, limit: int, origin: str) -> None:
        self.directory = directory
        self.file = file
        self.limit = limit
        self.origin = origin

    def describe(self) -> str:
        return f"warn if {self.file} in {self.directory} is still above {self.limit}"

    def apply(self, context: Context) -> None:
        kept = int(read(f"{self.directory}/{self.file}"))
        if kept > self.limit >= 0:
            context.warn(f"this kernel has no limit {self.file} ({self.origin})")


class AllowDevices(Operation):
    """Say which devices may be used, in a v1 hierarchy (admin-guide/cgroup-v1/devices)."""

    __slots__ = ("allow_all", "directory", "exceptions", "optional")

    def __init__(
        self, directory: str, *, allow_all: bool, exceptions: list[str], optional: bool, origin: str
    ) -> None:
        self.directory = directory
        #: Whether a device that no exception names is allowed.
        self.allow_all = allow_all
        #: As the kernel writes them: "c 1:3 rwm".
        self.exceptions = exceptions
        self.optional = optional
        self.origin = origin

    def describe(self) -> str:
        verb = "allow" if self.allow_all else "deny"
        exceptions = ", ".join(self.exceptions)
        but = f" but {exceptions}" if exceptions else ""
        return f"{verb} all devices{but} in {self.directory}"

    def apply(self, context: Context) -> None:
        if self.directory in skipped(context):
            return
        try:
            self._apply()
        except OSError as error:
            # Without privileges the filter cannot be had, and is not needed: nor can devices be made.
            if not (self.optional and error.errno in DENIED):
                raise

    def _apply(self) -> None:
        allow, deny = f"{self.directory}/devices.allow", f"{self.directory}/devices.deny"
        if self.allow_all:
            write(allow, "a")
            for exception in self.exceptions:
                write(deny, exception)
            return
        # Running processes must not see a moment without their devices: only differences are written.
        present = set(read(f"{self.directory}/devices.list").split("\n"))
        if "a *:* rwm" in present:
            write(deny, "a")
            present = set()
        for exception in self.exceptions:
            if exception not in present:
                write(allow, exception)
        wanted = {_device(exception): exception for exception in self.exceptions}
        for exception in sorted(present - {"", *self.exceptions}):
            write(deny, exception)
            # But not the part of it that still is wanted.
            if kept := wanted.get(_device(exception)):
                write(allow, kept)


def _device(exception: str) -> str:
    return exception.rpartition(" ")[0]


class FilterDevices(Operation):
    """Say which devices may be used, in a v2 tree: by an eBPF program (cgroup-v2, Device controller)."""

    __slots__ = ("allow_all", "directory", "optional", "rules")

    def __init__(
        self,
        directory: str,
        *,
        allow_all: bool,
        rules: list[tuple[bool, str, int, int, str]],
        optional: bool,
        origin: str,
    ) -> None:
        self.directory = directory
        self.allow_all = allow_all
        #: (allow, type, major, minor, access) in order, the last that matches decides; -1 is any.
        self.rules = rules
        self.optional = optional
        self.origin = origin

    def describe(self) -> str:
        verb = "allow" if self.allow_all else "deny"
        rules = "".join(
            f", {'allow' if allow else 'deny'} {kind} {_number(major)}:{_number(minor)} {access}"
            for allow, kind, major, minor, access in self.rules
        )
        return f"filter devices in {self.directory}: {verb} all{rules}"

    def apply(self, context: Context) -> None:
        if self.directory in skipped(context):
            return
        # Not needed on v1 hosts; the runtime may import what it likes.
        from ..linux import bpf

        program = bpf.device_program(self.rules, allow_all=self.allow_all)
        descriptor = os.open(os.fsencode(self.directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            bpf.attach_device_filter(descriptor, program)
        except OSError as error:
            if not (self.optional and error.errno in DENIED):
                raise
        finally:
            os.close(descriptor)


def _number(value: int) -> str:
    return "*" if value < 0 else str(value)
