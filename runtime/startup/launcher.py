"""Writes the command ``naja`` that starts fastest: ``python -m naja.startup.launcher FILE``.

Saves 6 / 37 / 36 ms against pip's script (``make bench-start``).

The script that pip makes cannot pass options to Python, and so loads ``site`` (2.4 ms of 10). This
one has ``#!/path/of/python3 -IS`` as its first line and names the directories of naja and of its
dependencies itself. It calls the interpreter by its real path: through a virtual environment's
link, Python would look for that environment first.

Where there is a C compiler, the command is a small program (native/launcher.c) that seals Python
before it starts; then one interpreter does what takes two without it.
"""

from __future__ import annotations

import compileall
import glob
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile

from ..linux import libc
from . import precompile, precompiled

__all__ = ["main", "script", "write"]

#: Linux cuts longer first lines off (BINPRM_BUF_SIZE).
_LONGEST_LINE = 255

_NATIVE = os.path.join(precompiled.PACKAGE, "startup", "native")

#: Options for a program without a C library, whose start takes 0.3 ms.
_BARE = ["-DBARE", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"]

#: Options for a library; the stack that it has for a child need not be probed.
_SHARED = ["-shared", "-fPIC", "-fno-stack-protector", "-fno-stack-clash-protection"]

_MAIN = """\
import sys
sys.path.append({packages!r})
from naja.cli.main import main
main()
"""


def _body(packages: str) -> str:
    return precompiled.boot() + _MAIN.format(packages=packages)


def script(python: str, packages: str) -> str:
    """Return the script that runs naja with ``python``; dependencies are in ``packages``.

    Raises ValueError where Linux could not start an interpreter with this path.
    """
    if len(python) > _LONGEST_LINE - 6 or any(character.isspace() for character in python):
        raise ValueError(f"the path of Python cannot be the interpreter of a script: {python!r}")
    return f"#!{python} -IS\n" + _body(packages)


def program(python: str, packages: str) -> bytes | None:
    """Return the compiled native/launcher.c, that does the same; None where it cannot be compiled."""
    if ":" in python or "\\" in python:
        return None
    # What follows -c in Python's arguments is naja's own command line, its name first.
    body = "import sys\ndel sys.argv[0]\n" + _body(packages)
    directory, name = os.path.split(python)
    definitions = {
        "PYTHON": python,
        "DIRECTORY": directory,
        "NAME": name,
        "LOWER": _NATIVE,
        "BODY": body,
    }
    values = [f"-D{key}={_quoted(value)}" for key, value in definitions.items()]
    return _compiled("launcher.c", [[*values, *options] for options in (_BARE, ["-static"], [])])


def library() -> bytes | None:
    """Return the compiled native/kernel.c; None where it cannot be compiled, or not for this Python."""
    if any(map(sysconfig.get_config_var, ("Py_GIL_DISABLED", "Py_DEBUG", "Py_TRACE_REFS"))):
        # Its objects are others than those that the file declares, or it allows a thread one state only.
        return None
    return _compiled("kernel.c", [_SHARED])


def _compiled(source: str, attempts: list[list[str]]) -> bytes | None:
    """Return what the C compiler makes of a file of native/ by the first options that work, or None."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        output = os.path.join(scratch, "output")
        command = [compiler, "-O2", "-Wall", "-o", output, os.path.join(_NATIVE, source)]
        for options in attempts:
            if subprocess.run([*command, *options], check=False, capture_output=True).returncode == 0:
                with open(output, "rb") as file:
                    return file.read()
    return None


def _quoted(text: str) -> str:
    """Return a C string literal."""
    return '"' + "".join(f"\\{byte:03o}" for byte in os.fsencode(text)) + '"'


def write(path: str, *, native: bool = True) -> None:
    """Write the command; as a script where ``native`` is false, or no C compiler is there.

    naja is compiled as well, which a user without privileges could not do later. Raises OSError, or
    ValueError as ``script`` does.
    """
    where = (os.path.realpath(sys.executable), sysconfig.get_path("purelib"))
    content = (program(*where) if native else None) or os.fsencode(script(*where))
    compileall.compile_dir(precompiled.PACKAGE, quiet=1)
    precompile.build()
    if door := library():
        precompile.replace(libc.FILE, door, 0o755)
    precompile.replace(path, content, 0o755)
    _own([precompiled.FILE, libc.FILE])


def _own(files: list[str]) -> None:
    """Have pip remove these files with the package, where it has installed that (the RECORD of PEP 376)."""
    home = os.path.dirname(precompiled.PACKAGE)
    for record in glob.glob(f"{glob.escape(home)}/naja-*.dist-info/RECORD"):
        with open(record, "r+", encoding="utf-8") as file:
            known = file.read()
            for path in files:
                entry = f"{os.path.relpath(path, home)},,\n"
                if entry not in known:
                    file.write(entry)


def main() -> int:
    """Write the command to the file that is the only argument; return an exit status."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m naja.startup.launcher FILE\n")
        return 2
    try:
        write(sys.argv[1])
    except (OSError, ValueError) as error:
        sys.stderr.write(f"naja.startup.launcher: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
