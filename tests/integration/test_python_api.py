"""docs/python-api.md runs as it stands: its command first, then all examples in turn, as one program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.command import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

#: The page uses the default state root, which is the test's own here; nothing may be left in there.
_ALONE = 'mount -t tmpfs none /run && sh -ec "$1" && "$2" -c "$3" && ls -A /run/naja'


def read_page(name: str) -> str:
    with open(os.path.join(REPOSITORY, name), encoding="utf-8") as file:
        return file.read()


def test_the_page_runs(tmp_path: Path, leak_check: object) -> None:
    page = read_page("docs/python-api.md")
    commands = re.findall(r"^    # (.*)$", page, re.MULTILINE)
    examples = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(commands) == 1 and len(examples) > 8
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    words = ("unshare", "--mount", "sh", "-c", _ALONE, "sh", *commands, sys.executable, "".join(examples))
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "late: timed out after 1 seconds" in done.stdout
    assert "pivot" in done.stdout
    # What is left are filters that are kept for the next container.
    assert not re.search(r"^(greeter|late|web|server|loop|naja-.*)$", done.stdout, re.MULTILINE)
