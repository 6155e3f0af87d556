"""Takes out of a module's source what would only cost time when it is loaded.

Saves 0.4 / 1 / 2 ms (``make bench-start``).

Docstrings, asserts and annotations go, for no one will read them; imports are made absolute, so that
nobody has to find out where they lead; of Python's own modules those that
are slow to load are replaced by short forms (``naja.startup.quick``), where these have all that is used.
"""

from __future__ import annotations

import ast
from types import CodeType

from .quick import os as quick_os

__all__ = ["compiled", "shortened", "stripped"]

#: Modules that look at annotations when they run keep them.
_READERS = ("dataclasses", "typing")

#: Python's wrappers of modules in C that have the same contents, as far as naja uses them.
_WRAPPERS = {"stat": "_stat", "struct": "_struct"}


def stripped(path: str, package: str) -> ast.Module:
    """Return a source file of ``package`` without all that. Raises OSError, SyntaxError."""
    with open(path, "rb") as file:
        tree = ast.parse(file.read(), path)
    tree = _Absolute(package).visit(tree)
    if not any(_imports(node) for node in tree.body):
        tree = _Strip().visit(tree)
    return ast.fix_missing_locations(shortened(tree))


def shortened(tree: ast.Module) -> ast.Module:
    """Return a module with short forms in the place of Python's own modules."""
    if not _has_all(quick_os, _attributes(tree, "os")):
        return tree
    shorter: ast.Module = _Shorten().visit(tree)
    return shorter


def compiled(tree: ast.Module, path: str) -> CodeType:
    """Return the code of a module, with its line numbers but not the columns, which take a tenth of it.

    Those of calls of ``os`` stay: errors.py tells by them which system call there is not.
    """
    asking = {part for node in ast.walk(tree) for part in _call_of_os(node)}
    for node in ast.walk(tree):
        if node not in asking and isinstance(
            node, ast.stmt | ast.expr | ast.excepthandler | ast.arg | ast.keyword | ast.alias
        ):
            node.end_lineno, node.col_offset, node.end_col_offset = node.lineno, -1, -1
    code: CodeType = compile(tree, path, "exec", dont_inherit=True, optimize=2)
    return _named_shortly(code)


def _call_of_os(node: ast.AST) -> tuple[ast.AST, ...]:
    match node:
        case ast.Call(ast.Attribute(ast.Name("os") as module) as function):
            return node, function, module
    return ()


def _named_shortly(code: CodeType) -> CodeType:
    """Return a code in which functions have their plain names for the long ones: nobody asks for those."""
    constants = (_named_shortly(each) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_consts=tuple(constants), co_qualname=code.co_name)


def _imports(node: ast.stmt) -> bool:
    """Tell whether a statement imports one of _READERS."""
    if isinstance(node, ast.ImportFrom):
        return node.module in _READERS
    return isinstance(node, ast.Import) and any(alias.name in _READERS for alias in node.names)


class _Absolute(ast.NodeTransformer):
    def __init__(self, package: str) -> None:
        self._parts = package.split(".")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.level:
            above = self._parts[: len(self._parts) - node.level + 1]
            node.module, node.level = ".".join([*above, *filter(None, [node.module])]), 0
        return node


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


class _Shorten(ast.NodeTransformer):
    def visit_Import(self, node: ast.Import) -> ast.AST:
        alias = node.names[0]
        if len(node.names) > 1:
            return node
        if alias.name == "os":
            short: ast.stmt = ast.ImportFrom("naja.startup.quick", [ast.alias("os")], 0)
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
