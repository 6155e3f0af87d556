"""From a seccomp profile (/linux/seccomp) to the program that the kernel runs for each system call."""

from __future__ import annotations

import _imp
import errno
import marshal
import os
import stat
import struct
import time

from ..errors import NajaError, Unsupported
from .libseccomp import ARCHITECTURES, OPERATORS, Filter, Libseccomp
from .seccomp import ACTIONS, ACTIONS_WITH_ERRNO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .libseccomp import Condition

_ORIGIN = "/linux/seccomp"

#: To be raised when this module makes another program of the same profile.
_GENERATION = 1
#: The version of marshal's format in which equal values have equal bytes.
_STABLE = 2
#: What the name of a kept program begins with. A comma is in no container's ID.
_KEPT = "seccomp,"
#: How many are kept: more profiles than that are seldom in use on one host.
_MOST_KEPT = 32
#: Seconds after which a file that was not renamed belongs to a writer that was killed.
_PATIENCE = 60

#: Actions that let a system call happen: a newer one than the profile knows happens too.
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")

#: libseccomp's binary tree needs some rules to sort.
_RULES_FOR_A_TREE = 32

# The kernel tells x32 from x86_64 by a bit of the system call's number, libseccomp by the token.
_X86_64, _X32 = 0xC000003E, 0x4000003E
_X32_BIT = 1 << 30
_S390 = (0x00000016, 0x80000016)
_NEVER = 0xFFFFFFFF

# Instructions of classic BPF (linux/bpf_common.h); nr and arch are fields of struct seccomp_data.
_LOAD, _JUMP, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x45, 0x06
_NR, _ARCH = 0, 4


def kept_filter(profile: dict[str, Any], directory: str) -> bytes:
    """Return the program for a profile, as ``compile_filter`` does, or as it did before.

    Programs are kept in ``directory``, which only the caller may be able to write: libseccomp takes
    20 ms for Docker's profile. Raises what ``compile_filter`` raises.
    """
    library = Libseccomp()
    key = marshal.dumps((_GENERATION, library.version(), profile), _STABLE)
    # The hash is but a name: the whole key is kept beside the program, and compared.
    path = f"{directory}/{_KEPT}{_imp.source_hash(0, key).hex()}"
    program = _read(path, key)
    if program is None:
        program = compile_filter(profile, library)
        try:
            _write(path, marshal.dumps((key, program), _STABLE))
            _prune(directory)
        except OSError:
            pass  # A full or read-only disk: it is built again the next time.
    return program


def _read(path: str, key: bytes) -> bytes | None:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return None
        try:
            kept_key, program = marshal.loads(file.read())
        except (EOFError, TypeError, ValueError):
            return None
    return program if kept_key == key else None


def _write(path: str, content: bytes) -> None:
    """Write a file at once, so that nobody reads half of it. Raises OSError."""
    new = f"{path},{os.getpid()}"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.rename(new, path)
    except OSError:
        os.unlink(new)
        raise


def _prune(directory: str) -> None:
    """Remove the kept programs that were not used for longest, and what killed writers left.

    Whoever has opened one reads on; whoever comes too late builds it again. Raises OSError.
    """
    now = time.time()
    kept: list[tuple[float, str]] = []
    for entry in os.scandir(directory):
        if not entry.name.startswith(_KEPT):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # Another naja prunes, too.
        # Reading renews the time of access, if not each time (relatime).
        used = max(status.st_atime, status.st_mtime)
        if "," in entry.name.removeprefix(_KEPT):
            used = 0 if now - used > _PATIENCE else now
        kept.append((used, entry.path))
    kept.sort(reverse=True)
    for index, (used, path) in enumerate(kept):
        if index >= _MOST_KEPT or not used:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass


def compile_filter(profile: dict[str, Any], library: Libseccomp | None = None) -> bytes:
    """Return the program for a profile. Raises NajaError; Unsupported for what libseccomp lacks."""
    library = library or Libseccomp()
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"), f"{_ORIGIN}/defaultErrnoRet")
    architectures = _architectures(library, profile)
    filter = Filter(library, default)
    try:
        for index, token in enumerate(architectures):
            _add_architecture(filter, token, index)
        rules = profile.get("syscalls") or ()
        if sum(len(rule["names"]) for rule in rules) > _RULES_FOR_A_TREE:
            filter.optimize()
        for index, rule in enumerate(rules):
            _add_rule(library, filter, rule, default, f"{_ORIGIN}/syscalls/{index}")
        program = filter.program()
    finally:
        filter.close()
    if profile["defaultAction"] in _PERMISSIVE or default == ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS:
        return program
    names = [name for rule in rules for name in rule["names"]]
    return _newer_calls(library, [library.native_architecture(), *architectures], names) + program


