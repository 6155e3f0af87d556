"""Every example in docs/python-api.md runs, one after the other, as one program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.command import REPOSITORY

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


def test_the_page_runs(naja: Runtime, bundle: Bundle, tag: str) -> None:
    with open(os.path.join(REPOSITORY, "docs/python-api.md")) as file:
        examples = re.findall(r"^```python\n(.*?)^```", file.read(), re.MULTILINE | re.DOTALL)
    assert len(examples) > 5
    # Its containers have names of their own, in cgroups of the test's.
    bundle.linux["cgroupsPath"] = f"/{tag}"
    bundle.shell("test $$ = 1 && trap 'exit 0' TERM; sleep 0.5 & wait")
    program = f"bundle, root = {bundle.path!r}, {naja.root!r}\n" + "".join(examples)
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "pivot" in done.stdout
    assert naja.ids() == []
