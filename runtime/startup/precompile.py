"""Compiles naja's modules ahead: writes the file that ``naja.startup.precompiled`` loads them from.

What that saves is said there; the groups of modules that a verb loads at once are 0 / 2 / 3 ms of it
(``make bench-start``).
"""

from __future__ import annotations

import ast
import marshal
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from . import precompiled
from .strip import compiled, stripped

if TYPE_CHECKING:
    from .precompiled import Modules

__all__ = ["build", "replace"]

#: What is loaded at once: by every command, and beside that by the verbs that engines call.
#: Roots are also what a function imports on the ordinary way, as the manager of the cgroups.
_CGROUPS = "naja.cgroups.base"
_LIMITS = ("naja.cgroups.resources", "naja.cgroups.devices", "naja.operations.cgroup_limits")
_VERSIONS = tuple(f"naja.cgroups.{name}" for name in ("v1", "limits_v1", "v2", "limits_v2"))
_CONTROL = ("naja.cli.verbs.lifecycle", "naja.container.lifecycle", _CGROUPS)
_PROCESS = ("naja.process.launch", "naja.process.stage")
_CONFIG = ("naja.config.rules", "naja.config.rules_linux", "naja.config.verdict")
_CREATE = (*_CONTROL, *_CONFIG, "naja.container.creation", *_LIMITS, *_PROCESS)
_CHANNEL = "naja.linux.channel"
_GROUPS = {
    "command": ("naja.cli.main",),
    "containerd-shim": ("naja.shim.program", "naja.shim.starting", "naja.shim.cleaning"),
    "shim": ("naja.resident.warmth", "naja.shim.serving"),
    "create": (*_CREATE, "naja.operations.gate", _CHANNEL),
    "run": (*_CREATE, "naja.container.running"),
    "exec": ("naja.cli.verbs.execute", _CGROUPS, *_PROCESS, "naja.process.attached", _CHANNEL),
    **dict.fromkeys(("state", "delete"), _CONTROL),
    "kill": (*_CONTROL, "naja.cli.values"),
    "start": (*_CONTROL, "naja.operations.gate", "naja.process.dialogue", _CHANNEL),
    "resident": ("naja.cli.verbs.resident", "naja.resident.warmth"),
    # In a dump (dump.py); which cgroups this host has is found out by each command.
    "dump": ("naja.startup.dumped", *_VERSIONS),
}


#: What loads all others.
_FIRST = ("naja.startup.precompiled", "naja.startup.early")

#: Modules whose codes are unpacked at once: what they have in common is shared, and the memory that it
#: takes to read them is used again for the next ones.
_PART = 12

_PAGE = 4096


def build(destdir: str = "") -> Modules:
    """Write the file that ``precompiled`` reads, for the running Python; return what it says of the modules.

    All is to be put in place later: then ``destdir`` goes from the beginning of all paths. Raises OSError,
    SyntaxError.
    """
    home = precompiled.PACKAGE
    sources = {_module(path): path for path in sorted(_sources(home))}
    trees = {name: stripped(f"{home}/{path}", _package(name, path)) for name, path in sources.items()}
    final = home.removeprefix(destdir)
    codes = {name: compiled(tree, f"{final}/{sources[name]}") for name, tree in trees.items()}
    body = bytearray()

    def add(content: Any) -> tuple[int, int]:
        place, packed = len(body), marshal.dumps(content)
        body.extend(packed)
        return place, len(packed)

    modules: Modules = {}
    for name, path in sources.items():
        status = os.stat(f"{home}/{path}")
        modules[name] = (path, status.st_size, status.st_mtime_ns, *add(codes[name]))
    groups = {}
    # Their codes are at the head of the file, and every command has loaded the first group.
    loaded = {*_FIRST}
    for group, roots in _GROUPS.items():
        names = [name for name in _in_order(roots, trees) if name not in loaded]
        if group == "command":
            loaded.update(names)
        parts = [names[i : i + _PART] for i in range(0, len(names), _PART)]
        groups[group] = (names, [add({name: codes[name] for name in part}) for part in parts])
    head = precompiled.pack([codes[name] for name in _FIRST], modules, groups, destdir)
    directory = os.path.dirname(precompiled.FILE)
    os.makedirs(directory, exist_ok=True)
    permissions = os.stat(directory).st_mode & 0o7777
    if permissions & 0o022:
        # Who may write there could exchange the file at any time.
        os.chmod(directory, permissions & ~0o022)
    replace(precompiled.FILE, head + body, 0o644)
    return modules


def replace(path: str, content: bytes, mode: int) -> None:
    """Replace a file, which may be in use, by a new one with ``mode``, whatever the umask. Raises OSError."""
    temporary = f"{path}.{os.getpid()}"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb", buffering=0) as file:
            # The kernel caches it in such pieces, and would map larger ones whole.
            for start in range(0, len(content), _PAGE):
                file.write(content[start : start + _PAGE])
            os.fchmod(descriptor, mode)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _module(path: str) -> str:
    return f"naja.{path.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")


def _package(name: str, path: str) -> str:
    return name if path.endswith("__init__.py") else name.rpartition(".")[0]


def _in_order(roots: Iterable[str], trees: dict[str, ast.Module]) -> list[str]:
    """Return the modules that importing ``roots`` loads, each after those that it needs."""
    seen: set[str] = set()
    order: list[str] = []

    def visit(name: str) -> None:
        if name in seen or name not in trees:
            return
        seen.add(name)
        visit(name.rpartition(".")[0])
        for statement in trees[name].body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                parent = f"{statement.module}." if isinstance(statement, ast.ImportFrom) else ""
                visit(parent.removesuffix("."))
                for alias in statement.names:
                    visit(parent + alias.name)
        order.append(name)

    for root in roots:
        visit(root)
    return order


def _sources(directory: str, below: str = "") -> list[str]:
    paths: list[str] = []
    with os.scandir(f"{directory}/{below}") as entries:
        for entry in entries:
            if entry.is_dir() and os.path.exists(f"{entry.path}/__init__.py"):
                paths += _sources(directory, f"{below}{entry.name}/")
            elif entry.name.endswith(".py"):
                paths.append(below + entry.name)
    return paths
