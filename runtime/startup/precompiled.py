"""naja's own modules in one file, compiled ahead: half the time that importing them one by one takes.

Saves 5 / 11 / 13 ms (``make bench-start``).

Most of what a short command costs is imports: for each module Python looks through directories,
opens a file and unpacks docstrings and annotations that no one will read. ``naja.startup.precompile`` packs
the modules without those into one file (``python -m naja.startup.launcher`` has it done), which ``use``
puts in front of the import system. A module whose source has changed since is imported the ordinary
way, and without the file all are: nothing but time depends on it.

The file holds Python's magic number, the code of this module and of ``early``, the index, and the code of
every module; and once more, together, the code of those that a verb loads (``preload``).
"""

from __future__ import annotations

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType
    from typing import Any

    #: By module: path below the package, size and time of change (ns) of the source, place of the code.
    Modules = dict[str, tuple[str, int, int, int, int]]
    #: By what they are for: modules in the order in which they can be run, and places of their codes.
    Groups = dict[str, tuple[list[str], list[tuple[int, int]]]]

#: The directory of the package.
PACKAGE = __file__.rpartition("/startup/")[0]
FILE = f"{PACKAGE}/__pycache__/precompiled.{sys.implementation.cache_tag}"

#: Bytes of Python's magic number, those that hold the length of what follows, and at most all before the
#: first module's code.
_MAGIC, _LENGTH, _HEAD = 4, 8, 1 << 16


#: What load_all works with.
_LAYOUT = "naja.startup.layout"


class Finder:
    """A meta path finder and loader (importlib) for the modules in the file."""

    def __init__(self, descriptor: int, modules: Modules, groups: Groups, start: int) -> None:
        self.descriptor = descriptor
        self._modules = modules
        self._groups = groups
        self._start = start
        #: Bytes where it is to be unpacked yet.
        self._codes: dict[str, CodeType | bytes] = {}

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: object = None
    ) -> ModuleSpec | None:
        """Return how to load a module, None where the file has not got it as it is now."""
        return self._spec(name) if self.has(name) else None

    def has(self, name: str) -> bool:
        """Tell whether the file has a module as it is now."""
        return name in self._modules and self._is_current(name)

    def _spec(self, name: str) -> ModuleSpec:
        path = f"{PACKAGE}/{self._modules[name][0]}"
        package = path.endswith("/__init__.py")
        spec = ModuleSpec(name, self, origin=path, is_package=package)  # type: ignore[arg-type]
        if package:
            spec.submodule_search_locations = [path.removesuffix("/__init__.py")]
        return spec

    def _is_current(self, name: str) -> bool:
        if self._codes:
            return True  # native/launcher.c has looked at all of them.
        path, size, changed, _, _ = self._modules[name]
        try:
            status = posix.stat(f"{PACKAGE}/{path}")
        except OSError:
            return False
        return status.st_size == size and status.st_mtime_ns == changed

    def create_module(self, _spec: ModuleSpec) -> None:
        """Let Python make the module object."""

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's code. Raises what that raises."""
        path, _, _, offset, length = self._modules[module.__name__]
        module.__file__ = f"{PACKAGE}/{path}"
        code = self._codes.get(module.__name__) or self._read(offset, length)
        exec(marshal.loads(code) if isinstance(code, bytes) else code, module.__dict__)

    def _read(self, offset: int, length: int) -> Any:
        return marshal.loads(self._packed(offset, length))

    def _packed(self, offset: int, length: int) -> bytes:
        return posix.pread(self.descriptor, length, self._start + offset)

    def keep(self, names: Sequence[str]) -> Finder:
        """Return a finder for these modules, as far as they are current, that opens and reads no file."""
        if self.descriptor < 0:
            return self  # It has all of them in memory.
        kept = {name: self._modules[name] for name in names if self.has(name)}
        finder = Finder(-1, kept, {}, 0)
        for name, (*_, offset, length) in kept.items():
            finder._codes[name] = self._codes.get(name) or self._packed(offset, length)
        return finder

    def preload(self, group: str) -> None:
        """Load the modules of a group, where there is one and all are as they were; else each when needed.

        That takes two thirds of the time: importlib looks for none of them, and what their codes have in
        common is unpacked once.
        """
        if group not in self._groups:
            return
        names, places = self._groups[group]
        waiting = [name for name in names if name not in sys.modules]
        if not waiting or not all(self._is_current(name) for name in waiting):
            return
        codes = {}
        for offset, length in places:
            codes.update(self._read(offset, length))
        self._run(waiting, codes)

    def _run(self, names: list[str], codes: dict[str, Any]) -> None:
        # All are there before the first is run: a package is imported before its modules.
        for name in names:
            sys.modules[name] = self._new_module(name)
        for name in names:
            module = sys.modules[name]
            exec(codes[name], module.__dict__)
            package, _, own = name.rpartition(".")
            if package:
                setattr(sys.modules[package], own, module)

    def load_all(self, groups: Sequence[str], used: bytes) -> None:
        """Load groups of modules, and the code of all others; no file is looked at again.

        ``used`` says which functions are to be close together (layout.py).
        """

        def read(name: str) -> Any:
            return self._read(*self._modules[name][3:])

        # From now on the file is right, though its modules need not yet be where they will be (_is_current).
        self._codes[_LAYOUT] = read(_LAYOUT)
        from .layout import unpack

        names = list(dict.fromkeys(name for group in groups for name in self._groups[group][0]))
        codes, bodies = unpack(names, self._modules, read, used)
        self._codes.update(codes)
        self._run([name for name in bodies if name not in sys.modules], bodies)
        self._groups = {}
        posix.close(self.descriptor)
        self.descriptor = -1

    def is_dumped(self) -> bool:
        """Tell whether all modules were in the program from its beginning (dump.py)."""
        return bool(self._codes)

    def _new_module(self, name: str) -> ModuleType:
        module = type(sys)(name)
        path = module.__file__ = f"{PACKAGE}/{self._modules[name][0]}"
        module.__package__ = name.rpartition(".")[0]
        if path.endswith("/__init__.py"):
            # To import from a package takes a specification; modules do without.
            spec = module.__spec__ = self._spec(name)
            module.__package__ = name
            module.__path__ = spec.submodule_search_locations or []
        return module


