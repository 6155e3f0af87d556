"""Building seccomp filters with libseccomp (libseccomp.so.2, 2.4 or newer).

Loading the library is for the runtime alone: a process in a container has no business with dlopen.
"""

from __future__ import annotations

import errno
import os
import struct

from ..errors import Unsupported
from .foreign import Char, Library, arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: enum scmp_compare, by the names that config.json uses.
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

#: Architectures that config.json may name (config-linux.md, seccomp); libseccomp decides which it knows.
ARCHITECTURES = (
    *("SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"),
    *("SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64"),
    *("SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32"),
    *("SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390", "SCMP_ARCH_S390X"),
    *("SCMP_ARCH_SH", "SCMP_ARCH_SHEB", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64"),
)

_FLTATR_CTL_OPTIMIZE, _BINARY_TREE = 8, 2
_NR_SCMP_ERROR = -1

#: Index of the argument, OPERATORS value, value (the mask for MASKED_EQ), second value.
Condition = tuple[int, int, int, int]


class Libseccomp:
    """The loaded library."""

    def __init__(self) -> None:
        """Load it. Raises Unsupported where the host has none."""
        try:
            self._library = Library("libseccomp.so.2")
        except OSError as error:
            raise Unsupported("seccomp filters need libseccomp.so.2", why=str(error)) from None
        self._resolve = self._library.function("seccomp_syscall_resolve_name_arch")

    def function(self, name: str) -> Any:
        """Return one of its functions, to be called through ``int_call`` or by hand."""
        return self._library.function(name)

    def version(self) -> bytes:
        """Return its version, as it keeps it in memory (struct scmp_version)."""
        memory: Any = (Char * 12).from_address(self.function("seccomp_version")())
        content: bytes = memory.raw
        return content

    def architecture(self, name: str) -> int:
        """Return the token of an architecture ("SCMP_ARCH_X86_64"), 0 where it is not known."""
        resolve = self.function("seccomp_arch_resolve_name")
        token: int = resolve(name.removeprefix("SCMP_ARCH_").lower().encode())
        return token & 0xFFFFFFFF

    def native_architecture(self) -> int:
        """Return the token of the architecture that the caller runs on."""
        token: int = self.function("seccomp_arch_native")()
        return token & 0xFFFFFFFF

    def syscall(self, architecture: int, name: str) -> int | None:
        """Return the number of a system call, negative where that architecture lacks it, None if unknown."""
        number = _signed(self._resolve(*arguments((architecture, name.encode()))))
        return None if number == _NR_SCMP_ERROR else number


class Filter:
    """A filter under construction (seccomp_init(3))."""

    def __init__(self, library: Libseccomp, default_action: int) -> None:
        """Start with the native architecture and no rules. Raises OSError."""
        self._library = library
        self._handle: int = library.function("seccomp_init")(*arguments((default_action,)))
        if not self._handle:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._add = library.function("seccomp_rule_add_array")

    def close(self) -> None:
        """Free the library's memory."""
        self._library.function("seccomp_release")(*arguments((self._handle,)))

    def _call(self, function: Any, *values: Any) -> None:
        # libseccomp returns the negative errno.
        result = _signed(function(*arguments((self._handle, *values))))
        if result < 0:
            raise OSError(-result, os.strerror(-result))

    def add_architecture(self, token: int) -> None:
        """Let the filter apply to one more architecture (seccomp_arch_add(3)). Raises OSError."""
        try:
            self._call(self._library.function("seccomp_arch_add"), token)
        except FileExistsError:
            pass  # The native one, or one named twice.

    def optimize(self) -> None:
        """Sort the rules into a binary tree, where this libseccomp can (2.5). Raises OSError."""
        try:
            self._call(self._library.function("seccomp_attr_set"), _FLTATR_CTL_OPTIMIZE, _BINARY_TREE)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EINVAL, errno.EOPNOTSUPP):
                raise

    def add_rule(self, action: int, syscall: int, conditions: list[Condition]) -> None:
        """Answer a system call with an action where all conditions hold. Raises OSError."""
        array = b"".join(struct.pack("@IiQQ", *condition) for condition in conditions)
        self._call(self._add, action, syscall, len(conditions), array)

    def program(self) -> bytes:
        """Return the filter as the kernel's instructions (seccomp_export_bpf(3)). Raises OSError."""
        memory = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            self._call(self._library.function("seccomp_export_bpf"), memory)
            return os.pread(memory, os.fstat(memory).st_size, 0)
        finally:
            os.close(memory)


def _signed(result: int) -> int:
    """Return a C int that came back in the lower half of a register."""
    result &= 0xFFFFFFFF
    return result - (1 << 32) if result >= 1 << 31 else result
