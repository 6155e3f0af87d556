"""What native/interpreter.c leaves out of Python's start, made up for while that goes without.

Without this there could not be that, and what it saves.

There is no ``open``, no way to find modules but those that are built in, frozen or naja's own, and no codec
beside those that Python has in itself (UTF-8, ASCII, Latin-1). Whoever asks for more gets all of it:
Python's start is finished then. In a container nobody does: ``close_imports`` takes the way there.
"""

from __future__ import annotations

import _imp
import _signal
import builtins
import posix
import sys
from _frozen_importlib import ModuleSpec, _install_external_importers  # type: ignore[attr-defined]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

#: What Python sets anew in the second phase, though naja has changed it.
_KEPT = ("argv", "path", "excepthook")


class Extensions:
    """The last meta path finder: loads Python's own libraries, and has Python find all else."""

    #: Where they are.
    directory: str

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: object = None
    ) -> ModuleSpec | None:
        """Return how to load a library of Python's; finish Python's start for any other module."""
        if name.partition(".")[0] == "encodings":
            # Somebody asks for a codec. Python's start cannot be finished before that is there.
            if not sys.path_hooks:
                sys.pycache_prefix, sys.dont_write_bytecode = None, True
                _install_external_importers()
            return None  # The finder just installed is the next that is asked.
        if path is None:
            file = f"{self.directory}/{name}{_imp.extension_suffixes()[0]}"
            try:
                posix.stat(file)
            except OSError:
                pass
            else:
                return ModuleSpec(name, self, origin=file)  # type: ignore[arg-type]
        complete()
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path)
            if spec:
                return spec
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Load the library. Raises ImportError, and OSError where there is no descriptor left for it."""
        try:
            module: ModuleType = _imp.create_dynamic(spec)
        except ImportError:
            # The linker's words have no number.
            posix.close(posix.open(str(spec.origin), posix.O_RDONLY | posix.O_CLOEXEC))
            raise
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Let it set itself up."""
        _imp.exec_dynamic(module)


_EXTENSIONS = Extensions()


def begin() -> None:
    """Stand in for what is missing."""
    import _early

    sys.executable = _early.python
    sys.path = [_early.stdlib, _early.extensions]
    _EXTENSIONS.directory = _early.extensions
    sys.meta_path.append(_EXTENSIONS)
    builtins.open = _open  # type: ignore[assignment]


def complete() -> None:
    """Finish Python's start: streams, codecs, search for modules. Raises ImportError where that is closed."""
    if _EXTENSIONS not in sys.meta_path:
        raise ImportError("nothing is imported in a container")
    import _early

    sys.meta_path.remove(_EXTENSIONS)
    kept = {name: getattr(sys, name) for name in _KEPT}
    handlers = {number: _signal.getsignal(number) for number in _signal.valid_signals()}
    _early.complete()
    for name, value in kept.items():
        setattr(sys, name, value)
    for number, handler in handlers.items():
        if callable(handler):
            _signal.signal(number, handler)


def _open(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
    """Open a file as ``open`` does; text takes codecs."""
    if "b" in mode:
        import _io

        return _io.open(file, mode, *more, **options)
    complete()
    return builtins.open(file, mode, *more, **options)
