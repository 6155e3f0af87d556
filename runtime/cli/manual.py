"""The man pages, made from the declarations in ``options``: ``python -m naja.cli.manual DIRECTORY``.

It writes naja.8, a page for each command (naja-run.8), and one for containerd's shim, in man(7)'s language.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ..version import SPECIFICATION, VERSION
from .guide import ABOUT, EXAMPLES
from .options import GLOBAL_OPTIONS, HELP, VERBS
from .words import described, helped, placeholder, spelled, usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .options import Option

__all__ = ["pages"]

_SHIM = "containerd-shim-naja-v2"
_SHIM_TEXT = (
    "containerd starts this program for the runtime io.containerd.naja.v2, one for all containers of a pod. "
    "It is naja under another name: containerd finds it in PATH by the runtime's name, and speaks to it by "
    "ttrpc. People have no use for it."
)
_STANDARD = f"It implements version {SPECIFICATION} of the runtime specification of the OCI."
_STATUS = (
    "0 where the command did what it was asked for; 1 where it failed, or was used wrongly (exec: 255 where "
    "it failed itself). Attached, run and exec end with the status of the container's program, which is 128 "
    "and N where signal N has ended it. An error is one line on standard error."
)
_FILES = (
    ("/run/naja", "where the state of containers is kept, for root; see --root"),
    ("$XDG_RUNTIME_DIR/naja", "the same for users, and for root in a user namespace"),
    ("config.json", "in a bundle: what the container is to be"),
)


def pages() -> dict[str, str]:
    """Return all pages by the names of their files."""
    found = {"naja.8": _naja(), f"{_SHIM}.8": _shim()}
    for name in VERBS:
        found[f"naja-{name}.8"] = _verb(name)
    return found


def _naja() -> str:
    commands = [(f"\\fBnaja\\-{_escaped(name)}\\fR(8)", verb.summary) for name, verb in VERBS.items()]
    return _page(
        "naja",
        "run containers",
        ("SYNOPSIS", _escaped(usage("naja", ""))),
        (
            "DESCRIPTION",
            f"{_escaped(ABOUT)}\n.PP\nIt implements version {SPECIFICATION} of the specification.",
        ),
        ("OPTIONS", _options(GLOBAL_OPTIONS)),
        ("COMMANDS", _list((head, _escaped(text)) for head, text in commands)),
        ("EXIT STATUS", _escaped(_STATUS)),
        ("FILES", _list((f"\\fI{_escaped(path)}\\fR", _escaped(text)) for path, text in _FILES)),
        ("EXAMPLES", _examples("")),
        ("SEE ALSO", f"\\fB{_escaped(_SHIM)}\\fR(8), \\fBrunc\\fR(8), \\fBcrun\\fR(1)"),
    )


def _verb(name: str) -> str:
    return _page(
        f"naja-{name}",
        VERBS[name].summary,
        ("SYNOPSIS", _escaped(usage("naja", name))),
        (
            "DESCRIPTION",
            _escaped(described(name)),
        ),
        ("OPTIONS", _options((*VERBS[name].options, HELP))),
        ("EXAMPLES", _examples(name)),
        ("SEE ALSO", "\\fBnaja\\fR(8)"),
    )


def _shim() -> str:
    return _page(
        _SHIM,
        "containerd's shim for naja",
        ("SYNOPSIS", _escaped(f"{_SHIM} [options] [start|delete]")),
        ("DESCRIPTION", _escaped(_SHIM_TEXT)),
        ("EXAMPLES", _example("ctr run --runtime io.containerd.naja.v2 IMAGE ID", "run an image with naja")),
        ("SEE ALSO", "\\fBnaja\\fR(8)"),
    )


def _page(name: str, summary: str, *sections: tuple[str, str]) -> str:
    """Return a page; a section without text is left out."""
    title = f'.TH {_escaped(name.upper())} 8 "" "naja {_escaped(VERSION)}" "System Manager\'s Manual"'
    lines = [title, ".SH NAME", f"{_escaped(name)} \\- {_escaped(summary)}"]
    for heading, text in sections:
        if text:
            lines += [f".SH {heading}", text.rstrip("\n")]
    return "\n".join(lines) + "\n"


def _options(options: Iterable[Option]) -> str:
    rows = []
    for option in options:
        names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in spelled(option))
        value = placeholder(option)
        rows.append((f"{names} \\fI{_escaped(value)}\\fR" if value else names, _escaped(helped(option))))
    return _list(rows)


def _list(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(f".TP\n{head}\n{text}\n" for head, text in rows)


def _examples(name: str) -> str:
    return "".join(_example(*each) for each in EXAMPLES.get(name, ()))


def _example(command: str, meaning: str) -> str:
    return f".TP\n.B {_escaped(command)}\n{_escaped(meaning)}\n"


def _escaped(text: str) -> str:
    """Return text as it is to be printed: man(7) reads backslashes, dashes, and what begins a line."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("µ", "\\(mc")
    text = text.replace("'", "\\(aq").replace('"', "\\(dq").replace("~", "\\(ti").replace("^", "\\(ha")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def main(words: list[str]) -> int:
    """Write the pages into a directory; return an exit status."""
    if len(words) != 1:
        sys.stderr.write("usage: python -m naja.cli.manual DIRECTORY\n")
        return 2
    os.makedirs(words[0], exist_ok=True)
    for name, text in pages().items():
        with open(os.path.join(words[0], name), "w", encoding="ascii") as file:
            file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
