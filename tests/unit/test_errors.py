"""Errors: one line, the first one first, and what the kernel does not say said by naja."""

from __future__ import annotations

import copy
import errno
import os
import pickle
from typing import TYPE_CHECKING

import pytest

from naja.cli.output import Log
from naja.config import Invalid
from naja.container import lifecycle
from naja.container.state import NoContainer
from naja.errors import Aftermath, NajaError, PermissionDenied, Unsupported, one_line, remade, unborn

if TYPE_CHECKING:
    from collections.abc import Callable

#: What others may write into a path, a variable or an annotation, and how it is shown.
HOSTILE = "a\nnaja: b\r\x1b[2J\x07\x7f\x85\u2028\u202eé\udcff"
SHOWN = r"a\nnaja: b\r\x1b[2J\x07\x7f\x85\u2028\u202e" + "é\udcff"


def failed(number: int, path: str = "") -> OSError:
    return OSError(number, os.strerror(number), path) if path else OSError(number, os.strerror(number))


def test_one_line() -> None:
    assert (
        one_line("an ordinary line, 'quoted', with \\ in it") == "an ordinary line, 'quoted', with \\ in it"
    )
    assert one_line(HOSTILE) == SHOWN


@pytest.mark.parametrize("part", ["what", "why", "origin"])
def test_an_error_is_one_line(part: str) -> None:
    words = {"what": "mount x", "why": "because", "origin": "/mounts/0", part: HOSTILE}
    text = str(NajaError(words["what"], why=words["why"], origin=words["origin"]))
    assert SHOWN in text
    assert "\n" not in text


def test_so_is_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    Log("naja").warning(HOSTILE)
    Log("naja").error(HOSTILE)
    lifecycle.say(HOSTILE.replace("\udcff", ""))
    assert capfd.readouterr().err.count("\n") == 3


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EMFILE, "ulimit -n"), (errno.ENFILE, "fs.file-max"), (errno.EFBIG, "ulimit -f")],
)
def test_what_to_do_about_a_limit(number: int, remedy: str) -> None:
    assert remedy in str(NajaError.from_os_error("open x", failed(number)))
    assert str(NajaError.from_os_error("open x", failed(number), why="so")).count(": so: ") == 1


def test_what_to_do_where_nobody_can_be_born() -> None:
    assert "ulimit -u" in unborn(failed(errno.EAGAIN))
    assert unborn(failed(errno.ENOMEM)) == ""


def test_what_an_undo_fails_at_is_told_after_the_first_error() -> None:
    with pytest.raises(NajaError, match="the first") as first:
        try:
            raise NajaError("the first")
        except NajaError as error:
            with Aftermath(error):
                raise NajaError("the second\n") from None
            with Aftermath(error):
                os.rmdir("/nowhere")
            with Aftermath(error):
                pass
            raise
    second, third = first.value.__notes__
    assert second == r"the second\n"
    assert "No such file or directory (ENOENT)" in third


def test_a_bug_in_an_undo_is_not_hidden() -> None:
    with pytest.raises(KeyError), Aftermath(NajaError("the first")):
        raise KeyError


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("fstat", lambda: os.fstat(9999)),
        ("fstat", lambda: [os.fstat(9999).st_mode, os.getpid()]),
        ("dup2", lambda: print(os.dup2(os.getpid(), 1 << 30))),
        ("stat", lambda: os.stat(os.path.join("/nowhere", "x"), follow_symlinks=False).st_mode),
        ("waitid", lambda: os.waitid(
            os.P_PID,
            1,
            os.WEXITED
        )),
    ],
)  # fmt: skip
def test_a_missing_call_is_named(name: str, act: Callable[[], object]) -> None:
    """Also where it is Python that made it, in whatever expression."""
    for number in (errno.ENOSYS, errno.EPERM):
        with pytest.raises(OSError) as raised:
            act()
        raised.value.errno = number
        text = str(NajaError.from_os_error("do x", raised.value))
        assert f"the kernel has no {name}(2), or a seccomp filter denies it" in text


def test_a_call_that_needs_privileges_may_be_refused() -> None:
    with pytest.raises(OSError) as raised:
        os.chown("/nowhere/x", 0, 0)
    raised.value.errno = errno.EPERM
    assert str(NajaError.from_os_error("do x", raised.value)) == "do x: Operation not permitted (EPERM)"
    raised.value.errno = errno.ENOSYS
    assert "the kernel has no chown(2)" in str(NajaError.from_os_error("do x", raised.value))


def test_what_the_kernel_forbids_is_a_kind_of_its_own() -> None:
    denied = NajaError.from_os_error("mount proc", PermissionError(errno.EPERM, "no"))
    assert type(denied) is PermissionDenied
    assert type(NajaError.from_os_error("mount proc", OSError(errno.EBUSY, "busy"))) is NajaError
    assert type(Unsupported.from_os_error("mount proc", PermissionError(errno.EACCES, "no"))) is Unsupported


@pytest.mark.parametrize(
    "error",
    [
        NajaError("what", errno=errno.EIO, why="why", origin="/mounts/0"),
        NoContainer("box"),
        Invalid("config.json", why="wrong", origin="/root"),
    ],
)
def test_an_error_travels(error: NajaError) -> None:
    """By pickle, and as another process tells of it."""
    error.add_note("and then")
    told = (error.what, error.errno, error.why, error.origin, error.__notes__)
    for again in (pickle.loads(pickle.dumps(error)), remade(type(error).__name__, *told), copy.copy(error)):
        assert (type(again), str(again), again.__notes__) == (type(error), str(error), ["and then"])
    assert type(remade("Nonsense", *told)) is NajaError
