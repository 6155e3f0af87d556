"""What the pages show is typed and compared: the README's sessions, its Python, and what other pages hold."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import REPOSITORY

_HOME = Path(REPOSITORY)
_README = (_HOME / "README.md").read_text(encoding="utf-8")
_PAGES = sorted([*_HOME.glob("*.md"), *_HOME.glob("docs/*.md")])

#: A state root that is the test's own.
_ALONE = 'mount -t tmpfs none /run && exec "$@"'


def blocks(text: str) -> list[list[str]]:
    """Return the indented blocks of a page, as lines."""
    found = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text, re.MULTILINE)
    return [[line[4:] for line in block.splitlines()] for block in found]


def block(beginning: str) -> list[str]:
    """Return the block of the README that begins so."""
    return next(lines for lines in blocks(_README) if lines[0].startswith(beginning))


def run(words: list[str], cwd: Path, *, check: bool = True) -> str:
    """Run a program with a /run of its own, and return what it writes."""
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _ALONE, "sh", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
        cwd=cwd,
        env={**os.environ, "PATH": path},
    )
    assert not check or done.returncode == 0, done.stdout
    return done.stdout


def shape(text: str) -> str:
    """Return a line with one blank between words, and whatever changes from run to run masked."""
    return re.sub(r"\d+(\.\d+)?", "N", " ".join(text.replace("/root/box", "BOX").split()))


def test_the_session_of_the_readme(tmp_path: Path) -> None:
    lines = block("# naja spec")
    script = "".join(f"{line[2:]}\n" for line in lines if line.startswith("# "))
    ended = "until naja state box | grep -q stopped; do sleep 0.05; done"
    script = script.replace("naja delete", f"{ended}\nnaja delete")  # Who types is not as fast.
    shown = run(["sh", "-ec", script], tmp_path).replace(f"{tmp_path}/box", "/root/box")
    expected = [shape(line) for line in lines if not line.startswith("# ")]
    # A program that the machine has not read yet is read by the container.
    found = [re.sub(r"( (-|N [KM]?i?B)){2}$", " - -", shape(line)) for line in shown.splitlines()]
    found = [re.sub(r" [KM]iB", " KiB", line) for line in found]
    assert found == [re.sub(r" [KM]iB", " KiB", line) for line in expected]


def test_the_error_of_the_readme(tmp_path: Path) -> None:
    command, *shown = block("# naja run")
    run(["sh", "-ec", "naja spec --host --bundle box /bin/true < /dev/null"], tmp_path)
    config = tmp_path / "box" / "config.json"
    config.write_text(config.read_text().replace('"size=', '"sizee=').replace('"sizee=', '"size=', 2))
    said = run(["sh", "-c", command[2:]], tmp_path, check=False)
    assert shape(said) == shape(" ".join(shown))


def test_the_plan_of_the_readme(tmp_path: Path) -> None:
    command, *shown = block("$ naja plan")
    run(["sh", "-ec", "naja spec --host --bundle box /bin/sleep 1000 < /dev/null"], tmp_path)
    said = shape(run(["sh", "-c", command[2:]], tmp_path).replace(f"{tmp_path}/box", "/root/box"))
    for line in shown:
        if line.strip() != "…":
            assert re.search(re.escape(shape(line)).replace("…", ".*"), said), line


def test_the_python_of_the_readme(tmp_path: Path) -> None:
    run(["sh", "-ec", "naja spec --host --bundle box /bin/sleep 1000 < /dev/null"], tmp_path)
    said = run([sys.executable, "-c", "\n".join(block("import naja"))], tmp_path)
    assert said.startswith("7 uid=0(root) gid=0(root)")


def test_where_the_hooks_are(tmp_path: Path) -> None:
    page = (_HOME / "docs" / "hooks.md").read_text(encoding="utf-8")
    command = next(line for lines in blocks(page) for line in lines if line.startswith("$ python -c"))
    assert run(["sh", "-c", command[2:]], tmp_path).endswith("/share/hooks\n")


def fenced(kind: str) -> list[Any]:
    found = []
    for page in _PAGES:
        parts = re.findall(
            rf"^```{kind}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        found += [pytest.param(part, id=f"{page.name}-{number}") for number, part in enumerate(parts)]
    return found


@pytest.mark.parametrize("text", fenced("toml"))
def test_toml(text: str) -> None:
    assert tomllib.loads(text)


@pytest.mark.parametrize("text", fenced("json"))
def test_json(text: str) -> None:
    whole = text if text.lstrip().startswith(("{", "[")) else f"{{{text}}}"
    assert json.loads(whole)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.name))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, _ = target.partition("#")
        if path and "://" not in path:
            assert (page.parent / path).exists(), target
