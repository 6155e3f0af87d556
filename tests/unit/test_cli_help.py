"""Help and man pages say what the declarations say, and their examples are command lines of naja's."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from naja.cli import guide, manual
from naja.cli import help as cli_help
from naja.cli.options import GLOBAL_OPTIONS, HELP, VERBS
from naja.cli.parser import UsageError, parse_globals, parse_verb


def shown(capfd: pytest.CaptureFixture[str], name: str = "") -> str:
    assert cli_help.show_help("naja", name) == 0
    return capfd.readouterr().out


@pytest.mark.parametrize("name", ["", *VERBS])
def test_help_has_everything(capfd: pytest.CaptureFixture[str], name: str) -> None:
    text = shown(capfd, name)
    words = text.replace(",", " ").split()
    for option in (*VERBS[name].options, HELP) if name else GLOBAL_OPTIONS:
        assert all((f"--{each}" if len(each) > 1 else f"-{each}") in words for each in option.names)
    assert text.startswith("Usage: naja ")
    assert "\n  Examples:\n" in text


def test_help_lists_all_commands(capfd: pytest.CaptureFixture[str]) -> None:
    lines = shown(capfd).splitlines()
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in VERBS)


def test_help_of_what_there_is_not() -> None:
    with pytest.raises(UsageError, match=r"no such command: 'strat' \(did you mean 'start'\?\)"):
        cli_help.show_help("naja", "strat")


@pytest.mark.parametrize(
    ("name", "line"), [(name, line) for name, lines in guide.EXAMPLES.items() for line, _ in lines]
)
def test_an_example_is_understood(name: str, line: str) -> None:
    line = line.removeprefix('eval "$(').removesuffix(')"').partition(" > ")[0]
    program, *words = shlex.split(line)
    globals, rest = parse_globals(words)
    command = parse_verb(globals, rest)
    assert program == "naja"
    assert command.name == name or not name


def test_the_guide_knows_no_other_commands() -> None:
    assert set(guide.MORE) | set(guide.EXAMPLES) - {""} == set(VERBS)
    assert set(guide.MORE) <= set(VERBS)


def test_there_is_a_page_for_each_command() -> None:
    pages = manual.pages()
    assert set(pages) == {"naja.8", "containerd-shim-naja-v2.8", *(f"naja-{name}.8" for name in VERBS)}
    for name, verb in VERBS.items():
        page = pages[f"naja-{name}.8"]
        for option in verb.options:
            assert f"--{option.name}".replace("-", "\\-") + "\\fR" in page


@pytest.mark.skipif(shutil.which("man") is None, reason="needs man")
@pytest.mark.parametrize("name", ["naja", "naja-exec", "naja-events", "containerd-shim-naja-v2"])
def test_man_has_nothing_to_complain_of(tmp_path: Path, name: str) -> None:
    """As lintian asks it."""
    assert manual.main([str(tmp_path)]) == 0
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", f"{tmp_path}/{name}.8"]
    environment = {"LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=60)
    assert done.stderr == ""
