"""Code that is taken apart for a dump (startup/layout.py) is whole again afterwards."""

from __future__ import annotations

import marshal
from types import CodeType

import pytest

from naja.startup import layout, precompile, precompiled

_SOURCE = """
LIMIT = 3
def used(a, b=LIMIT):
    return [name for name in a if name != "x"]
def other(): return lambda: used
class Kind:
    "text"
    def used(self): return super().used()
    def other(self): return {1, 2}
"""


@pytest.mark.parametrize("functions", [set(), {"used"}, {"other"}, {"used", "other", "<lambda>"}])
def test_nothing_is_lost(functions: set[str]) -> None:
    code = compile(_SOURCE, "<source>", "exec")
    pruned = layout._pruned(code, functions)
    assert pruned is not None
    names = {part.co_name for part in pruned.co_consts if isinstance(part, CodeType)}
    assert names == functions & {"used", "other"} | {"Kind"}
    whole = layout._grafted(code, marshal.loads(marshal.dumps(pruned)))
    assert whole == code and marshal.dumps(whole.co_consts) is not None
    assert [*whole.co_lines()] == [*code.co_lines()]


def test_all_modules_that_the_list_names_are_there() -> None:
    """Whoever renames one renews the list: python -m conformance.used."""
    modules = precompile.build()
    assert set(marshal.loads(layout.used())) <= set(modules) | {precompiled.__name__}
