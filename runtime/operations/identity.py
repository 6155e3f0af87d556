"""Operations that make the init who the container's process shall be: keyring, label, user, directory."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from ..errors import NajaError, Unsupported, place
from ..linux import capabilities, keyring, process
from ..linux.files import PROC_SUPER_MAGIC, filesystem_magic, open_beneath, open_in_root, reopen
from .base import Context, Operation

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
#: The major number of /dev/tty, /dev/console and /dev/ptmx.
_TTYAUX = 5
#: How much of /etc/passwd is read at first, and at most: 100,000 users have room in it.
_USUAL_PASSWD, _LARGEST_PASSWD = 1 << 14, 8 << 20
#: How many lines are looked at that have the number in them, as a group maybe.
_MOST_LINES = 1 << 16

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO


class JoinSessionKeyring(Operation):
    """Give the container a session keyring of its own, so that it cannot read the caller's keys."""

    __slots__ = ("label", "name")

    def __init__(self, name: str, label: str) -> None:
        self.origin = ""
        self.name = name
        #: SELinux label of the new keyring, or "".
        self.label = label

    def describe(self) -> str:
        return f"join the session keyring {self.name}"

    def apply(self, context: Context) -> None:
        if self.label:
            _write_attribute(context, "keycreate", self.label)
        try:
            key = keyring.join_session_keyring(os.fsencode(self.name))
            # Its owner may not search a keyring that it merely joined; the container's users need to.
            keyring.set_permissions(key, keyring.permissions(key) | keyring.USER_SEARCH)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            context.warn("this kernel has no keyrings: the container gets no session keyring of its own")
        if self.label:
            _write_attribute(context, "keycreate", "")

    def explain(self, error: OSError, context: Context) -> str:
        from . import reasons

        return reasons.of_keyring(error)


def has_selinux() -> bool:
    """Tell whether the kernel enforces, or would enforce, SELinux's rules."""
    return os.path.exists("/sys/fs/selinux/enforce")


def _has_apparmor() -> bool:
    try:
        with open("/sys/module/apparmor/parameters/enabled", "rb") as file:
            return file.read(1) == b"Y"
    except FileNotFoundError:
        return False


class RequireSecurityModule(Operation):
    """Refuse a label or profile where the kernel has no such security module."""

    __slots__ = ("module",)

    def __init__(self, module: str, *, origin: str) -> None:
        self.origin = origin
        self.module = module

    def describe(self) -> str:
        return f"check that the kernel has {self.module}"

    def apply(self, context: Context) -> None:
        if not (has_selinux() if self.module == "SELinux" else _has_apparmor()):
            raise Unsupported(f"{self.module} is not active in this kernel")


class SetExecLabel(Operation):
    """Set the SELinux label that the program gets at execve (config.md, selinuxLabel)."""

    __slots__ = ("label",)

    def __init__(self, label: str, *, origin: str) -> None:
        self.origin = origin
        self.label = label

    def describe(self) -> str:
        return f"run under the SELinux label {self.label}"

    def apply(self, context: Context) -> None:
        _write_attribute(context, "exec", self.label)


class SetExecProfile(Operation):
    """Set the AppArmor profile that the program gets at execve (config.md, apparmorProfile)."""

    __slots__ = ("profile",)

    def __init__(self, profile: str, *, origin: str) -> None:
        self.origin = origin
        self.profile = profile

    def describe(self) -> str:
        return f"run under the AppArmor profile {self.profile}"

    def apply(self, context: Context) -> None:
        try:
            _write_attribute(context, "apparmor/exec", f"exec {self.profile}")
        except FileNotFoundError:  # Linux before 5.8 has one set of files for all modules.
            _write_attribute(context, "exec", f"exec {self.profile}")

    def explain(self, error: OSError, context: Context) -> str:
        return "it is not loaded: apparmor_parser --add FILE does that" if error.errno == errno.ENOENT else ""


def _write_attribute(context: Context, name: str, value: str) -> None:
    """Write a file below /proc/self/attr, of a procfs that the container cannot have replaced."""
    descriptor = open_beneath(context.descriptors["proc"], f"self/attr/{name}", os.O_WRONLY)
    try:
        os.write(descriptor, os.fsencode(value))
    finally:
        os.close(descriptor)


