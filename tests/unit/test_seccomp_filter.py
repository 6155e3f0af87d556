"""What a seccomp profile becomes, judged by interpreting the program as the kernel would."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING, Any

import pytest

from naja.errors import NajaError, Unsupported
from naja.linux import numbers
from naja.linux.libseccomp import ARCHITECTURES, Libseccomp
from naja.linux.seccomp import ACTIONS
from naja.linux.seccomp_filter import compile_filter, kept_filter
from naja.plan import Request
from naja.plan import process as plan

if TYPE_CHECKING:
    from pathlib import Path

try:
    LIBRARY = Libseccomp()
except Unsupported as missing:
    pytest.skip(str(missing), allow_module_level=True)

X86_64, X86, X32 = 0xC000003E, 0x40000003, 0x4000003E
ALLOW, ENOSYS = ACTIONS["SCMP_ACT_ALLOW"], ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS
EPERM = ACTIONS["SCMP_ACT_ERRNO"] | errno.EPERM

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")


def interpret(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """Return what a classic BPF program answers to a system call (bpf(4), seccomp(2))."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number if number < 1 << 31 else number - (1 << 32), arch, 0, *padded)
    instructions = list(struct.iter_unpack("=HBBI", program))
    position = accumulator = 0
    while True:
        code, true, false, k = instructions[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif code == 0x06:
            return int(k)
        elif code == 0x05:
            position += k
        elif code == 0x54:
            accumulator &= k
        else:
            holds = {
                0x15: accumulator == k,
                0x25: accumulator > k,
                0x35: accumulator >= k,
                0x45: accumulator & k,
            }
            position += true if holds[code] else false


def build(default: str = "SCMP_ACT_ERRNO", *rules: dict[str, Any], **profile: Any) -> bytes:
    return compile_filter({"defaultAction": default, "syscalls": list(rules), **profile}, LIBRARY)


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def number(name: str, arch: int = X86_64) -> int:
    found = LIBRARY.syscall(arch, name)
    assert found is not None
    return found


def test_a_list_of_allowed_calls() -> None:
    program = build("SCMP_ACT_ERRNO", rule("read", "write", "openat2"))
    assert interpret(program, X86_64, number("read")) == ALLOW
    assert interpret(program, X86_64, number("ptrace")) == EPERM
    assert interpret(program, X86, 3) == ACTIONS["SCMP_ACT_KILL"]


@pytest.mark.parametrize("action", [name for name in ACTIONS if name != "SCMP_ACT_ALLOW"])
def test_every_action(action: str) -> None:
    program = build("SCMP_ACT_ALLOW", rule("ptrace", action=action))
    errno_ret = 1 if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else 0
    assert interpret(program, X86_64, number("ptrace")) == ACTIONS[action] | errno_ret
    assert interpret(program, X86_64, number("read")) == ALLOW


def test_errno_of_a_rule_and_of_the_default() -> None:
    program = build(
        "SCMP_ACT_ERRNO",
        rule("ptrace", action="SCMP_ACT_ERRNO", errnoRet=12),
        rule("openat2", action="SCMP_ACT_ERRNO", errnoRet=0),
        defaultErrnoRet=13,
    )
    assert [interpret(program, X86_64, number(name)) & 0xFFFF for name in ("ptrace", "openat2", "read")] == [
        *(12, 0, 13)
    ]


@pytest.mark.parametrize("action", ["SCMP_ACT_ALLOW", "SCMP_ACT_KILL", "SCMP_ACT_LOG"])
def test_an_errno_where_none_is_returned_is_refused(action: str) -> None:
    with pytest.raises(NajaError, match=f"{action} returns no errno") as refused:
        build("SCMP_ACT_TRAP", rule("read", action=action, errnoRet=1))
    assert refused.value.origin == "/linux/seccomp/syscalls/0/errnoRet"
    with pytest.raises(NajaError, match="returns no errno"):
        build(action, defaultErrnoRet=1)


@pytest.mark.parametrize(
    ("operator", "value", "second", "holds", "fails"),
    [
        ("SCMP_CMP_EQ", 7, 0, [7], [6, 8, 7 + (1 << 32)]),
        ("SCMP_CMP_NE", 7, 0, [6, 7 + (1 << 32)], [7]),
        ("SCMP_CMP_LT", 7, 0, [0, 6], [7, 1 << 40]),
        ("SCMP_CMP_LE", 7, 0, [7, 0], [8]),
        ("SCMP_CMP_GE", 1 << 40, 0, [1 << 40, 1 << 63], [7, (1 << 40) - 1]),
        ("SCMP_CMP_GT", 2**64 - 2, 0, [2**64 - 1], [2**64 - 2, 0]),
        ("SCMP_CMP_MASKED_EQ", 0xF0, 0x30, [0x30, 0x3F], [0x40, 0x70]),
        ("SCMP_CMP_MASKED_EQ", 0x7E020000, 0, [0x11], [0x10000000]),
    ],
)
def test_comparisons(operator: str, value: int, second: int, holds: list[int], fails: list[int]) -> None:
    argument = {"index": 2, "op": operator, "value": value, "valueTwo": second}
    program = build("SCMP_ACT_ERRNO", rule("openat2", args=[argument]))
    for answers, expected in ((holds, ALLOW), (fails, EPERM)):
        assert {interpret(program, X86_64, number("openat2"), 0, 0, given) for given in answers} == {expected}


def test_conditions_on_several_arguments_must_all_hold() -> None:
    arguments = [{"index": index, "op": "SCMP_CMP_EQ", "value": index + 1} for index in (0, 1)]
    program = build("SCMP_ACT_ERRNO", rule("openat2", args=arguments))
    assert interpret(program, X86_64, number("openat2"), 1, 2) == ALLOW
    assert interpret(program, X86_64, number("openat2"), 1, 3) == EPERM


def test_conditions_on_one_argument_are_alternatives() -> None:
    arguments = [{"index": 0, "op": "SCMP_CMP_EQ", "value": value} for value in (1, 5)]
    program = build("SCMP_ACT_ERRNO", rule("openat2", args=arguments))
    assert [interpret(program, X86_64, number("openat2"), value) for value in (1, 5, 2)] == [
        ALLOW,
        ALLOW,
        EPERM,
    ]


def test_calls_that_nobody_knows_and_rules_that_say_nothing_new() -> None:
    program = build("SCMP_ACT_ERRNO", rule("no_such_call", "openat2"), rule("read", action="SCMP_ACT_ERRNO"))
    assert interpret(program, X86_64, number("openat2")) == ALLOW


def test_architectures() -> None:
    names = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    program = build("SCMP_ACT_ERRNO", rule("getpid", "openat2"), architectures=names)
    assert interpret(program, X86_64, number("getpid")) == ALLOW
    assert interpret(program, X86, number("getpid", X86)) == ALLOW
    assert interpret(program, X86_64, number("getpid", X32)) == ALLOW
    assert interpret(program, X86, number("ptrace", X86)) == EPERM
    assert interpret(program, 0xC00000B7, number("getpid")) == ACTIONS["SCMP_ACT_KILL"]


def test_the_library_knows_what_config_json_may_name() -> None:
    known = [name for name in ARCHITECTURES if LIBRARY.architecture(name)]
    assert {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390X"} <= set(known)


@pytest.mark.parametrize("name", ["SCMP_ARCH_VAX", "x86_64"])
def test_an_unknown_architecture(name: str) -> None:
    with pytest.raises(Unsupported, match=f"{name} is not known") as refused:
        build("SCMP_ACT_ALLOW", architectures=["SCMP_ARCH_X86", name])
    assert refused.value.origin == "/linux/seccomp/architectures/1"


def test_an_architecture_of_the_other_byte_order() -> None:
    with pytest.raises(NajaError, match=r"EDOM.*byte order"):
        build("SCMP_ACT_ALLOW", architectures=["SCMP_ARCH_S390X"])


# Calls newer than the profile


@pytest.mark.parametrize("default", ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"])
def test_a_newer_call_is_unknown_instead_of_forbidden(default: str) -> None:
    names = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    program = build(default, rule("read", "openat2"), architectures=names)
    denied = ACTIONS[default] | (errno.EPERM if default == "SCMP_ACT_ERRNO" else 0)
    for arch, last in (
        (X86_64, number("openat2")),
        (X86, number("openat2", X86)),
        (X86_64, number("openat2", X32)),
    ):
        assert interpret(program, arch, last + 1) == ENOSYS
        assert interpret(program, arch, last) == ALLOW
        assert interpret(program, arch, last - 1) == denied


def test_x32_calls_stay_with_the_filter_where_it_is_not_named() -> None:
    program = build("SCMP_ACT_ERRNO", rule("read", "openat2"))
    assert interpret(program, X86_64, number("openat2", X32) + 1) == ACTIONS["SCMP_ACT_KILL"]


@pytest.mark.parametrize(
    ("default", "more"),
    [("SCMP_ACT_ALLOW", {}), ("SCMP_ACT_LOG", {}), ("SCMP_ACT_ERRNO", {"defaultErrnoRet": errno.ENOSYS})],
)
def test_nothing_is_said_of_newer_calls_where_that_changes_nothing(
    default: str, more: dict[str, Any]
) -> None:
    program = build(default, rule("ptrace", action="SCMP_ACT_TRAP"), **more)
    assert interpret(program, X86_64, 1000) == ACTIONS[default] | more.get("defaultErrnoRet", 0)


def test_a_big_profile_is_a_tree_that_answers_alike() -> None:
    names = [
        "read",
        "write",
        "close",
        "fstat",
        "lseek",
        "mmap",
        "brk",
        "ioctl",
        "access",
        "pipe",
        "dup",
        "fork",
    ]
    names += [
        "vfork",
        "execve",
        "exit",
        "wait4",
        "kill",
        "uname",
        "fcntl",
        "flock",
        "fsync",
        "getcwd",
        "chdir",
    ]
    names += [
        "mkdir",
        "rmdir",
        "link",
        "unlink",
        "chmod",
        "chown",
        "umask",
        "getuid",
        "openat2",
        "times",
        "sync",
    ]
    program = build("SCMP_ACT_ERRNO", rule(*names), architectures=["SCMP_ARCH_X86"])
    for call in range(number("openat2") + 1):
        allowed = call in {number(name) for name in names}
        assert interpret(program, X86_64, call) == (ALLOW if allowed else EPERM), call


# What is kept


def test_a_filter_is_built_once(tmp_path: Path) -> None:
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read")]}
    first = kept_filter(profile, str(tmp_path))
    (kept,) = tmp_path.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    before = kept.stat().st_mtime_ns
    assert kept_filter(profile, str(tmp_path)) == first == compile_filter(profile, LIBRARY)
    assert kept.stat().st_mtime_ns == before
    assert kept_filter({**profile, "defaultErrnoRet": 2}, str(tmp_path)) != first
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["empty", "garbage", "other", "writable", "FIFO", "directory"])
def test_a_kept_filter_is_not_trusted_blindly(tmp_path: Path, damage: str) -> None:
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read")]}
    program = kept_filter(profile, str(tmp_path))
    (kept,) = tmp_path.iterdir()
    if damage == "writable":
        kept.write_bytes(kept.read_bytes().replace(program, b"\0" * len(program)))
        kept.chmod(0o666)
    elif damage == "other":
        kept_filter({"defaultAction": "SCMP_ACT_LOG"}, str(tmp_path))
        (other,) = set(tmp_path.iterdir()) - {kept}
        other.rename(kept)
    elif damage in ("FIFO", "directory"):
        kept.unlink()
        os.mkfifo(kept) if damage == "FIFO" else kept.mkdir()
    else:
        kept.write_bytes(b"" if damage == "empty" else b"\xff\xff\xff")
    assert kept_filter(profile, str(tmp_path)) == program


def test_filters_that_nobody_uses_go(tmp_path: Path) -> None:
    """Only a writer prunes; other files, a filter that is read now and a writer at work are left alone."""

    def keep(number: int) -> bytes:
        return kept_filter({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": number}, str(tmp_path))

    keep(1)
    (first,) = tmp_path.iterdir()
    for number in range(2, 33):
        keep(number)
    kept = set(tmp_path.iterdir())
    assert len(kept) == 32
    for age, path in enumerate(sorted(kept)):
        os.utime(path, (1000 + age, 1000))
    os.utime(first, (5000, 1000))
    (tmp_path / "container").mkdir()
    (tmp_path / "seccomp,00,1").write_text("")
    (tmp_path / "seccomp,00,2").write_text("")
    os.utime(tmp_path / "seccomp,00,1", (1000, 1000))
    keep(1)
    assert len(list(tmp_path.iterdir())) == 35
    with min(kept - {first}).open("rb") as oldest:
        keep(33)
        assert oldest.read()
    left = set(tmp_path.iterdir())
    assert len(left) == 32 + 1
    assert {first, tmp_path / "container", tmp_path / "seccomp,00,2"} <= left
    assert tmp_path / "seccomp,00,1" not in left
    assert min(kept - {first}) not in left
    assert keep(2) == compile_filter({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 2}, LIBRARY)


def test_no_place_to_keep_a_filter() -> None:
    assert kept_filter({"defaultAction": "SCMP_ACT_ALLOW"}, "/proc/no/such")


# The plan


def seccomp_request(**profile: Any) -> Request:
    document = {"args": ["x"], "cwd": "/", "noNewPrivileges": True}
    config = {"ociVersion": "1.0.2", "process": document, "linux": {"seccomp": profile}}
    return Request(config, id="x")


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, r"as the default action.*/linux/seccomp/defaultAction"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("sendmsg", action="SCMP_ACT_NOTIFY")]},
            r"SCMP_ACT_NOTIFY for sendmsg.*/linux/seccomp/syscalls/0",
        ),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("mkdir", action="SCMP_ACT_NOTIFY")]},
            "needs a listenerPath",
        ),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]},
            "needs a rule with SCMP_ACT_NOTIFY",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_X"]}, r"SECCOMP_X.*/linux/seccomp/flags/0"),
    ],
)
def test_profiles_that_are_refused(profile: dict[str, Any], message: str) -> None:
    request = seccomp_request(**profile)
    with pytest.raises(NajaError, match=message):
        plan.prepare(request)
        plan.final(request)


def test_numbers_of_system_calls_agree_with_libseccomp() -> None:
    for machine, table in numbers.BY_MACHINE.items():
        arch = LIBRARY.architecture(f"SCMP_ARCH_{machine.upper()}")
        if arch:
            assert [LIBRARY.syscall(arch, name) for name in numbers.NAMES] == list(table), machine
