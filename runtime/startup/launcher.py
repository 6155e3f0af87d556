"""Writes the command ``naja`` that starts fastest: ``python -m naja.startup.launcher FILE`` (``--help``).

Saves 6 / 37 / 36 ms against pip's script (``make bench-start``).

The script that pip makes has Python load ``site`` (2.4 ms of 10). This command leaves it out and names the
directories of naja and of its dependencies itself. It calls the interpreter by its real path: through a
virtual environment's link, Python would look for that environment first.

Where there is a C compiler, the command is a small program (native/launcher.c) that seals Python
before it starts; then one interpreter does what takes two without it. Else it is a shell's script.
"""

from __future__ import annotations

import argparse
import compileall
import glob
import marshal
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from typing import TYPE_CHECKING

from ..linux import libc
from . import dump, layout, lenders, precompile, precompiled, steps

if TYPE_CHECKING:
    from .precompiled import Modules

__all__ = ["main", "script", "write"]

#: What tests ask for: "launcher" is a command as without Python's headers, "script" as without a C compiler.
_TIER = os.environ.get("NAJA_TIER", "")

_NATIVE = os.path.join(precompiled.PACKAGE, "startup", "native")

#: The compiled native/interpreter.c, and the program of its dump (dump.py).
_EARLY = precompiled.FILE.replace("/precompiled.", "/early.")
_WARM = precompiled.FILE.replace("/precompiled.", "/warm.")

#: The name of containerd's shim (cli/main.py).
_SHIM = "containerd-shim-naja-v2"

