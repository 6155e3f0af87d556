"""Compiles a module without what only its readers need: docstrings, asserts, annotations."""

from __future__ import annotations

import ast
from types import CodeType

__all__ = ["compiled"]

#: Modules that look at annotations when they run keep them.
_READERS = ("dataclasses", "typing")


def compiled(path: str) -> CodeType:
    """Return the code of a source file, with its line numbers. Raises OSError, SyntaxError."""
    with open(path, "rb") as file:
        tree = ast.parse(file.read(), path)
    if not any(_imports(node) for node in ast.walk(tree)):
        tree = ast.fix_missing_locations(_Strip().visit(tree))
    code: CodeType = compile(tree, path, "exec", dont_inherit=True, optimize=2)
    return code


def _imports(node: ast.AST) -> bool:
    """Tell whether a statement, outside of ``if TYPE_CHECKING``, imports one of _READERS."""
    if isinstance(node, ast.Module):
        found = [child for child in node.body if isinstance(child, ast.Import | ast.ImportFrom)]
        return any(_names(child) for child in found)
    return False


def _names(node: ast.Import | ast.ImportFrom) -> bool:
    names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return any(name in _READERS for name in names)


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
