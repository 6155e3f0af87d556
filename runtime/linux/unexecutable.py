"""Why a program cannot be started: what execve(2) refuses is looked at, and the reason put in words.

Only a failure comes here. No sentence has words in it that engines look for in others: "permission denied",
"no such file".
"""

from __future__ import annotations

import errno
import os
import stat

from ..errors import kind_of_file
from . import formats
from .view import View, may_not, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: What is looked for where PATH does not lead to it.
_USUAL = (
    *("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"),
    *("/sbin", "/bin", "/usr/games", "/opt/bin"),
)
#: How many directories of PATH are looked at.
_MOST_DIRECTORIES = 64
#: As many interpreters of interpreters as the kernel follows.
_MOST_INTERPRETERS = 5
#: Bytes that the kernel takes in one argument, and in all, however large the stack (execve(2)).
_LONGEST, _MOST = 128 << 10, 6 << 20

_ABSENT = "it is not there"
_EMPTY = "the root file system is empty: unpack an image into it"


def why(path: str, number: int = 0) -> str:
    """Return why a file cannot be executed, "" where nothing is seen; ``number`` is execve's errno."""
    if number == errno.ETXTBSY:
        return "a process has it open to write to it, and has to close it first"
    if number == errno.EAGAIN:
        return "its user has more processes than RLIMIT_NPROC allows"
    return _seen(lambda view: _refusal(view, path))


def _refusal(view: View, path: str) -> str:
    """Return why a file cannot be executed, or what it takes for that: its interpreter, its loader."""
    what = ""
    for _ in range(_MOST_INTERPRETERS + 1):
        said, role, needed = _look(view, path)
        if said == _ABSENT and what:
            return f"{what} is not there"
        if said or not needed:
            return f"{what}: {said}" if what and said else said
        what, path = f"its {role} {shown(needed)}", needed
    return "its interpreter is a script, whose interpreter is a script, and so on"


def _look(view: View, path: str) -> tuple[str, str, str]:
    """Return why a file cannot be executed; if that is not seen, what else has to be: its role, its path."""
    try:
        file = view.open(path)
    except FileNotFoundError:
        return next(_whereabouts(view, path, ""), _ABSENT), "", ""
    except OSError as error:
        return view.obstacle(path, error), "", ""
    try:
        status = os.fstat(file)
        said = view.unfit(path, file)
        head = None if said else view.head(path, status)
    finally:
        os.close(file)
    if head is None:
        return said, "", ""
    said, needed = formats.flaw(head, status.st_size)
    return said, "interpreter" if head.startswith(b"#!") else "loader", needed


def missing(path: str, search: str) -> str:
    """Return why nothing is at ``path``, and where it is instead; ``search`` is the container's PATH."""
    return _seen(lambda view: next(_whereabouts(view, path, search), ""))


def _whereabouts(view: View, path: str, search: str) -> Iterator[str]:
    if view.is_empty():
        yield _EMPTY
    yield from _surroundings(view, path, search)


def _surroundings(view: View, path: str, search: str | None = None) -> Iterator[str]:
    """Say what there is in the place of a path; of a program, where PATH is ``search``, also elsewhere."""
    if said := view.link(path):
        yield said
    nearest = view.nearest(path)
    if place := view.similar(nearest):
        yield f"there is {place}"
    directories = () if search is None else (*_parts(search), *_USUAL)
    if place := view.elsewhere(os.path.basename(path), directories):
        yield f"there is {place}"
    if nearest != path.rstrip("/"):
        yield f"there is no {shown(nearest)}"


def unopened(path: str, error: OSError, root: int = -1) -> str:
    """Return why a path that need not be a program's cannot be opened or made, "" where nothing is seen.

    It is looked up below the directory ``root`` where that is given.
    """

    def look(view: View) -> str:
        if error.errno == errno.ENOENT:
            return next(_surroundings(view, path), "")
        said = view.obstacle(path, error)
        return said or (view.unwritable(path) if error.errno == errno.EACCES else "")

    return _seen(look, root)


def unfound(name: str, search: str) -> str:
    """Return why PATH (``search``) does not lead to a program of that name, "" where nothing is seen."""
    return _seen(lambda view: next(_unfound(view, name, search), "")) if name.strip() else ""


def _unfound(view: View, name: str, search: str) -> Iterator[str]:
    directories = _parts(search)
    if view.is_empty():
        yield _EMPTY
    for directory in directories:
        yield from _flaw(view, os.path.join(directory, name))
    word = name.split(maxsplit=1)[0]
    if word != name and (place := view.elsewhere(word, (*directories, *_USUAL))):
        yield f"args is a list of words, and this is one; {place} is there"
    for directory in directories:
        if place := view.similar(os.path.join(directory, name)):
            yield f"there is {place}"
    path = f"PATH is {shown(search)}" if search else "PATH is empty (/process/env)"
    if place := view.elsewhere(name, _USUAL):
        yield f"there is {place}, and {path}"
    if search and not any(map(view.is_directory, directories)):
        yield f"no directory of PATH is there: {path}"
    yield path


def _flaw(view: View, path: str) -> Iterator[str]:
    """Say what a file in PATH is that cannot be executed, where there is one."""
    try:
        file = view.open(path)
    except FileNotFoundError:
        if said := view.link(path):
            yield f"{shown(path)}: {said}"
        return
    except OSError as error:
        if error.errno == errno.EACCES:
            yield view.obstacle(path, error)
        return
    said = view.unfit(path, file)
    os.close(file)
    if said:
        yield f"{shown(path)} is there: {said}"


def too_long(arguments: Sequence[str], environment: dict[str, str], stack: int) -> str:
    """Return what is too long for execve(2), which takes a quarter of ``stack`` (RLIMIT_STACK, bytes)."""
    words = {f"argument {index}": word for index, word in enumerate(arguments)}
    words.update({f"the variable {shown(name)}": f"{name}={text}" for name, text in environment.items()})
    sizes = {name: len(os.fsencode(word)) + 1 for name, word in words.items()}
    longest = max(sizes, key=lambda name: sizes[name])
    if sizes[longest] > _LONGEST:
        return f"{longest} has {sizes[longest] - 1} bytes, and the kernel takes {_LONGEST - 1} in one"
    total = sum(sizes.values()) + 8 * len(sizes)  # A pointer each.
    most = max(min(stack // 4, _MOST), _LONGEST)
    if total <= most:
        return ""
    taken = f"the kernel takes {most} (a quarter of RLIMIT_STACK)"
    return f"arguments and environment have {total} bytes, and {taken}"


def not_entered(path: str) -> str:
    """Return why a directory cannot be entered, "" where nothing is seen."""
    return _seen(lambda view: _not_entered(view, path))


def _not_entered(view: View, path: str) -> str:
    try:
        directory = view.open(path)
    except FileNotFoundError:
        return next(_surroundings(view, path), f"there is no {shown(path)}")
    except OSError as error:
        return view.obstacle(path, error)
    status = os.fstat(directory)
    os.close(directory)
    if not stat.S_ISDIR(status.st_mode):
        return f"it is {kind_of_file(status.st_mode)}"
    return may_not("enter it", status)


def _seen(look: Callable[[View], str], root: int = -1) -> str:
    """Return what is seen, "" where what failed before keeps us from looking, as a lack of descriptors."""
    try:
        with View(root) as view:
            return look(view)
    except OSError:
        return ""


def _parts(search: str) -> list[str]:
    return [directory or "." for directory in search.split(":")[:_MOST_DIRECTORIES]] if search else []
