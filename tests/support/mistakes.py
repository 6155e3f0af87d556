"""Mistakes, as docs/mistakes.md has them: what is to be done wrong, and what runtimes say of it.

Each is a block of the page below a heading: lines that prepare it, commands, and answers.

    config POINTER VALUE     sets a property of the config (JSON; "-" appends, "(gone)" takes away)
    file PATH TEXT [MODE]    writes a file of the root file system
    program PATH MACHINE     makes it a program of ELF's for another machine
    program PATH needs LOADER
    text TEXT                writes config.json itself
    empty                    empties the root file system
    user                     has all of it done by a user without privileges, and takes the cgroups away
    cgroup v1                says that it can be done there only
    $ naja WORDS             commands in the bundle, in their order; the last one is the mistake
    naja: …                  what naja says of it, and in the same way the others

In an answer BUNDLE and ROOT are the bundle's path and that of the state, and … is anything.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.integration.test_bad_configs import MISSING, mutate
from tests.support.command import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

PAGE = os.path.join(REPOSITORY, "docs", "mistakes.md")
#: The name of the container in the page.
BOX = "box"
RUNTIMES = ("naja", "runc", "crun")

_MACHINES = {"aarch64": 183, "x86-64": 62}
_SECONDS = 30
#: A user whom nobody has given subordinate ids.
_USER = 765_432


@dataclass
class Mistake:
    """A mistake: its heading, what prepares it, the commands, and the answers by the runtimes' names."""

    title: str
    preparations: list[str] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)


def read(text: str) -> Iterator[Mistake]:
    """Return the mistakes of a page."""
    mistake: Mistake | None = None
    for line in text.splitlines():
        if line.startswith("### "):
            if mistake:
                yield mistake
            mistake = Mistake(line.removeprefix("### "))
        elif mistake and line.startswith("    "):
            _take(mistake, line.strip())
    if mistake:
        yield mistake


def _take(mistake: Mistake, line: str) -> None:
    name, colon, _ = line.partition(":")
    if colon and name in RUNTIMES:
        mistake.answers[name] = line
    elif line.startswith("$ naja "):
        mistake.commands.append(shlex.split(line)[2:])
    else:
        mistake.preparations.append(line)


def make(mistake: Mistake, bundle: Bundle, runtime: Runtime) -> str:
    """Make a mistake with a runtime, in a fresh bundle. Returns what it said in the end, in the page's words.

    Raises AssertionError where one of the commands before fails.
    """
    user = "user" in mistake.preparations
    if user:
        for name in ("cgroupsPath", "resources"):
            del bundle.linux[name]
    for preparation in mistake.preparations:
        _prepare(bundle, preparation)
    if user:
        bundle.save()
        subprocess.run(["chown", "--recursive", f"{_USER}:{_USER}", bundle.path], check=True)
    *before, last = mistake.commands
    for words in before:
        done = _run(runtime, bundle, words, user=user)
        assert done.returncode == 0, f"{words}: {done.stderr}"
    done = _run(runtime, bundle, last, user=user)
    lines = [_worded(line, bundle, runtime) for line in done.stderr.splitlines() if line.strip()]
    if runtime.name == "naja":
        return "\n".join(lines)  # One, for it says all it has to say at once.
    if done.returncode == 0 and not lines:
        return f"{runtime.name}: (says nothing, and goes on)"
    if not lines:
        return f"{runtime.name}: (says nothing; exit status {done.returncode})"
    # crun goes on with what one should read, runc begins with warnings.
    return lines[0] if runtime.name == "crun" else lines[-1]


def matches(answer: str, said: str) -> bool:
    """Tell whether a runtime said what the page has."""
    return re.fullmatch(re.escape(answer).replace("…", ".*"), said) is not None


def _prepare(bundle: Bundle, line: str) -> None:
    what, _, rest = line.partition(" ")
    if what == "config":
        pointer, _, value = rest.partition(" ")
        mutate(bundle.config, pointer, MISSING if value == "(gone)" else json.loads(value))
        bundle.save()
    elif what == "file":
        path, _, rest = rest.partition(" ")
        text, end = json.JSONDecoder().raw_decode(rest)
        bundle.write(path, text, int(rest[end:] or "755", 8))
    elif what == "program":
        path, _, kind = rest.partition(" ")
        loader = kind.removeprefix("needs ") if kind.startswith("needs ") else ""
        bundle.write(path, elf(0 if loader else _MACHINES[kind], loader))
    elif what == "text":
        with open(os.path.join(bundle.path, "config.json"), "w") as file:
            file.write(json.loads(rest))
    elif what == "empty":
        shutil.rmtree(bundle.rootfs)
        os.mkdir(bundle.rootfs)
    elif what not in ("user", "cgroup"):
        raise AssertionError(f"what is {line!r}?")


def elf(machine: int, loader: str = "") -> bytes:
    """Return a program of one segment, which names its loader; machine 0 is this one."""
    if not machine:
        with open("/proc/self/exe", "rb") as file:
            machine = struct.unpack_from("<H", file.read(20), 18)[0]
    name = os.fsencode(loader) + b"\0"
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 3 if loader else 1, 4, 120, 0, 0, len(name), len(name), 1) + name


def _run(
    runtime: Runtime, bundle: Bundle, words: list[str], *, user: bool
) -> subprocess.CompletedProcess[str]:
    argv = [word if word != BOX else bundle.id for word in words]
    options: dict[str, object] = {}
    if user:
        options = {"user": _USER, "group": _USER, "extra_groups": [], "env": {"PATH": os.environ["PATH"]}}
    # A container that goes on would hold a pipe.
    with open(os.path.join(bundle.path, "stderr"), "w+") as err:
        done = subprocess.run(  # type: ignore[call-overload]
            runtime.command(*argv),
            cwd=bundle.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=err,
            check=False,
            timeout=_SECONDS,
            **options,
        )
        err.seek(0)
        return subprocess.CompletedProcess(argv, done.returncode, "", err.read())


def _worded(line: str, bundle: Bundle, runtime: Runtime) -> str:
    """Return a line as the page has it: without times and places of the moment."""
    if found := re.search(r'level=\w+ msg=("(?:[^"\\]|\\.)*"|.*)', line):
        line = json.loads(found[1]) if found[1].startswith('"') else found[1]
    line = re.sub(r"^\d{4}-\d\d-\d\dT[0-9:.]+Z: ", "", line)
    for text, word in ((bundle.path, "BUNDLE"), (runtime.root, "ROOT"), (bundle.id, BOX)):
        line = line.replace(text, word)
    return line if line.startswith(f"{runtime.name}: ") else f"{runtime.name}: {line}"
