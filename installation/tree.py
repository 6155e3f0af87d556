"""Installs naja as a tree that stands alone, and removes it: ``make install``, ``make uninstall``.

    python -m installation.tree [--prefix /usr/local] [--destdir DIRECTORY] [--remove]

The tree is made aside, in a directory beside its place, with all names as they will be, and put in place
when it is whole; what fails before that changes nothing. A list in it (MANIFEST) says what else belongs to
it, for its removal.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Layout", "install", "remove"]

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

#: Where naja is, below the prefix; where in that it says what belongs to it.
LIBRARY = "lib/naja"
MANIFEST = f"{LIBRARY}/manifest"
#: Where it is made, on the file system on which it will be.
_STAGE = "lib/.naja-new"

#: What of the repository is in the package, and where.
_ROOMS = (("runtime", ""), ("schemas", "share/schemas"), ("hooks", "share/hooks"))
_KINDS = (".py", ".c", ".h", ".json", ".typed")

#: What is in the tree of naja's extras, where it is installed.
_EXTRAS = ("jeepney",)


class Layout(NamedTuple):
    """Where a tree is to be, and what is in it. ``prefix`` is the final one, below ``destdir`` for now."""

    prefix: str
    destdir: str = ""
    #: The directory of naja's dependencies; "" for a copy of them beside it.
    packages: str = ""
    #: Whether Python's own compiled files are in it.
    bytecode: bool = True
    zsh: str = "share/zsh/site-functions"

    @property
    def place(self) -> str:
        """Where it is to be, for now."""
        return self.destdir + self.prefix


def install(layout: Layout) -> str:
    """Make the tree, and put it in place of any that is there. Returns what to tell. Raises OSError.

    Raises subprocess.CalledProcessError where naja cannot be compiled.
    """
    made = list(_missing(f"{layout.place}/lib"))
    os.makedirs(f"{layout.place}/lib", exist_ok=True)
    stage = f"{layout.place}/{_STAGE}"
    try:
        if os.path.lexists(stage):
            shutil.rmtree(stage)  # Of one that was killed.
        os.mkdir(stage, 0o700)
        told = build(layout, stage)
        _put(layout, stage + layout.prefix, made)
    except BaseException:
        for directory in reversed(made):
            shutil.rmtree(stage, ignore_errors=True)
            _remove_empty(directory)
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return told


def build(layout: Layout, stage: str) -> str:
    """Make the tree in ``stage``, which is to go from the beginning of all paths. Returns what to tell."""
    root = stage + layout.prefix
    package = f"{root}/{LIBRARY}/naja"
    for room, place in _ROOMS:
        _copy(f"{_HOME}/{room}", os.path.join(package, place).rstrip("/"))
    if not layout.packages:
        found: dict[str, importlib.metadata.Distribution] = {}
        _distributions("naja", found)
        for distribution in found.values():
            _copy_distribution(distribution, f"{root}/{LIBRARY}")
    os.makedirs(f"{root}/bin")
    packages = layout.packages or f"{layout.prefix}/{LIBRARY}"
    options = ["--no-bytecode", "--destdir", stage, "--packages", packages]
    told = _run(stage, layout, "-m", "naja.startup.launcher", *options, f"{layout.prefix}/bin/naja")
    _run(stage, layout, "-m", "naja.cli.manual", f"{root}/share/man/man8")
    for shell, file in _completions(layout).items():
        _write(f"{root}/{file}", _run(stage, layout, "-m", "naja", "completion", shell))
    if layout.bytecode:
        code = "import compileall, sys; compileall.compile_dir(sys.argv[1], quiet=2, stripdir=sys.argv[2])"
        _run(stage, layout, "-c", code, f"{root}/{LIBRARY}", stage)
    _set_modes(root)
    return told


def _completions(layout: Layout) -> dict[str, str]:
    return {
        "bash": "share/bash-completion/completions/naja",
        "zsh": f"{layout.zsh}/_naja",
        "fish": "share/fish/vendor_completions.d/naja.fish",
    }


def _run(stage: str, layout: Layout, *words: str) -> str:
    """Run Python with the naja of the tree, far from the checkout."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{stage}{layout.prefix}/{LIBRARY}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-s", "-P", *words],
        cwd="/",
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def _copy(source: str, target: str) -> None:
    """Copy the files of a directory that belong to a package."""
    for path in walk(source):
        if path.endswith(_KINDS):
            _copy_file(path, os.path.join(target, os.path.relpath(path, source)))


def _copy_file(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)
    # Archives keep whole seconds, and naja looks whether a module has changed.
    changed = int(os.stat(source).st_mtime)
    os.utime(target, (changed, changed))


def _distributions(name: str, found: dict[str, importlib.metadata.Distribution]) -> None:
    """Collect what a distribution needs of others, and what those need. Raises OSError where one is missing.

    It is what pip has chosen for this Python; what is for another one, or an extra's, may be missing.
    """
    for requirement in importlib.metadata.requires(name) or []:
        needed = re.match(r"[\w.-]+", requirement)
        assert needed
        if needed[0] in found or ("extra ==" in requirement and needed[0] not in _EXTRAS):
            continue
        try:
            found[needed[0]] = importlib.metadata.distribution(needed[0])
        except importlib.metadata.PackageNotFoundError:
            if ";" in requirement:
                continue
            raise OSError(f"{name} needs {requirement}, and {sys.executable} has not got it") from None
        _distributions(needed[0], found)


