"""`make bench`, in the least time that it can take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tests.support.command import REPOSITORY, runtime_command
from tests.support.needs import requires_command

if TYPE_CHECKING:
    from pathlib import Path


@requires_command("busybox", "strace")
def test_all_that_is_measured(tmp_path: Path) -> None:
    picture = tmp_path / "run.svg"
    subject = f"naja={' '.join(runtime_command())}"
    words = ["--runs", "1", "--json", "--picture", str(picture), "--runtime", subject]
    done = subprocess.run(
        [sys.executable, "-m", "conformance.bench", *words],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {name for table in json.loads(done.stdout)["tables"] for name in table["rows"]}
    assert {"create", "create's init", "private", "8 runs at a time", "run, 1000 mounts"} <= rows
    assert "taking it away" in rows
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    assert os.listdir(tmp_path) == ["run.svg"]
