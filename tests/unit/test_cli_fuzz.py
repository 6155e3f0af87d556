"""Whatever is typed, naja answers with a result or with one line, and never with a traceback."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

_HOME = Path(__file__).parents[2]


def _split(text: str) -> list[str]:
    return text.split()


#: Runs many command lines in one process; each line of its output is "STATUS REPORTED WORDS".
_RUN = """
import os, sys
sys.path.insert(0, sys.argv[1])
from naja.cli.main import execute
result = os.dup(1)
printed = os.open("printed", os.O_RDWR | os.O_CREAT)
os.dup2(printed, 1)
os.dup2(printed, 2)
for line in sys.stdin.read().splitlines():
    words = eval(line)
    os.ftruncate(printed, 0)
    os.lseek(printed, 0, os.SEEK_SET)
    status = execute("naja", words)
    os.write(result, repr((status, os.pread(printed, 1 << 20, 0), words)).encode() + b"\\n")
"""

_VERBS = _split(
    "checkpoint create delete events exec kill list pause ps restore resume run start state update"
)
_WORDS = [
    *_split(
        """
        c a/b . .. - -- --- = -= é 9 -9 TERM 1x A=B 0:0 a:b:c /nonexistent json table true
        --force -f --format --process --resources --memory --stats --interval=1s --user -u --cgroup
        --env -e --bundle --pid-file --preserve-fds -1 --console-socket --help=false --cap --tty
        --log --log-format --rootless --debug=0 --systemd-cgroup --root=/nonexistent
        """
    ),
    *("", "x y", "a\nb", "\udcff", "x" * 5000),
]


def _line(choose: random.Random) -> list[str]:
    before = choose.choices(_WORDS, k=choose.choice([0, 0, 0, 1, 2]))
    verb = choose.choice(_VERBS)
    # Without it events of all containers follow until somebody interrupts.
    brief = ["--stats"] if verb == "events" else []
    return ["--root", "state", *before, verb, *brief, *choose.choices(_WORDS, k=choose.randrange(6))]


@pytest.mark.parametrize("seed", range(4))
def test_any_command_line_is_answered(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    lines = "".join(f"{_line(choose)!r}\n" for _ in range(500))
    command = [sys.executable, "-c", _RUN, str(_HOME)]
    found = subprocess.run(
        command, input=lines, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert found.stderr == ""
    answers = [eval(line) for line in found.stdout.splitlines()]
    assert len(answers) == 500
    for status, printed, words in answers:
        assert status in (0, 1, 255), words
        assert b"internal error" not in printed, words
        assert status == 0 or printed.count(b"\n") == 1, words