def use(descriptor: int, head: bytes) -> None:
    """Import naja's modules from the open file from now on; ``head`` is what it begins with."""
    end = _MAGIC
    for _ in range(2):  # The codes of those that load the others, and the index.
        start = end + _LENGTH
        end = start + int.from_bytes(head[end:start], "little")
    sys.excepthook = _say
    modules, groups = marshal.loads(head[start:end])
    sys.meta_path.insert(0, Finder(descriptor, modules, groups, end))
    preload("command")


def _say(kind: type[BaseException], error: BaseException, _traceback: object) -> None:
    """Report in one line what kept naja from getting as far as to report it itself (cli/main.py)."""
    text = f"{kind.__name__}: {error}"
    if kind is MemoryError:
        text = "out of memory: raise the limit (ulimit -v)"
    elif isinstance(error, OSError):
        try:
            from ..errors import NajaError

            text = str(NajaError.from_os_error(f"open {error.filename}", error))
        except BaseException:
            pass  # That is the very thing that cannot be loaded.
    try:
        sys.stderr.write(f"naja: cannot start: {text}\n")
    except OSError:
        pass  # Nobody reads it; what Python would have to say to that makes a dumped one wait for ever.


def preload(group: str) -> None:
    """Load at once, where the file is used, what a verb needs ("create"), or every command does."""
    finder = sys.meta_path[0] if sys.meta_path else None
    if isinstance(finder, Finder):
        finder.preload(group)


def kept(names: Sequence[str]) -> list[Finder]:
    """Return finders of modules to be found when no file may be opened any more; what has none is loaded."""
    finder = sys.meta_path[0] if sys.meta_path else None
    finders = [finder.keep(names)] if isinstance(finder, Finder) else []
    for name in names:
        if not any(each.has(name) for each in finders):
            __import__(name)
    return finders