#: Options for a program without a C library, whose start takes 0.3 ms.
_BARE = ["-DBARE", "-s", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"]

#: By what the sizes and times of the sources become one number.
_FACTOR = 6364136223846793005

#: Libraries of Python's modules, and their archives.
_STATIC = {"-lz": "-l:libz.a", "-lexpat": "-l:libexpat.a"}

#: Options for a library; the stack that it has for a child need not be probed.
_SHARED = ["-shared", "-s", "-fPIC", "-fno-stack-protector", "-fno-stack-clash-protection"]

_MAIN = """\
import sys
del sys.argv[0]
sys.path.append({packages!r})
from naja.cli.main import main
main()
"""


#: Python does not start with a directory as a standard stream, and a container would find its way through it:
#: the null device takes its place, as in native/launcher.c.
_SCRIPT = """\
#!/bin/sh
[ -d /proc/self/fd/0 ] && exec 0<> /dev/null
[ -d /proc/self/fd/1 ] && exec 1<> /dev/null
[ -d /proc/self/fd/2 ] && exec 2<> /dev/null
_naja_python={python}
[ -x "$_naja_python" ] || _naja_python={usual}
if ! [ -x "$_naja_python" ]; then
    printf 'naja: cannot start: its Python is gone, %s, and there is no {usual}\\n' {python} >&2
    exit 1
fi
exec "$_naja_python" -IS -c {body} "$0" "$@"
"""

#: What takes the place of an interpreter that is gone: slower, as nothing was compiled for it.
_USUAL = "/usr/bin/python3"


def _body(packages: str, destdir: str = "") -> str:
    """Return what Python runs; its arguments after -c are the command line, with the name first."""
    return precompiled.boot(destdir) + _MAIN.format(packages=packages)


def script(python: str, packages: str, destdir: str = "") -> str:
    """Return the script that runs naja with ``python``; dependencies are in ``packages``."""
    body = shlex.quote(_body(packages, destdir))
    return _SCRIPT.format(python=shlex.quote(python), usual=_USUAL, body=body)


def program(python: str, packages: str, modules: Modules | None = None, *, destdir: str = "") -> bytes | None:
    """Return the compiled native/launcher.c, that does the same; None where it cannot be compiled.

    ``modules`` are those that are in the dump, where there is one.
    """
    if ":" in python or "\\" in python:
        return None
    directory, name = os.path.split(python)
    status = os.stat(python)
    definitions = {
        "PYTHON": python,
        "DIRECTORY": directory,
        "NAME": name,
        "USUAL": os.path.dirname(_USUAL),
        "OWN": os.path.dirname(_EARLY).removeprefix(destdir),
        "EARLY": os.path.basename(_EARLY),
        "WARM": os.path.basename(_WARM),
        "PACKAGE": precompiled.PACKAGE.removeprefix(destdir),
        "LOWER": _NATIVE.removeprefix(destdir),
        "LENDERS": lenders.beginning(),
        "BODY": _body(packages, destdir),
    }
    values = [f"-D{key}={_quoted(value)}" for key, value in definitions.items()]
    values += [f"-DSIZE={status.st_size}", f"-DCHANGED={int(status.st_mtime)}"]
    sources, total = "", 0
    for path, size, changed, _, _ in (modules or {}).values():
        sources += f"{_quoted(path)},"
        for part in (size, *divmod(changed, 10**9)):
            total = (total * _FACTOR + part) % 2**64
    values += [f"-DSOURCES={sources}", f"-DSUM={total}UL", f"-DFACTOR={_FACTOR}UL"]
    values += [*(f"-D{key}={value}" for key, value in steps.definitions().items()), f"{_NATIVE}/steps.c"]
    return _compiled("launcher.c", [[*values, *options] for options in (_BARE, ["-static"], [])])


def interpreter(python: str, packages: str, *, dumps: bool = False, destdir: str = "") -> bytes | None:
    """Return the compiled native/interpreter.c; None where it cannot be compiled, or does not work.

    With ``dumps``, the program of its dump with all of naja loaded. It takes Python's headers and its static
    archive (python3-dev), and a Python that starts in two steps.
    """
    get = sysconfig.get_config_var
    archive = f"{get('LIBPL')}/{get('LIBRARY')}"
    if _TIER == "launcher" or not os.path.exists(archive) or ":" in _EARLY or "\\" in _EARLY:
        return None
    paths = sysconfig.get_paths()
    definitions = {
        "PYTHON": python,
        "HOME": sys.base_prefix,
        "STDLIB": paths["stdlib"],
        "EXTENSIONS": get("DESTSHARED"),
    }
    body = _body(packages, destdir)
    code = marshal.dumps(compile(_MAIN_AWAKE if dumps else body, "<start>", "exec"))
    options = [f"-D{key}=L{_quoted(value)}" for key, value in definitions.items()]
    options += [f"-DBODY={_quoted(body)}", f"-DCODE={_quoted(code)}"]
    options += [f"{_NATIVE}/kernel.c", f"{_NATIVE}/json.c"]
    if destdir:
        options.append(f"-ffile-prefix-map={destdir}=")  # Python's macros name the file.
    options += ["-no-pie", "-s", f"-I{paths['include']}", f"-I{paths['platinclude']}"]
    if dumps:
        options += [f"{_NATIVE}/dump.c", _WRAPPED, *_WRAPPED_TOO.get(sys.version_info[:2], ())]
        if place := _OWN_STATE.get(sys.version_info[:2]):
            options.append(f"-DOWN_STATE={place}")
    names = ("LINKFORSHARED", "MODLIBS", "LIBS", "SYSLIBS", "LIBM")
    libraries = [archive, *" ".join(get(name) or "" for name in names).split()]
    # What is linked in need not be loaded.
    fixed = [_STATIC.get(library, library) for library in libraries]
    with tempfile.TemporaryDirectory() as scratch:
        objects = _objects(archive, scratch) if dumps else []
        ways = [[*options, *objects, *each] for each in (fixed, libraries)]
        program = _compiled("interpreter.c", ways)
    if program and dumps:
        asleep = _ASLEEP.format(boot=precompiled.boot(), packages=packages, verbs=_VERBS, used=layout.used())
        program = dump.dumped(program, asleep)
    return program if program and _works(program) else None


def _objects(archive: str, directory: str) -> list[str]:
    """Unpack Python's archive; return its files, what verbs never use last; none where that does not work.

    The kernel brings in the pages around one that is used: they had better be used as well.
    """
    try:
        subprocess.run(["ar", "x", archive], check=True, capture_output=True, cwd=directory)
    except (OSError, subprocess.CalledProcessError):
        return []
    seldom = {f"{name}.o": place for place, name in enumerate(_SELDOM.split(), 1)}
    names = sorted(os.listdir(directory), key=lambda name: (seldom.get(name, 0), name))
    return [os.path.join(directory, name) for name in names]


#: Objects of Python that engines' verbs use rarely, or never: compiler, regular expressions and their like.
_SELDOM = """
    pystate unicodectype initconfig getpath itertoolsmodule textio zlibmodule mathmodule arraymodule _csv
    _operator _codecsmodule selectmodule _functoolsmodule _abc _tracemalloc faulthandler _posixsubprocess
    _bisectmodule _collectionsmodule _randommodule _localemodule genericaliasobject grpmodule spwdmodule
    _heapqmodule _elementtree pyexpat _datetimemodule _pickle cmathmodule binascii md5module sha1module
    sha256module sha512module sha3module blake2b_impl blake2s_impl sre ast ast_opt ast_unparse pegen
    pegen_errors compile symtable Python-ast parser unicodedata
"""

#: What is loaded before the dump, what needs least first: what each verb needs is in few pages then.
_VERBS = ("command", "state", "delete", "kill", "start", "exec", "create", "run", "dump")

#: What an interpreter does before it is dumped, and when it goes on. The modules are not yet where they
#: will be, so it is the file of all of them that they are loaded from.
_ASLEEP = """\
import sys
{boot}
sys.path.append({packages!r})
sys.meta_path[0].load_all({verbs!r}, {used!r})
from naja.startup.dumped import tell
from naja.cli.practice import practise
practise(sys.argv[2])
tell()
"""
_MAIN_AWAKE = """\
import sys
del sys.argv[0]
from naja.cli.main import main
main()
"""

#: By version: where in Python's runtime is the key by which a thread finds its state. The headers of newer
#: ones cannot be included from here.
_OWN_STATE = {(3, 11): "gilstate.autoTSSkey", (3, 12): "autoTSSkey"}

#: What native/dump.c has a word in.
_WRAPPED = "-Wl," + ",".join(f"--wrap={name}" for name in ("malloc", "calloc", "realloc", "free"))

#: By version. In 3.12 this does more, and such strings are never written to; 3.13 has it no more.
_WRAPPED_TOO = {(3, 11): ["-Wl,--wrap=_Py_Deepfreeze_Init"]}

#: What has to be there, early and late.
_TRIAL = """\
import _early, _io, _kernel, _signal, posix, sys
assert sys.argv == ["-c", "\\udce4", "\\u00e4"] and "encodings" not in sys.modules
assert posix.environ == {b"GIVEN": b"1"}
assert _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
posix.stat("/").st_ino
_early.complete()
import subprocess, _json
with open("/dev/null", encoding="utf-8") as file:
    sys.stdout.write("complete")
sys.stdout.flush()
"""


def _works(program: bytes) -> bool:
    """Tell whether an interpreter does what is asked of it."""
    words = ("-IS", "-c", _TRIAL, os.fsdecode(b"\xe4"), "\u00e4")
    if dump.ran(program, *words, environment={"GIVEN": "1"}) != (0, b"complete", b""):
        return False
    # Python 3.13 has no place for codecs before the second step, and falls where it looks for one.
    codec = "b'\\xff'.decode(errors='backslashreplace')"
    status, _, _ = dump.ran(program, "-IS", "-c", codec, environment={})
    return status >= 0


def library() -> bytes | None:
    """Return the compiled native/kernel.c; None where it cannot be compiled, or not for this Python."""
    if any(map(sysconfig.get_config_var, ("Py_GIL_DISABLED", "Py_DEBUG", "Py_TRACE_REFS"))):
        # Its objects are others than those that the file declares, or it allows a thread one state only.
        return None
    return _compiled("kernel.c", [_SHARED])


def _compiled(source: str, attempts: list[list[str]]) -> bytes | None:
    """Return what the C compiler makes of a file of native/ by the first options that work, or None."""
    compiler = shutil.which("cc")
    if compiler is None or _TIER == "script":
        return None
    with tempfile.TemporaryDirectory() as scratch:
        output = os.path.join(scratch, "output")
        command = [compiler, "-O2", "-Wall", "-o", output, os.path.join(_NATIVE, source)]
        for options in attempts:
            done = subprocess.run([*command, *options], check=False, capture_output=True)
            if done.returncode == 0:
                with open(output, "rb") as file:
                    return file.read()
    return None


def _quoted(text: str | bytes) -> str:
    """Return a C string literal."""
    return '"' + "".join(f"\\{byte:03o}" for byte in os.fsencode(text)) + '"'


def write(
    path: str, *, native: bool = True, bytecode: bool = True, packages: str = "", destdir: str = ""
) -> str:
    """Write the command; as a script where ``native`` is false, or no C compiler is there.

    naja is compiled as well, which a user without privileges could not do later (for Python's own way to
    load modules where ``bytecode`` is true). ``packages`` is the directory of naja's dependencies, this
    Python's where it is "". All that is written is below ``destdir``, as naja itself, and works once that has
    gone from the beginning of all paths. Returns in a few words how the command starts. Raises OSError, or
    ValueError as ``precompiled.pack`` does.
    """
    where = (os.path.realpath(sys.executable), packages or sysconfig.get_path("purelib"))
    if bytecode:
        compileall.compile_dir(precompiled.PACKAGE, quiet=1, stripdir=destdir or None)
    modules = precompile.build(destdir)
    files = {libc.FILE: library()}
    if native:
        files[_EARLY] = interpreter(*where, destdir=destdir)
        files[_WARM] = files[_EARLY] and interpreter(*where, dumps=True, destdir=destdir)
    compiled = program(*where, modules, destdir=destdir) if native else None
    for file, made in files.items():
        if made:
            precompile.replace(file, made, 0o755)
        elif os.path.lexists(file):
            os.unlink(file)  # Of another Python, or another compiler's.
    precompile.replace(destdir + path, compiled or os.fsencode(script(*where, destdir)), 0o755)
    _link_shim(destdir + path)
    _own([precompiled.FILE, *files])
    if compiled is None:
        return "as a script"
    return (
        "from a dump"
        if files.get(_WARM)
        else "by half of Python's start"
        if files.get(_EARLY)
        else "as a launcher"
    )


def _link_shim(command: str) -> None:
    """Put containerd's shim beside the command, which by that name is it."""
    path = os.path.join(os.path.dirname(command), _SHIM)
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(os.path.basename(command), path)


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


_EPILOG = """\
The command starts in the fastest way that this machine can make (docs/design.md, Fast):

  dump      with a C compiler, and Python's headers and static archive (Debian: gcc, python3-dev)
  launcher  with a C compiler
  script    otherwise

Written are FILE, a link to it that is containerd's shim, and naja's compiled modules, into its own directory:
write it as whom that belongs to. It is to be written anew when the Python that it was made for is replaced;
until then it starts slower, and `naja --version` says so.
"""


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m naja.startup.launcher",
        description="Write the command naja that starts fastest.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="the command (that which pip has put beside this Python)"
    )
    parser.add_argument(
        "--tier", choices=("dump", "launcher", "script"), help="no faster one than this (dump)"
    )
    parser.add_argument(
        "--packages", default="", metavar="DIRECTORY", help="where its dependencies are (this Python's)"
    )
    parser.add_argument(
        "--destdir",
        default="",
        metavar="DIRECTORY",
        help="where naja is until it is put in place; FILE is its name there",
    )
    parser.add_argument("--no-bytecode", action="store_true", help="leave Python's .pyc files to others")
    arguments = parser.parse_args(words)
    if not arguments.file:
        arguments.file = os.path.join(sysconfig.get_path("scripts"), "naja")
        if not os.path.exists(arguments.file):
            parser.error(f"name the FILE: there is no {arguments.file}")
    return arguments


def main(words: list[str]) -> int:
    """Write the command as the command line says; return an exit status."""
    global _TIER
    arguments = _arguments(words)
    _TIER = arguments.tier or _TIER
    try:
        starts = write(
            arguments.file,
            bytecode=not arguments.no_bytecode,
            packages=arguments.packages,
            destdir=arguments.destdir,
        )
    except (OSError, ValueError) as error:
        sys.stderr.write(f"naja.startup.launcher: {error}\n")
        return 1
    sys.stdout.write(f"{arguments.file} is written; it starts {starts}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
