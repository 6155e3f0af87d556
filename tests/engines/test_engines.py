"""naja behind real engines: each scenario passes, and leaves nothing on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines.catalogue import CATALOGUE

if TYPE_CHECKING:
    from tests.engines.catalogue import Engines

SCENARIOS = [(entry.name, scenario) for entry in CATALOGUE.values() for scenario in entry.scenarios]


@pytest.mark.engine
@pytest.mark.parametrize(("engine", "scenario"), SCENARIOS)
def test_scenario(engines: Engines, engine: str, scenario: str) -> None:
    missing = CATALOGUE[engine].missing(engines.runtime)
    if missing:
        pytest.skip(f"{engine} needs {', '.join(missing)}")
    left = engines.play(engine, scenario)
    assert not left, "left behind:\n" + "\n".join(left)
