"""The list by which a dump is laid out (startup/layout.py) names most of what the verbs use."""

from __future__ import annotations

import os
import shutil

import pytest

from conformance import used
from naja.startup import launcher

pytestmark = [pytest.mark.root]


def test_the_list_is_of_this_time() -> None:
    if not shutil.which("strace") or not os.path.exists(launcher._WARM):
        pytest.skip("needs strace, and a command from a dump")
    found, known = used.found(), used.known()
    missing = {module: names - known.get(module, set()) for module, names in found.items()}
    names = [f"{module} {name}" for module, names in missing.items() for name in names]
    # Which of the cgroups' functions are used depends on the host.
    assert len(names) < sum(map(len, found.values())) / 5, "python -m conformance.used writes it anew"
