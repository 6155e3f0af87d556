"""The programs in docs/examples do what they say, as a reader would call them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import REPOSITORY

_EXAMPLES = Path(REPOSITORY) / "docs" / "examples"


def call(tmp_path: Path, *words: str, input: str = "") -> subprocess.CompletedProcess[str]:
    """Call a program with a /run of its own, where the state root is; nothing may be left in there."""
    alone = 'mount -t tmpfs none /run && "$@"; code=$?; find /run/naja -mindepth 1 -type d >&2; exit $code'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", alone, "sh", sys.executable, *words],
        input=input,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_EXAMPLES)},
    )
    assert "/run/naja/" not in done.stderr, done.stderr
    return done


_TESTS = """
import pytest

def test_it_is_a_container(container, shell):
    assert shell("echo $$; cat /proc/1/comm").split()[1] == "sleep"
    assert shell("cat /proc/net/dev | tail -n +3 | cut -d: -f1").split() == ["lo"]
    assert container.status() == "running"

@pytest.mark.container(memory="32m", pids=8, mounts={"/usr/share": "/data"})
def test_it_is_what_the_marker_says(container, shell):
    assert container.stats()["memory"]["usage"]["limit"] == 32 << 20
    assert container.stats()["pids"]["limit"] == 8
    assert shell("ls /data")

def test_a_failure_is_told(shell):
    shell("echo why; exit 3")
"""


def test_the_fixture_for_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(_TESTS)
    words = ("-m", "pytest", "-q", "-p", "pytest_container", "-p", "no:cacheprovider", "--strict-markers")
    done = call(tmp_path, *words)
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "AssertionError: why" in done.stdout


def sandbox(tmp_path: Path, *words: str, input: str = "") -> subprocess.CompletedProcess[str]:
    return call(tmp_path, str(_EXAMPLES / "sandbox.py"), *words, input=input)


def python(program: str) -> tuple[str, ...]:
    return "/usr/bin/python3", "-ISc", program


def test_the_sandbox_runs_a_program(tmp_path: Path) -> None:
    done = sandbox(tmp_path, "sh", "-c", "read x; echo got $x; echo bad >&2; id -u; exit 7", input="this\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "got this\n65534\n", "bad\n")


def test_the_sandbox_takes_time_in_bounds(tmp_path: Path) -> None:
    done = sandbox(tmp_path, "--seconds", "2", "sh", "-c", "echo begun; while :; do :; done")
    assert (done.returncode, done.stdout) == (124, "begun\n")


def test_the_sandbox_takes_memory_in_bounds(tmp_path: Path) -> None:
    done = sandbox(tmp_path, "--memory", "32m", *python("x = b'x' * (256 << 20); print('had it')"))
    assert done.returncode != 0
    assert "had it" not in done.stdout


def test_the_sandbox_takes_processes_in_bounds(tmp_path: Path) -> None:
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 1000"
    done = sandbox(tmp_path, "--seconds", "3", "--processes", "8", "sh", "-c", bomb)
    assert done.returncode in (2, 124)


def test_the_sandbox_takes_output_in_bounds(tmp_path: Path) -> None:
    done = sandbox(tmp_path, "--output", "1000", "sh", "-c", "yes")
    assert done.returncode != 0
    assert len(done.stdout) == 1000


def test_the_sandbox_has_no_network_and_no_privileges(tmp_path: Path) -> None:
    program = (
        "import os, socket\n"
        "print(socket.socket().connect_ex(('192.0.2.1', 80)))\n"
        "try:\n    os.setuid(0)\nexcept PermissionError:\n    print('nobody')\n"
        "print(open('/proc/self/status').read().split('CapBnd:')[1].split()[0].strip('0') or 'none')\n"
        "import ctypes\nprint(ctypes.CDLL(None).unshare(0x10000000))\n"
    )
    done = sandbox(tmp_path, *python(program))
    assert done.stdout == "101\nnobody\nnone\n-1\n", done.stderr


def test_the_runner(tmp_path: Path) -> None:
    jobs = ["echo one; exit 3", "echo two", *(f"echo job {index}" for index in range(10)), "sleep 1000"]
    done = call(tmp_path, str(_EXAMPLES / "runner.py"), "--timeout", "20", input="\n".join(jobs))
    assert done.returncode == 1, done.stderr
    assert "[1] echo one; exit 3: exit status 3\none\n" in done.stdout
    assert "[2] echo two: exit status 0\ntwo\n" in done.stdout
    assert all(f"exit status 0\njob {index}\n" in done.stdout for index in range(10))
    assert "[13] sleep 1000: took too long\n" in done.stdout


@pytest.mark.parametrize("name", sorted(each.name for each in _EXAMPLES.glob("*.py")))
def test_an_example_is_named_in_the_page(name: str) -> None:
    assert name in (_EXAMPLES.parent / "python-api.md").read_text(encoding="utf-8")