class SetUmask(Operation):
    """Set the file mode creation mask (config-linux.md, user; umask(2))."""

    __slots__ = ("umask",)

    def __init__(self, umask: int, *, origin: str) -> None:
        self.origin = origin
        self.umask = umask

    def describe(self) -> str:
        return f"set the umask to {self.umask:04o}"

    def apply(self, context: Context) -> None:
        os.umask(self.umask)


class FindHome(Operation):
    """Look up the user's home directory in the container's /etc/passwd, for an unset HOME."""

    __slots__ = ("uid",)

    def __init__(self, uid: int) -> None:
        self.origin = ""
        self.uid = uid

    def describe(self) -> str:
        return f"look up the home directory of user {self.uid} in /etc/passwd"

    def apply(self, context: Context) -> None:
        root = os.open("/", _DIRECTORY)
        try:
            passwd = open_ordinary(root, "/etc/passwd", context.descriptors["proc"])
        finally:
            os.close(root)
        context.values["home"] = home_of(passwd, self.uid) if passwd else "/"


def home_of(passwd: BinaryIO, uid: int) -> str:
    """Return the home directory of a user by an /etc/passwd file (passwd(5)), "/" where unknown."""
    # name:password:uid:gid:comment:home:shell
    for fields in lines_with(passwd, b":%d:" % uid):
        if len(fields) > 5 and fields[2] == b"%d" % uid and fields[5] and b"\0" not in fields[5]:
            return os.fsdecode(fields[5])
    return "/"


def lines_with(file: BinaryIO, wanted: bytes) -> Iterator[list[bytes]]:
    """Yield the fields of lines with some bytes in them, of an /etc/passwd or an /etc/group, which is closed.

    The file is the image's, and may be made to keep us busy: lines without the bytes cost nothing, and what
    is beyond some bounds is not looked at.
    """
    with file:
        text = file.read(_USUAL_PASSWD)
        if len(text) == _USUAL_PASSWD:
            text += file.read(_LARGEST_PASSWD - _USUAL_PASSWD)
    if len(text) == _LARGEST_PASSWD:
        text = text[: text.rfind(b"\n") + 1]  # Of the last line there may be more.
    at = 0
    for _ in range(_MOST_LINES):
        found = text.find(wanted, at)
        if found < 0:
            return
        end = text.find(b"\n", found)
        at = end if end >= 0 else len(text)
        yield text[text.rfind(b"\n", 0, found) + 1 : at].split(b":", 6)


def open_ordinary(root: int, path: str, proc: int) -> BinaryIO | None:
    """Open a regular file below a container's root, None where there is none; nothing else is ever opened.

    ``proc`` is a procfs that the container has no hand in.
    """
    try:
        found = open_in_root(root, path, os.O_PATH)
        # Files of procfs look regular; /proc/self/environ is still that of naja's caller.
        if stat.S_ISREG(os.fstat(found).st_mode) and filesystem_magic(found) != PROC_SUPER_MAGIC:
            return open(reopen(proc, found, os.O_RDONLY | os.O_NONBLOCK), "rb")
        os.close(found)
    except OSError as error:
        # Whatever the image has there instead, it tells of no user. EAGAIN: somebody inside has a
        # lease on it (fcntl(2)), and would be waited for.
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EAGAIN):
            raise
    return None


class EnterDirectory(Operation):
    """Make the working directory current (config.md, cwd).

    Twice: before the user changes, since root may enter where the user may not, and afterwards
    where root was refused (a directory on NFS or FUSE). Then it is verified to lie in the container.
    """

    __slots__ = ("as_user", "path")

    def __init__(self, path: str, *, as_user: bool, origin: str) -> None:
        self.origin = origin
        self.path = path
        self.as_user = as_user

    def describe(self) -> str:
        return f"enter {self.path}" + (" as the user, unless that was done" if self.as_user else "")

    def apply(self, context: Context) -> None:
        refused = context.values.pop("directory refused", False)
        try:
            if refused or not self.as_user:
                _change_directory(self.path)
        except OSError as error:
            if isinstance(error, PermissionError) and not self.as_user:
                context.values["directory refused"] = True
                return
            from ..linux import unexecutable

            why = unexecutable.not_entered(self.path)
            raise NajaError.from_os_error(self.describe(), error, why=why) from None
        if not self.as_user:
            return
        try:
            os.getcwd()
        except FileNotFoundError:
            # A descriptor of the host's, reached through /proc/self/fd (CVE-2024-21626).
            raise NajaError(f"the working directory {self.path} lies outside of the container") from None


