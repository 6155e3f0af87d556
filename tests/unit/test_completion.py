"""Completion offers what may stand there, in the shells themselves."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from naja.cli import completion
from naja.cli.options import VERBS
from tests.support.command import runtime_command
from tests.support.needs import requires_command

#: A state root of these containers, and files of these names beside.
IDS = ("box", "box2", "other")
_HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with containers, files, and the scripts."""
    home = tmp_path_factory.mktemp("completion")
    for name in IDS:
        (home / "root" / "naja" / name).mkdir(parents=True)
    (home / "bundle one").mkdir()
    (home / "bundle.json").touch()
    (home / "bin").mkdir()
    (home / "bin" / "naja").write_text(f'#!/bin/sh\nexec {" ".join(runtime_command())} "$@"\n')
    (home / "bin" / "naja").chmod(0o755)
    for shell, script in completion.SHELLS.items():
        (home / shell).write_text(script())
    # zsh finds a function by its file.
    (home / "functions").mkdir()
    (home / "functions" / "_naja").write_text(completion.zsh())
    return home


def run(place: Path, *words: str | Path) -> list[str]:
    environment = {
        "PATH": f"{place}/bin:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": f"{place}/root",
        "HOME": str(place),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        words, cwd=place, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


#: The words typed, the last of them as far as it was; all, or some, of what is offered.
CASES: list[tuple[list[str], list[str]]] = [
    (["naja", "sta"], ["start", "state"]),
    (["naja", "--roo"], ["--root", "--rootless"]),
    (["naja", "--log-format", ""], ["json", "text"]),
    (["naja", "help", "pa"], ["pause"]),
    (["naja", "--root", "root/naja", "state", "b"], ["box", "box2"]),
    (["naja", "--root", "root", "state", "n"], ["naja"]),
    (["naja", "--root", "root/naja", "exec", "--env", "A=1", "o"], ["other"]),
    (["naja", "--root", "root/naja", "kill", "box", "TER"], ["TERM"]),
    (["naja", "--root", "root/naja", "mount", "box", "bundle.j"], ["bundle.json"]),
    (["naja", "run", "--bu"], ["--bundle"]),
    (["naja", "exec", "--cap", "CAP_SYS_P"], ["CAP_SYS_PACCT", "CAP_SYS_PTRACE"]),
    (["naja", "list", "--format", ""], ["json", "table"]),
    (["naja", "update", "--resources", "bundle."], ["bundle.json"]),
    (["naja", "completion", "f"], ["fish"]),
]

#: Calls the function as bash does, which splits words at equals signs, and shows what it offers.
_BASH = """\
source ./bash
compopt() { :; }
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_naja "$1" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def bash(place: Path, *words: str) -> list[str]:
    return [line for line in run(place, "bash", "-c", _BASH, "bash", *words) if line]


@requires_command("bash")
@pytest.mark.parametrize(("words", "offered"), CASES)
def test_bash(place: Path, words: list[str], offered: list[str]) -> None:
    assert sorted(bash(place, *words)) == offered


@requires_command("bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["naja", "run", "--bundle", "b"], ["bin", "bundle one"]),
        (["naja", "run", "--bundle", "=", "bu"], ["bundle one"]),
        (["naja", "--root", "=", "root/naja", "state", ""], [*IDS]),
        (["naja", "--log-format", "="], ["json", "text"]),
        (["naja", "run", "--bundle", "x", "b"], []),
        (["naja", "exec", "box", "--t"], []),
        (["naja", "exec", "--", "--t"], []),
        (["naja", "nonsense", ""], []),
        (["naja", "validate", "bu"], ["bundle one"]),
    ],
)
def test_bash_in_corners(place: Path, words: list[str], offered: list[str]) -> None:
    assert sorted(bash(place, *words)) == offered


@requires_command("bash")
def test_bash_finds_the_usual_root(place: Path) -> None:
    """It is naja that knows where that is."""
    if os.geteuid() == 0:
        pytest.skip("root's containers are in /run/naja")
    assert bash(place, "naja", "delete", "") == [*IDS]


@requires_command("bash")
def test_bash_is_quick(place: Path) -> None:
    """Less than a person notices, in processor time: what else the machine does is not the test's affair."""
    command = runtime_command()
    told = subprocess.check_output([*command, "--version"], text=True)
    if len(command) > 1 or "start: from a dump" not in told:
        pytest.skip("needs the command as it starts fastest")
    script = f"""
source ./bash
compopt() {{ :; }}
COMP_WORDS=({command[0]} --root root/naja state '') COMP_CWORD=4
for i in 1 2 3 4 5 6 7 8; do
    _naja naja '' state
    echo "${{#COMPREPLY[@]}}"
done
"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run(place, "bash", "-c", script) == [str(len(IDS))] * 8
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 8 * 0.060


@requires_command("zsh")
@pytest.mark.parametrize(("words", "offered"), CASES[::3])  # A second for each.
def test_zsh(place: Path, words: list[str], offered: list[str]) -> None:
    assert sorted(zsh(place, words)) == offered


def zsh(place: Path, words: list[str]) -> list[str]:
    return run(place, "zsh", "-f", _HERE.parent / "data" / "complete.zsh", " ".join(words))


@requires_command("fish")
@pytest.mark.parametrize(("words", "offered"), CASES)
def test_fish(place: Path, words: list[str], offered: list[str]) -> None:
    script = f"source ./fish; complete --do-complete={' '.join(words)!r}"
    found = {line.split("\t")[0] for line in run(place, "fish", "--no-config", "-c", script)}
    assert set(offered) <= {name.rpartition("=")[2] for name in found}


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_command_is_in_every_script(shell: str) -> None:
    text = completion.SHELLS[shell]()
    assert all(name in text and verb.options[0].name in text for name, verb in VERBS.items() if verb.options)
    assert "ids" in text and "resident" not in text
