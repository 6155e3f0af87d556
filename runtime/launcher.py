"""Writes the command ``naja`` that starts fastest: ``python -m runtime.launcher FILE``.

The script that pip makes cannot pass options to Python, and so loads ``site`` (2.4 ms of 10). This
one has ``#!/path/of/python3 -IS`` as its first line and names the directories of naja and of its
dependencies itself. It calls the interpreter by its real path: through a virtual environment's
link, Python would look for that environment first.
"""

from __future__ import annotations

import compileall
import os
import sys
import sysconfig

from runtime import precompiled

__all__ = ["main", "script", "write"]

#: Linux cuts longer first lines off (BINPRM_BUF_SIZE).
_LONGEST_LINE = 255

# `import runtime` finds the package by the first directory of sys.path; with it loaded, the
# directory goes to the end, so that nothing beside naja can pass for a module of Python's own.
_SCRIPT = """\
#!{python} -IS
import sys
sys.path.insert(0, {home!r})
import runtime
sys.path.append(sys.path.pop(0))
sys.path.append({packages!r})
from runtime import precompiled
precompiled.install()
from runtime.cli.main import main
main()
"""


def script(python: str, home: str, packages: str) -> str:
    """Return the script that runs naja from ``home`` with ``python``; dependencies are in ``packages``.

    Raises ValueError where Linux could not start an interpreter with this path.
    """
    if len(python) > _LONGEST_LINE - 6 or any(character.isspace() for character in python):
        raise ValueError(f"the path of Python cannot be the interpreter of a script: {python!r}")
    return _SCRIPT.format(python=python, home=home, packages=packages)


def write(path: str) -> None:
    """Write the command, and compile naja, which a user without privileges could not do later.

    Raises OSError, or ValueError as ``script`` does.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    text = script(os.path.realpath(sys.executable), home, sysconfig.get_path("purelib"))
    compileall.compile_dir(os.path.join(home, "runtime"), quiet=1)
    precompiled.build()
    temporary = path + ".new"
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(temporary, 0o755)
    os.rename(temporary, path)


def main() -> int:
    """Write the command to the file that is the only argument; return an exit status."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m runtime.launcher FILE\n")
        return 2
    try:
        write(sys.argv[1])
    except (OSError, ValueError) as error:
        sys.stderr.write(f"runtime.launcher: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