def action(name: str, errno_ret: int | None, origin: str) -> int:
    """Return what the kernel calls an action, with its errno (EPERM by default). Raises NajaError."""
    if name not in ACTIONS:
        raise Unsupported(f"{name!r} is not a seccomp action", origin=origin)
    if name in ACTIONS_WITH_ERRNO:
        return ACTIONS[name] | ((errno.EPERM if errno_ret is None else errno_ret) & 0xFFFF)
    if errno_ret is not None:
        raise NajaError(f"{name} returns no errno", origin=origin)
    return ACTIONS[name]


def _architectures(library: Libseccomp, profile: dict[str, Any]) -> list[int]:
    tokens = []
    for index, name in enumerate(profile.get("architectures") or ()):
        token = library.architecture(name) if name in ARCHITECTURES else 0
        if not token:
            origin = f"{_ORIGIN}/architectures/{index}"
            raise Unsupported(f"{name} is not known to this libseccomp", origin=origin)
        tokens.append(token)
    return tokens


def _add_architecture(filter: Filter, token: int, index: int) -> None:
    try:
        filter.add_architecture(token)
    except OSError as error:
        why = "its byte order is not this machine's" if error.errno == errno.EDOM else ""
        raise NajaError.from_os_error(
            "add an architecture to the filter", error, why=why, origin=f"{_ORIGIN}/architectures/{index}"
        ) from None


def _add_rule(library: Libseccomp, filter: Filter, rule: dict[str, Any], default: int, origin: str) -> None:
    answer = action(rule["action"], rule.get("errnoRet"), f"{origin}/errnoRet")
    if answer == default:
        return  # It says nothing new, and libseccomp refuses it.
    conditions = [_condition(argument, f"{origin}/args") for argument in rule.get("args") or ()]
    alternatives = [conditions]
    if len({condition[0] for condition in conditions}) < len(conditions):
        # libseccomp compares an argument once in a rule; runc reads several as alternatives.
        alternatives = [[condition] for condition in conditions]
    native = library.native_architecture()
    for name in rule["names"]:
        number = library.syscall(native, name)
        if number is None:
            continue  # A call of some other kernel: no program here can make it.
        for alternative in alternatives:
            try:
                filter.add_rule(answer, number, alternative)
            except OSError as error:
                raise NajaError.from_os_error(f"add a rule for {name}", error, origin=origin) from None


def _condition(argument: dict[str, Any], origin: str) -> Condition:
    operator = argument["op"]
    if operator not in OPERATORS:
        raise Unsupported(f"{operator!r} is not a comparison", origin=origin)
    if not 0 <= argument["index"] <= 5:
        raise NajaError(f"a system call has no argument {argument['index']}", origin=origin)
    return argument["index"], OPERATORS[operator], argument["value"], argument.get("valueTwo") or 0


def _newer_calls(library: Libseccomp, architectures: list[int], names: list[str]) -> bytes:
    """Return instructions that answer ENOSYS to calls newer than all that the profile names.

    Programs try a new system call and fall back on ENOSYS, but give up on the default action's EPERM.
    The instructions stand before the filter, which gets everything else.
    """
    largest: dict[int, int] = {}
    for token in architectures:
        if token not in largest:
            numbers = (library.syscall(token, name) for name in names)
            largest[token] = max((number for number in numbers if number is not None), default=-1)
    # What names no call of an architecture says nothing about its newest one.
    largest = {token: number for token, number in largest.items() if number >= 0}
    x32 = largest.pop(_X32, _NEVER)
    sections = [
        (token, _x86_section(number, x32) if token == _X86_64 else _section(token, number))
        for token, number in largest.items()
    ]
    return _dispatch(sections)


def _section(token: int, number: int) -> list[tuple[int, int, int, int]]:
    """Return (code, jump if true, jump if false, operand) for one architecture; the end is the filter."""
    section = [(_JUMP_GREATER, 0, 1, number), (_RETURN, 0, 0, ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS)]
    if token in _S390:
        # Numbers above 255 that the kernel does not know arrive as 0, which is no call of today.
        section.insert(0, (_JUMP_EQUAL, 1, 0, 0))
    return [(_LOAD, 0, 0, _NR), *section]


def _x86_section(number: int, x32: int) -> list[tuple[int, int, int, int]]:
    return [
        (_LOAD, 0, 0, _NR),
        (_JUMP_SET, 1, 0, _X32_BIT),
        (_JUMP_GREATER, 1, 2, number),
        (_JUMP_GREATER, 0, 1, x32),
        (_RETURN, 0, 0, ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS),
    ]


def _dispatch(sections: list[tuple[int, list[tuple[int, int, int, int]]]]) -> bytes:
    """Return one program that jumps to the section of the caller's architecture, and over the rest."""
    body: list[tuple[int, int, int, int]] = []
    starts = []
    left = sum(len(section) + 1 for _, section in sections)
    for _, section in sections:
        starts.append(len(body))
        left -= len(section) + 1
        body += [*section, (_JUMP, 0, 0, left)]
    head = [(_LOAD, 0, 0, _ARCH)]
    for index, (token, _) in enumerate(sections):
        head.append((_JUMP_EQUAL, len(sections) - index + starts[index], 0, token))
    head.append((_JUMP, 0, 0, len(body)))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in head + body)
