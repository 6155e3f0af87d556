"""Compiles naja's modules ahead (``build``), without what would only cost time when they are loaded.

Docstrings, asserts and annotations go, for no one will read them; of Python's own modules those that
are slow to load are replaced by short forms (``runtime.quick``), where these have all that is used.
"""

from __future__ import annotations

import ast
import marshal
import os
from collections.abc import Iterable
from types import CodeType
from typing import Any

from runtime import precompiled
from runtime.quick import os as quick_os

__all__ = ["build", "compiled"]

#: Modules that look at annotations when they run keep them.
_READERS = ("dataclasses", "typing")

#: Python's wrappers of modules in C that have the same contents, as far as naja uses them.
_WRAPPERS = {"stat": "_stat", "struct": "_struct"}


def compiled(path: str) -> CodeType:
    """Return the code of a source file, with its line numbers. Raises OSError, SyntaxError."""
    return _compile(_parse(path), path)


def _parse(path: str) -> ast.Module:
    with open(path, "rb") as file:
        tree = ast.parse(file.read(), path)
    if not any(_imports(node) for node in tree.body):
        tree = _Strip().visit(tree)
    if _has_all(quick_os, _attributes(tree, "os")):
        tree = _Quick().visit(tree)
    return ast.fix_missing_locations(tree)


def _compile(tree: ast.Module, path: str) -> CodeType:
    code: CodeType = compile(tree, path, "exec", dont_inherit=True, optimize=2)
    return code


def _imports(node: ast.stmt) -> bool:
    """Tell whether a statement imports one of _READERS."""
    if isinstance(node, ast.ImportFrom):
        return node.module in _READERS
    return isinstance(node, ast.Import) and any(alias.name in _READERS for alias in node.names)


class _Strip(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return ast.copy_location(ast.Pass(), node)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        # It is about annotations, and they are gone.
        return ast.copy_location(ast.Pass(), node) if node.module == "__future__" else node


class _Quick(ast.NodeTransformer):
    def visit_Import(self, node: ast.Import) -> ast.AST:
        alias = node.names[0]
        if len(node.names) > 1:
            return node
        if alias.name == "os":
            short: ast.stmt = ast.ImportFrom("runtime.quick", [ast.alias("os")], 0)
        elif alias.name in _WRAPPERS:
            short = ast.Import([ast.alias(_WRAPPERS[alias.name], alias.name)])
        else:
            return node
        return ast.copy_location(short, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        node.module = _WRAPPERS.get(node.module or "", node.module)
        return node


def _attributes(tree: ast.AST, name: str) -> set[tuple[str, ...]]:
    """Return what is used of a module: ("open",), ("path",), ("path", "join")."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ast.Name(module), attribute) if module == name:
                found.add((attribute,))
            case ast.Attribute(ast.Attribute(ast.Name(module), "path"), attribute) if module == name:
                found.add(("path", attribute))
    return found


def _has_all(module: object, attributes: set[tuple[str, ...]]) -> bool:
    for names in attributes:
        found = module
        for name in names:
            found = getattr(found, name, None)
        if found is None:
            return False
    return True


#: What is loaded at once: by every command, and beside that by the verbs that engines call.
_CONTROL = ("runtime.cli.verbs.lifecycle", "runtime.container")
_CREATE = (
    *_CONTROL,
    "runtime.config.rules",
    "runtime.config.verdict",
    "runtime.creation",
    "runtime.process.launch",
    "runtime.process.stage",
)
_GROUPS = {
    "command": ("runtime.cli.main",),
    "create": _CREATE,
    "run": (*_CREATE, "runtime.process.attached"),
    **dict.fromkeys(("state", "kill", "delete"), _CONTROL),
    "start": (*_CONTROL, "runtime.operations.gate", "runtime.process.dialogue"),
}


#: Modules whose codes are unpacked at once: what they have in common is shared, and the memory that it
#: takes to read them is used again for the next ones.
_PART = 12


def build() -> None:
    """Write the file that ``precompiled`` reads, for the running Python. Raises OSError, SyntaxError."""
    home = precompiled.PACKAGE
    sources = {_module(path): path for path in sorted(_sources(home))}
    trees = {name: _parse(f"{home}/{path}") for name, path in sources.items()}
    codes = {name: _compile(tree, f"{home}/{sources[name]}") for name, tree in trees.items()}
    body = bytearray()

    def add(content: Any) -> tuple[int, int]:
        place, packed = len(body), marshal.dumps(content)
        body.extend(packed)
        return place, len(packed)

    modules = {}
    for name, path in sources.items():
        status = os.stat(f"{home}/{path}")
        modules[name] = (path, status.st_size, status.st_mtime_ns, *add(codes[name]))
    groups = {}
    for group, roots in _GROUPS.items():
        names = _in_order(roots, trees)
        parts = [names[i : i + _PART] for i in range(0, len(names), _PART)]
        groups[group] = (names, [add({name: codes[name] for name in part}) for part in parts])
    head = precompiled.pack(codes["runtime.precompiled"], modules, groups)
    os.makedirs(os.path.dirname(precompiled.FILE), exist_ok=True)
    temporary = f"{precompiled.FILE}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(head + body)
    os.rename(temporary, precompiled.FILE)


def _module(path: str) -> str:
    return f"runtime.{path.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")


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