def _copy_distribution(distribution: importlib.metadata.Distribution, target: str) -> None:
    for file in distribution.files or ():
        path = str(file)
        # Scripts, which name the Python that they were made for, are outside.
        if not path.startswith("..") and not path.endswith((".pyc", "direct_url.json")):
            _copy_file(str(distribution.locate_file(file)), f"{target}/{path}")


def _set_modes(root: str) -> None:
    """Give every file and directory its mode, whatever the umask is."""
    for directory, _, names in os.walk(root):
        os.chmod(directory, 0o755)
        for name in names:
            path = f"{directory}/{name}"
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                continue
            with open(path, "rb") as file:
                executed = mode & 0o100 or file.read(2) == b"#!"
            os.chmod(path, 0o755 if executed else 0o644)


def _put(layout: Layout, new: str, made: list[str]) -> None:
    """Put a tree that is whole in its place; what is there of an older one and not in this goes."""
    old_files, old_directories = _manifest(layout)
    files = sorted(
        path for path in (os.path.relpath(each, new) for each in walk(new)) if not _inside(path, LIBRARY)
    )
    for file in files:
        made += [path for path in _missing(os.path.dirname(f"{layout.place}/{file}")) if path not in made]
    directories = old_directories | {os.path.relpath(path, layout.place) for path in made}
    lines = [*(f"{file}\n" for file in files), *(f"{path}/\n" for path in sorted(directories))]
    _write(f"{new}/{MANIFEST}", "".join(lines))
    os.chmod(f"{new}/{MANIFEST}", 0o644)
    library = f"{layout.place}/{LIBRARY}"
    if os.path.lexists(library):
        os.rename(library, f"{new}/old")
    os.rename(f"{new}/{LIBRARY}", library)
    for directory in made:
        os.makedirs(directory, exist_ok=True)
        os.chmod(directory, 0o755)
    for file in files:
        os.replace(f"{new}/{file}", f"{layout.place}/{file}")
    for file in old_files - set(files):
        _unlink(f"{layout.place}/{file}")


def remove(layout: Layout) -> None:
    """Remove a tree, and the directories that were made for it and are empty. Raises OSError."""
    if not os.path.exists(f"{layout.place}/{MANIFEST}"):
        raise OSError(f"there is no naja in {layout.place}: {LIBRARY} has no list of what belongs to it")
    files, directories = _manifest(layout)
    for file in files:
        _unlink(f"{layout.place}/{file}")
    shutil.rmtree(f"{layout.place}/{LIBRARY}")
    for directory in sorted(directories, key=len, reverse=True):
        _remove_empty(os.path.normpath(f"{layout.place}/{directory}"))


def _manifest(layout: Layout) -> tuple[set[str], set[str]]:
    """Return the files and the directories of an installed tree that are not in LIBRARY."""
    try:
        with open(f"{layout.place}/{MANIFEST}", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return set(), set()
    return {line for line in lines if line[-1:] != "/"}, {line[:-1] for line in lines if line[-1:] == "/"}


def _missing(directory: str) -> Iterator[str]:
    """Yield the directories that are to be made so that this one is there, the outermost first."""
    if not os.path.isdir(directory):
        yield from _missing(os.path.dirname(directory))
        yield directory


def _inside(path: str, directory: str) -> bool:
    return path.startswith(f"{directory}/")


def walk(root: str) -> Iterator[str]:
    """Yield all files below a directory, links included."""
    for directory, below, names in os.walk(root):
        if "__pycache__" in below and root.startswith(_HOME):
            below.remove("__pycache__")
        for name in names:
            yield f"{directory}/{name}"


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _unlink(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)


def _remove_empty(directory: str) -> None:
    try:
        os.rmdir(directory)
    except OSError:
        return  # Somebody else has something in it, or it is gone.


def main(words: list[str]) -> int:
    """Do what the command line says; return an exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m installation.tree", description="Install naja, or remove it."
    )
    parser.add_argument("--prefix", default="/usr/local", help="where it will be (/usr/local)")
    parser.add_argument("--destdir", default="", help="what stands before the prefix for now, for packages")
    parser.add_argument(
        "--packages", default="", help="the directory of its dependencies, of which it has copies otherwise"
    )
    parser.add_argument("--no-bytecode", action="store_true", help="without Python's .pyc files")
    parser.add_argument("--remove", action="store_true", help="remove it")
    arguments = parser.parse_args(words)
    if not os.path.isabs(arguments.prefix):
        parser.error(f"the prefix is no absolute path: {arguments.prefix}")
    destdir = os.path.abspath(arguments.destdir) if arguments.destdir else ""
    # What ends this program has to reach its `finally` blocks.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    layout = Layout(
        os.path.normpath(arguments.prefix), destdir, arguments.packages, not arguments.no_bytecode
    )
    try:
        if arguments.remove:
            remove(layout)
        else:
            sys.stdout.write(install(layout))
    except OSError as error:
        sys.stderr.write(f"naja is not {'removed' if arguments.remove else 'installed'}: {error}\n")
        return 1
    except subprocess.CalledProcessError as error:
        sys.stderr.write(
            f"naja is not installed: {' '.join(error.cmd[3:5])} has failed with status {error.returncode}\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
