"""Running operations in a forked child: they change the process they run in for good."""

from __future__ import annotations

import importlib
import marshal
import os
import traceback
from typing import TYPE_CHECKING, Any

from naja import errors
from naja.linux import mounts, namespaces
from naja.operations.base import INIT, Context, apply_all
from naja.process import stage

#: As in a stage and in an init, which are not to load from where they may be by then.
for _name in stage._FOR_FAILURES:
    importlib.import_module(_name)

if TYPE_CHECKING:
    from collections.abc import Callable

    from naja.operations.base import Operation


class ChildFailed(Exception):
    """The child ended in an exception that is no NajaError, or by a signal."""


def in_child(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns in a forked child; a NajaError there is raised here."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer: tuple[Any, ...] = ("value", work())
        except errors.NajaError as error:
            answer = ("error", type(error).__name__, error.what, error.errno, error.why, error.origin)
        except BaseException:
            answer = ("failed", traceback.format_exc())
        os.write(writer, marshal.dumps(answer))
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        received = file.read()
    _, status = os.waitpid(pid, 0)
    if not received:
        raise ChildFailed(f"status {os.waitstatus_to_exitcode(status)}")
    kind, *values = marshal.loads(received)
    if kind == "value":
        return values[0]
    if kind == "failed":
        raise ChildFailed(values[0])
    name, what, errno, why, origin = values
    raise getattr(errors, name)(what, errno=errno, why=why, origin=origin)


def output_of(work: Callable[[], None], stdin: int | None = None) -> tuple[int, str]:
    """Run ``work``, which is to end in execve, in a child; return its exit status and its output."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            if stdin is not None:
                os.dup2(stdin, 0)
            work()
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(99)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def init_context() -> tuple[Context, list[str]]:
    """Return a context of an init whose procfs handle is opened, and its list of warnings."""
    warnings: list[str] = []
    context = Context(INIT, warnings.append)
    filesystem = mounts.fsopen("proc")
    mounts.fsconfig_create(filesystem)
    context.descriptors["proc"] = mounts.fsmount(filesystem)
    return context, warnings


def enter_root(path: str) -> None:
    """Make ``path`` the root of the calling process, with a /proc, in a mount namespace of its own."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.set_propagation("/", mounts.MS_REC | mounts.MS_PRIVATE)
    proc = os.open(os.path.join(path, "proc"), os.O_PATH)
    filesystem = mounts.fsopen("proc")
    mounts.fsconfig_create(filesystem)
    mounts.move_mount(mounts.fsmount(filesystem), proc)
    os.chroot(path)
    os.chdir("/")


def apply(operations: list[Operation]) -> tuple[Context, list[str]]:
    """Apply operations as an init would; return its context and its warnings."""
    context, warnings = init_context()
    apply_all(operations, context)
    return context, warnings