def _change_directory(path: str) -> None:
    root = os.open("/", _DIRECTORY)
    try:
        directory = open_in_root(root, path, _DIRECTORY)
    finally:
        os.close(root)
    try:
        os.fchdir(directory)
    finally:
        os.close(directory)


class GiveStdio(Operation):
    """Make the user own its standard streams, so that it can open them again by /dev/stdout.

    A file of the host's that it shall only read stays the host's.
    """

    __slots__ = ("uid",)

    def __init__(self, uid: int, *, origin: str) -> None:
        self.origin = origin
        self.uid = uid

    def describe(self) -> str:
        return f"give standard input, output and error to user {self.uid}"

    def apply(self, context: Context) -> None:
        for descriptor in (0, 1, 2):
            status = os.fstat(descriptor)
            if status.st_uid == self.uid or _is_shared(descriptor, status) or _is_input(descriptor, status):
                continue
            try:
                os.fchown(descriptor, self.uid, -1)
            except OSError as error:
                # Its present owner is not mapped in the user namespace, or it lies on a read-only mount.
                if error.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS):
                    raise


def _is_shared(descriptor: int, status: os.stat_result) -> bool:
    """Tell whether this is a device, which others use too; a terminal is not, but /dev/tty is all of them."""
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return False
    return os.major(status.st_rdev) == _TTYAUX or not os.isatty(descriptor)


def _is_input(descriptor: int, status: os.stat_result) -> bool:
    """Tell whether this is a file that was opened to be read: its owner could open it again to write."""
    return (
        stat.S_ISREG(status.st_mode) and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    )


class ChangeUser(Operation):
    """Become the container's user; capabilities survive until SetCapabilities (config.md, user)."""

    __slots__ = ("gid", "groups", "keep_groups", "uid")

    def __init__(
        self, uid: int, gid: int, groups: list[int], *, keep_groups: bool = False, origin: str
    ) -> None:
        self.origin = origin
        self.uid = uid
        self.gid = gid
        self.groups = groups
        #: Leave the caller's supplementary groups (crun's annotation run.oci.keep_original_groups).
        self.keep_groups = keep_groups

    def describe(self) -> str:
        if self.keep_groups:
            groups = "keeping all groups"
        else:
            groups = f"groups {', '.join(map(str, self.groups)) or 'none'}"
        return f"become user {self.uid}, group {self.gid}, {groups}"

    def apply(self, context: Context) -> None:
        if not self.keep_groups:
            self._set_groups(context)
        capabilities.keep_over_user_change(True)
        try:
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)
        except OSError as error:
            why = "the user namespace does not map this id" if error.errno == errno.EINVAL else ""
            raise NajaError.from_os_error(self.describe(), error, why=why) from None
        capabilities.keep_over_user_change(False)
        # A change of user restores what the sysctl fs.suid_dumpable says.
        process.set_dumpable(False)

    def _set_groups(self, context: Context) -> None:
        try:
            os.setgroups(self.groups)
        except PermissionError:
            # A user namespace that an unprivileged user maps gives setgroups up (user_namespaces(7)).
            if not _setgroups_denied(context):
                raise
            # Images name groups that their root is in, and nobody asked for these.
            missing = sorted({*self.groups}.difference(os.getgroups(), [self.gid]))
            if missing:
                named, where = ", ".join(map(str, missing)), place(f"{self.origin}/additionalGids")
                context.warn(
                    f"groups that cannot be set are left out: {named}, asked for by {where}: "
                    "this user namespace denies setgroups"
                )


def _setgroups_denied(context: Context) -> bool:
    descriptor = open_beneath(context.descriptors["proc"], "self/setgroups", os.O_RDONLY)
    try:
        return os.read(descriptor, 16).strip() == b"deny"
    finally:
        os.close(descriptor)
