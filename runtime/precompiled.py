"""naja's own modules in one file, compiled ahead: half the time that importing them one by one takes.

Most of what a short command costs is imports: for each module Python looks through directories,
opens a file and unpacks docstrings and annotations that no one will read. ``build`` packs the
modules without those into one file (``python -m runtime.launcher`` does); ``install`` puts it in
front of the import system. A module whose source has changed since is imported the ordinary way, and
without the file all are: nothing but time depends on it.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_FILE = f"{_PACKAGE}/__pycache__/precompiled.{sys.implementation.cache_tag}"

#: Bytes that hold the length of the index, at the beginning of the file.
_LENGTH = 8


class Finder:
    """A meta path finder and loader (importlib) for the modules in the file."""

    def __init__(self, descriptor: int, index: dict[str, tuple[str, int, int, int, int]], start: int) -> None:
        self._descriptor = descriptor
        self._index = index
        self._start = start

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: object = None
    ) -> ModuleSpec | None:
        """Return how to load a module, None where the file has not got it as it is now."""
        entry = self._index.get(name)
        if entry is None or self._descriptor < 0:
            return None
        path, size, changed, _, _ = entry
        path = f"{_PACKAGE}/{path}"
        try:
            status = os.stat(path)
        except OSError:
            return None
        if (status.st_size, status.st_mtime_ns) != (size, changed):
            return None
        package = path.endswith("/__init__.py")
        spec = ModuleSpec(name, self, origin=path, is_package=package)  # type: ignore[arg-type]
        if package:
            spec.submodule_search_locations = [os.path.dirname(path)]
        return spec

    def create_module(self, _spec: ModuleSpec) -> None:
        """Let Python make the module object."""

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's code. Raises what that raises."""
        path, _, _, offset, length = self._index[module.__name__]
        module.__file__ = f"{_PACKAGE}/{path}"
        code: CodeType = marshal.loads(os.pread(self._descriptor, length, self._start + offset))
        exec(code, module.__dict__)

    def close(self) -> None:
        """Find nothing from now on."""
        os.close(self._descriptor)
        self._descriptor = -1


def install() -> None:
    """Import naja's modules from the file from now on, where there is one for this Python."""
    try:
        descriptor = os.open(_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    if descriptor < 3:
        # The caller closed stdin, stdout or stderr, and this file must not pass for one of them.
        os.close(descriptor)
        return
    length = int.from_bytes(os.pread(descriptor, _LENGTH, 0), "little")
    magic, index = marshal.loads(os.pread(descriptor, length, _LENGTH))
    if magic == MAGIC_NUMBER:
        sys.meta_path.insert(0, Finder(descriptor, index, _LENGTH + length))
    else:
        os.close(descriptor)


def build() -> None:
    """Write the file for the running Python. Raises OSError, SyntaxError."""
    from runtime.strip import compiled

    index: dict[str, tuple[str, int, int, int, int]] = {}
    codes: list[bytes] = []
    offset = 0
    for path in sorted(_sources(_PACKAGE)):
        name = "runtime." + path.removesuffix(".py").replace("/", ".")
        name = name.removesuffix(".__init__")
        if name in ("runtime.precompiled", "runtime.__init__"):
            continue  # Loaded before this file is.
        status = os.stat(f"{_PACKAGE}/{path}")
        code = marshal.dumps(compiled(f"{_PACKAGE}/{path}"))
        index[name] = (path, status.st_size, status.st_mtime_ns, offset, len(code))
        codes.append(code)
        offset += len(code)
    head = marshal.dumps((MAGIC_NUMBER, index))
    os.makedirs(os.path.dirname(_FILE), exist_ok=True)
    temporary = f"{_FILE}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(len(head).to_bytes(_LENGTH, "little") + head + b"".join(codes))
    os.rename(temporary, _FILE)


def _sources(directory: str, below: str = "") -> list[str]:
    paths: list[str] = []
    with os.scandir(f"{directory}/{below}") as entries:
        for entry in entries:
            if entry.is_dir() and os.path.exists(f"{entry.path}/__init__.py"):
                paths += _sources(directory, f"{below}{entry.name}/")
            elif entry.name.endswith(".py"):
                paths.append(below + entry.name)
    return paths
