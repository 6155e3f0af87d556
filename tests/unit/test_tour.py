"""Every stop of docs/tour.md leads to something that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_TOUR = Path(__file__).parents[2] / "docs" / "tour.md"
_STOPS = re.findall(r"\[`([\w.]+)`\]\(([^)]+)\)", _TOUR.read_text(encoding="utf-8"))


def names(body: list[ast.stmt], prefix: str = "") -> set[str]:
    """Return the functions, classes, methods and constants that are defined, as "Class.method"."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(prefix + node.name)
        if isinstance(node, ast.ClassDef):
            found |= names(node.body, f"{prefix}{node.name}.")
        if isinstance(node, ast.Assign):
            found |= {prefix + target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(prefix + node.target.id)
    return found


def test_there_are_stops() -> None:
    assert len(_STOPS) > 30


@pytest.mark.parametrize(("name", "link"), _STOPS)
def test_a_stop_is_there(name: str, link: str) -> None:
    tree = ast.parse((_TOUR.parent / link).read_text(encoding="utf-8"))
    assert name in names(tree.body), f"{link} has no {name}"
