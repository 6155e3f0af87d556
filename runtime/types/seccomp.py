"""Filters of system calls (schemas/seccomp.json)."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

SeccompAction = Literal[
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
]


SeccompArchitecture = Literal[
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
]


SeccompFlag = Literal[
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
]


SeccompOperator = Literal[
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
]


class SyscallArgument(TypedDict):
    """A condition of a rule."""

    #: Which argument.
    index: int
    #: What it is compared with.
    value: int
    #: What is left under the mask.
    valueTwo: NotRequired[int]
    #: How it is compared.
    op: SeccompOperator


class SyscallRule(TypedDict):
    """A rule of a filter."""

    #: System calls that the rule is for.
    names: list[str]
    #: What happens to them.
    action: SeccompAction
    #: The errno of the action.
    errnoRet: NotRequired[int]
    #: Conditions, all of which must hold.
    args: NotRequired[list[SyscallArgument]]


class Seccomp(TypedDict):
    """A filter of system calls, seccomp(2)."""

    #: For calls that no rule names.
    defaultAction: SeccompAction
    #: The errno of the default action.
    defaultErrnoRet: NotRequired[int]
    #: Architectures beside the machine's own.
    architectures: NotRequired[list[SeccompArchitecture]]
    #: Flags of seccomp(2).
    flags: NotRequired[list[SeccompFlag]]
    #: Socket that gets the notifications.
    listenerPath: NotRequired[str]
    #: Text that is sent along.
    listenerMetadata: NotRequired[str]
    #: Rules.
    syscalls: NotRequired[list[SyscallRule]]
