"""naja's modules in one file: which are loaded from it, and when it is passed over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_BUILD = "import sys; sys.path.insert(0, sys.argv[1]); from naja.startup import {what}; {then}"

#: Boots as the command does, preloads what `create` needs, and tells where modules came from.
_LOOK = """
from naja.startup import precompiled
precompiled.preload("create")
loaded = "naja.plan" in sys.modules
import naja.plan, naja.container.state
print(loaded, type(naja.plan.__spec__.loader).__name__, naja.container.state.MARK)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a copy of the package, compiled ahead, and its state when it was."""
    path = tmp_path_factory.mktemp("built")
    shutil.copytree(
        Path(__file__).parents[2] / "runtime",
        path / "naja",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    mark(path, "first")
    _python(path, _BUILD.format(what="precompile", then="precompile.build()"))
    shutil.copytree(path / "naja", path / "as it was")
    return path


@pytest.fixture
def home(built: Path) -> Path:
    """Return that directory as it was; what is compiled ahead knows by its place."""
    for path in built.iterdir():
        if path.name == "naja":
            shutil.rmtree(path)
        elif path.name != "as it was":
            path.unlink()
    shutil.copytree(built / "as it was", built / "naja")
    return built


def mark(home: Path, text: str) -> None:
    """Change a module's source."""
    with (home / "naja/container/state.py").open("a") as file:
        file.write(f"\nMARK = {text!r}\n")


def _python(home: Path, code: str) -> str:
    command = [sys.executable, "-IS", "-c", code, str(home)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def look(home: Path) -> list[str]:
    """Return whether modules were preloaded, by whom one was, and the mark of another."""
    boot = _python(home, _BUILD.format(what="precompiled", then="print(precompiled.boot())"))
    return _python(home, boot + "import sys\n" + _LOOK).split()


def test_modules_come_from_the_file_at_once(home: Path) -> None:
    assert look(home) == ["True", "Finder", "first"]


def test_what_fails_before_anybody_could_report_it_is_one_line(home: Path) -> None:
    with (home / "naja/errors.py").open("a") as file:
        file.write("\nraise OSError(23, 'no more files')\n")
    boot = _python(home, _BUILD.format(what="precompiled", then="print(precompiled.boot())"))
    command = [sys.executable, "-IS", "-c", boot + "import naja.errors"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (
        1,
        "naja: cannot start: OSError: [Errno 23] no more files\n",
    )


def test_a_changed_source_counts(home: Path) -> None:
    mark(home, "second")
    assert look(home) == ["False", "Finder", "second"]


def test_a_source_of_the_same_size_counts(home: Path) -> None:
    path = home / "naja/container/state.py"
    path.write_text(path.read_text().replace("'first'", "'fresh'"))
    assert look(home)[2] == "fresh"


def test_a_file_of_another_python(home: Path) -> None:
    file = home / f"naja/__pycache__/precompiled.{sys.implementation.cache_tag}"
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    assert look(home) == ["False", "SourceFileLoader", "first"]


def test_no_file(home: Path) -> None:
    file = home / f"naja/__pycache__/precompiled.{sys.implementation.cache_tag}"
    os.unlink(file)
    assert look(home) == ["False", "SourceFileLoader", "first"]


def _file(home: Path) -> Path:
    return home / f"naja/__pycache__/precompiled.{sys.implementation.cache_tag}"


def test_a_link_is_not_trusted(home: Path) -> None:
    file = _file(home)
    file.rename(home / "elsewhere")
    file.symlink_to(home / "elsewhere")
    assert look(home) == ["False", "SourceFileLoader", "first"]


def test_a_pipe_is_not_waited_for(home: Path) -> None:
    _file(home).unlink()
    os.mkfifo(_file(home))
    assert look(home) == ["False", "SourceFileLoader", "first"]


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_a_file_that_others_may_write_to_is_not_trusted(home: Path, mode: int) -> None:
    _file(home).chmod(mode)
    assert look(home) == ["False", "SourceFileLoader", "first"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_file_of_somebody_else_is_not_trusted(home: Path) -> None:
    os.chown(_file(home), 1000, 1000)
    assert look(home) == ["False", "SourceFileLoader", "first"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_it_is_made_anew_and_for_all_to_read(home: Path, umask: int) -> None:
    """Whatever the umask; and what was planted under a name that could be guessed is not written to."""
    victim = home / "victim"
    victim.touch()
    build = _BUILD.format(what="precompile", then="precompile.build()")
    planted = f"import os, sys; os.umask({umask}); n = sys.argv[1] + '/naja/__pycache__/precompiled.'"
    planted += f" + sys.implementation.cache_tag; os.symlink({str(victim)!r}, n + '.' + str(os.getpid()))\n"
    shutil.rmtree(home / "naja/__pycache__")
    (home / "naja/__pycache__").mkdir(mode=0o755)
    _python(home, planted + build)
    assert _file(home).stat().st_mode == 0o100644
    assert (home / "naja/__pycache__").stat().st_mode & 0o022 == 0
    assert victim.read_bytes() == b""
    assert look(home) == ["True", "Finder", "first"]


def test_a_directory_that_others_could_write_to(home: Path) -> None:
    (home / "naja/__pycache__").chmod(0o777)
    _python(home, _BUILD.format(what="precompile", then="precompile.build()"))
    assert (home / "naja/__pycache__").stat().st_mode & 0o777 == 0o755


#: Closes the imports as in a container, takes away what they came from, and has what a failure needs.
_FAIL = """
import os
from naja.process import stage
stage.close_imports()
kept = [name for name in stage._FOR_FAILURES if name not in sys.modules]
os.closerange(3, 100)
for name in stage._FOR_FAILURES:
    __import__(name)
try:
    import json
except ImportError:
    print(*sorted(kept))
from naja.linux import unexecutable
print(unexecutable.why("/bin/sh"), unexecutable.unfound("nothing-at-all", "/bin"))
"""


@pytest.mark.parametrize("current", [True, False])
def test_what_a_failure_needs_is_there_when_imports_are_closed(home: Path, current: bool) -> None:
    """In memory, and not loaded before; a module that has changed since is loaded at once."""
    if not current:
        with (home / "naja/linux/view.py").open("a") as file:
            file.write("\n")
    boot = _python(home, _BUILD.format(what="precompiled", then="print(precompiled.boot())"))
    lines = _python(home, boot + "import sys\n" + _FAIL).splitlines()
    assert ("naja.linux.view" in lines[0].split()) == current
    assert "naja.linux.unexecutable" in lines[0].split()
    assert lines[1] == " PATH is /bin"


class _Gone:
    """A stderr whose reader is gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_nobody_reads_why_it_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dumped Python cannot tell of an error in the hook for errors: it would wait for ever."""
    from naja.startup import precompiled

    monkeypatch.setattr(sys, "stderr", _Gone())
    precompiled._say(OSError, OSError(2, "No such file"), None)
