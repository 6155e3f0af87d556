"""Python begun only as far as a verb needs it: native/interpreter.c, and what stands for the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from naja.startup import launcher, precompiled

if TYPE_CHECKING:
    from pathlib import Path

_SAY = """
def say(*values):
    posix.write(1, (" ".join(map(str, values)) + "\\n").encode())
"""


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = launcher.interpreter(os.path.realpath(sys.executable), "/nowhere")
    if made is None:
        pytest.skip("needs a C compiler, Python's headers and its static archive (python3-dev)")
    path = tmp_path_factory.mktemp("bin") / "interpreter"
    path.write_bytes(made)
    path.chmod(0o755)
    launcher.write(str(path.parent / "naja"))
    return str(path)


@pytest.fixture
def early(interpreter: str) -> Early:
    return Early(interpreter)


class Early:
    """Runs Python's code in the interpreter as a verb of naja's would be."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, code: str, *words: str, prefix: str = "") -> list[str]:
        """Return the lines of stdout; nothing may be on stderr."""
        body = f"{prefix}{precompiled.boot()}{_SAY}{code}\nposix._exit(0)"
        command = [self.path, "-IS", "-c", body, "naja", *words]
        done = subprocess.run(command, env={}, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout.splitlines()


def test_a_verb_goes_without_the_rest(early: Early) -> None:
    code = """
from naja.startup import precompiled
for verb in ("create", "run", "exec", "start", "state", "kill", "delete"):
    precompiled.preload(verb)
import _json, fcntl, select
say("encodings" in sys.modules, hasattr(sys, "stdout"), "naja.container.lifecycle" in sys.modules)
"""
    assert early(code) == ["False False True"]


def test_the_command_line_is_text_of_any_bytes(early: Early) -> None:
    assert early("say(ascii(sys.argv))", os.fsdecode(b"\xe4"), "ä") == [r"['-c', 'naja', '\udce4', '\xe4']"]


@pytest.mark.parametrize(
    "asking",
    [
        "import subprocess",
        "open('/dev/null').close()",
        "'€'.encode('cp1252'); import subprocess",
        r"b'\xff'.decode(errors='backslashreplace'); open('/dev/null').close()",
    ],
)
def test_who_asks_for_more_gets_all_of_it(early: Early, asking: str) -> None:
    """With what naja has changed as it was: words, places of modules, handlers of signals."""
    code = f"""
import _signal
_signal.signal(_signal.SIGTERM, lambda *_: say("handled"))
sys.path.append("/more")
before = list(sys.argv), list(sys.path), _signal.getsignal(_signal.SIGINT)
{asking}
say(before == (sys.argv, sys.path, _signal.getsignal(_signal.SIGINT)), sys.stdout.encoding)
posix.kill(posix.getpid(), _signal.SIGTERM)
import subprocess, json
say(subprocess.run(["/bin/echo", "more"], capture_output=True).stdout.decode().strip())
"""
    assert early(code, "word") == ["True utf-8", "handled", "more"]


@pytest.mark.parametrize("asking", ["import subprocess", "open('/dev/null')", "'€'.encode('cp1252')"])
def test_in_a_container_nobody_gets_more(early: Early, asking: str) -> None:
    code = f"""
from naja.process.stage import close_imports
close_imports()
try:
    {asking}
except ImportError:
    say("closed", "encodings" in sys.modules)
"""
    assert early(code) == ["closed False"]


def test_the_command_is_begun_by_code_that_is_compiled(interpreter: str) -> None:
    command = [interpreter, "-IS", "-c", launcher._body("/nowhere"), "naja", "--version"]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("naja version "), done
    assert (
        "SyntaxError"
        in subprocess.run(
            [*command[:3], "this is no Python", "naja"], env={}, capture_output=True, text=True, check=False
        ).stderr
    )


def test_without_the_precompiled_modules_it_is_an_ordinary_python(early: Early) -> None:
    lost = "import posix\nposix.pread = lambda *_: b''\n"
    assert early("import naja.errors; say(sys.argv[2:], sys.stdout.encoding)", "word", prefix=lost) == [
        "['word'] utf-8"
    ]


def test_another_python_in_its_place_is_noticed(
    interpreter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an update of Python the one that was linked in is old: the new one is used."""
    monkeypatch.setattr(launcher, "_MAIN", "posix.write(1, posix.readlink('/proc/self/exe').encode())\n")
    real = os.path.realpath(sys.executable)
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    python.chmod(0o755)
    made = launcher.program(str(python), "/nowhere")
    assert made is not None
    command = tmp_path / "naja"
    command.write_bytes(made)
    command.chmod(0o755)
    assert subprocess.check_output([command], env={}, text=True) == os.path.realpath(launcher._EARLY)
    python.write_text(python.read_text() + "# anew\n")
    assert subprocess.check_output([command], env={}, text=True) == real


def test_a_file_of_somebody_else_is_not_trusted(
    interpreter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a link, nor one that others may write to, as with the precompiled modules."""
    monkeypatch.setattr(launcher, "_MAIN", "posix.write(1, posix.readlink('/proc/self/exe').encode())\n")
    early, command = tmp_path / "early", tmp_path / "naja"
    monkeypatch.setattr(launcher, "_EARLY", str(early))
    made = launcher.program(os.path.realpath(sys.executable), "/nowhere")
    assert made is not None
    command.write_bytes(made)
    command.chmod(0o755)

    def used() -> bool:
        return subprocess.check_output([command], env={}, text=True) == str(early)

    assert not used()
    shutil.copy(interpreter, early)
    early.chmod(0o755)
    assert used()
    early.chmod(0o757)
    assert not used()
    early.chmod(0o644)
    assert not used()
    early.unlink()
    early.symlink_to(interpreter)
    assert not used()
    if os.geteuid() == 0:
        early.unlink()
        shutil.copy(interpreter, early)
        os.chown(early, 1, 1)
        early.chmod(0o755)
        assert not used()


@pytest.mark.parametrize("room", ["linux", "operations", "plan", "process"])
def test_what_runs_in_a_container_reads_bytes(room: str) -> None:
    """A text file takes codecs, and in a container they are out of reach."""
    for directory, _, names in os.walk(os.path.join(precompiled.PACKAGE, room)):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(directory, name), encoding="utf-8") as file:
                    assert "encoding=" not in file.read(), name