def descriptor() -> tuple[int, ...]:
    """Return the descriptor of the file that modules are loaded from, where it is used."""
    finder = sys.meta_path[0] if sys.meta_path else None
    return (finder.descriptor,) if isinstance(finder, Finder) and finder.descriptor >= 0 else ()


def move(descriptor: int) -> None:
    """Have that be this one: a copy of it."""
    finder = sys.meta_path[0]
    if isinstance(finder, Finder):
        finder.descriptor = descriptor


def pack(first: list[CodeType], modules: Modules, groups: Groups, destdir: str = "") -> bytes:
    """Return the beginning of the file; ``first`` are this module and ``early``.

    ``destdir`` is what goes from the beginning of all paths when it is put in place. Raises ValueError where
    the result would be too long.
    """
    from _frozen_importlib_external import MAGIC_NUMBER

    paths = {"own": __file__.removeprefix(destdir), "home": _HOME.removeprefix(destdir)}
    start = compile(_START.format(**paths), "<start>", "exec")
    parts = (marshal.dumps((start, *first)), marshal.dumps((modules, groups)))
    head = MAGIC_NUMBER + b"".join(len(part).to_bytes(_LENGTH, "little") + part for part in parts)
    if len(head) > _HEAD:
        raise ValueError(f"the index takes {len(head)} bytes, more than {_HEAD}")
    return head


def boot(destdir: str = "") -> str:
    """Return the statements by which a bare Python (-I -S) begins: afterwards ``import naja`` works.

    They are for when ``destdir`` has gone from the beginning of all paths.
    """
    from _frozen_importlib_external import MAGIC_NUMBER

    ordinary = _ORDINARY.format(home=_HOME.removeprefix(destdir))
    places = {"file": FILE.removeprefix(destdir), "package": PACKAGE.removeprefix(destdir)}
    numbers = {"head": _HEAD, "code": _MAGIC + _LENGTH}
    return _BOOT.format(**places, **numbers, magic=MAGIC_NUMBER, ordinary=ordinary)


_HOME = PACKAGE.rpartition("/")[0]

# Compiled at every start, which takes 10 us a line: all else is in the file. No descriptor of naja's
# may pass for a standard stream that the caller closed. The file is used where it is an ordinary one, of the
# package's owner (status[4]), and nobody else may write to it. native/interpreter.c, without sys.path, is
# of the Python that has written this; there the module with the magic number would take a millisecond.
_BOOT = """\
import posix, sys
from marshal import loads
magic = {magic!r}
if hasattr(sys, "path"):
    from _frozen_importlib_external import MAGIC_NUMBER as magic
try:
    file = posix.open({file!r}, posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK)
    head, status, owner = posix.pread(file, {head}, 0), posix.fstat(file), posix.stat({package!r})[4]
    known = file > 2 and status[0] & 0o170022 == 0o100000 and status[4] == owner
except OSError:
    file, head, known = -1, b"", False
codes = loads(head[{code}:]) if known and head.startswith(magic) else [{ordinary!r}]
exec(codes[0])
"""

# In native/interpreter.c sys.path is missing, and there is what stands for that.
_START = """\
import gc, sys
gc.disable()
if not hasattr(sys, "path"):
    early = sys.modules["naja.startup.early"] = type(sys)("naja.startup.early")
    exec(codes[2], early.__dict__)
    early.begin()
module = sys.modules["naja.startup.precompiled"] = type(sys)("naja.startup.precompiled")
module.__file__ = {own!r}
exec(codes[1], module.__dict__)
module.use(file, head)
sys.path.append({home!r})
"""

# `import naja` finds the package by the first directory of sys.path; with it loaded, the directory
# goes to the end, so that nothing beside naja can pass for a module of Python's own.
_ORDINARY = """\
import gc, sys
gc.disable()
if sys.version_info < (3, 11):
    raise SystemExit("naja: cannot start: it needs Python 3.11 or newer")
if not hasattr(sys, "path"):
    import _early
    words = sys.argv
    _early.complete()
    sys.argv = words
if file >= 0:
    posix.close(file)
sys.path.insert(0, {home!r})
import naja
sys.path.append(sys.path.pop(0))
"""
