"""Makes a Debian package of naja: ``make deb``.

    python -m installation.debian [--output dist] [--compression 6]

It is made for Debian's own Python of this machine, of Debian's packages, by dpkg-deb and dpkg-shlibdeps
(dpkg-dev). The command in it is the fastest one that can be made here; with another Python it works as well,
slower (docs/install.md).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from email.utils import formatdate

from . import tree

__all__ = ["build"]

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_HERE = os.path.dirname(os.path.abspath(__file__))

#: Where Debian's packages of Python modules are.
_PACKAGES = "/usr/lib/python3/dist-packages"
_MAINTAINER = "naja developers <naja@naja.example>"
_REVISION = "1"

_CONTROL = """\
Package: naja
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: {libraries}, python3 (>= 3.11), python3-click, python3-jsonschema, python3-pyroute2
Recommends: libseccomp2, procps, python3-jeepney
Suggests: containerd | docker.io | podman, criu
Section: admin
Priority: optional
Description: OCI container runtime in Python
 naja turns a bundle, a directory with a config.json and a root file system,
 into an isolated process. It stands where runc and crun stand: behind
 containerd, Docker, Podman and CRI-O, or on its own; it takes the command lines
 of runc, and is containerd's shim as well.
 .
 It implements version {specification} of the runtime specification of the Open
 Container Initiative for Linux.
"""


def build(output: str, compression: int = 6) -> str:
    """Make the package in a directory; return its path.

    Raises OSError, subprocess.CalledProcessError, and ValueError where it cannot be made here.
    """
    python = os.path.realpath(sys.executable)
    if not re.fullmatch(r"/usr/bin/python3\.\d+", python):
        raise ValueError(f"it is to be made with Debian's Python, not with {python}")
    os.makedirs(output, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        # dpkg-shlibdeps looks for debian/control beside the package.
        stage = f"{scratch}/debian/naja"
        os.makedirs(stage)
        layout = tree.Layout("/usr", packages=_PACKAGES, bytecode=False, zsh="share/zsh/vendor-completions")
        told = tree.build(layout, stage)
        sys.stdout.write(told)
        _compress_pages(f"{stage}/usr/share/man/man8")
        _write_documents(f"{stage}/usr/share/doc/naja")
        _copy("overrides", f"{stage}/usr/share/lintian/overrides/naja")
        _copy("rtupdate", f"{stage}/usr/share/python3/runtime.d/naja.rtupdate", 0o755)
        _write_control(stage, scratch)
        _fix_modes(stage)
        name = f"naja_{_version()}_{_architecture()}.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", f"-z{compression}", "--build", stage]
        subprocess.run([*command, f"{scratch}/{name}"], check=True, stdout=subprocess.DEVNULL)
        return str(shutil.move(f"{scratch}/{name}", f"{output}/{name}"))


def _version() -> str:
    with open(f"{_HOME}/runtime/version.py", encoding="utf-8") as file:
        found = re.search(r'^VERSION = "([^"]+)"', file.read(), re.MULTILINE)
    assert found
    return f"{found[1]}-{_REVISION}"


def _specification() -> str:
    with open(f"{_HOME}/runtime/version.py", encoding="utf-8") as file:
        found = re.search(r'^SPECIFICATION = "([^"]+)"', file.read(), re.MULTILINE)
    assert found
    return found[1]


def _architecture() -> str:
    return subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()


def _compress_pages(directory: str) -> None:
    """Have the man pages as Debian's policy wants them."""
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        with open(path, "rb") as file:
            _write_compressed(f"{path}.gz", file.read())
        os.unlink(path)


def _write_compressed(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(gzip.compress(content, mtime=0))


def _write_documents(directory: str) -> None:
    """Write the changelogs and the licence."""
    os.makedirs(directory)
    with open(f"{_HOME}/CHANGELOG.md", "rb") as file:
        _write_compressed(f"{directory}/changelog.gz", file.read())
    entry = (
        f"naja ({_version()}) unstable; urgency=medium\n\n"
        "  * What has changed in naja is in changelog.gz.\n\n"
        f" -- {_MAINTAINER}  {formatdate(_when())}\n"
    )
    _write_compressed(f"{directory}/changelog.Debian.gz", entry.encode())
    _copy("copyright", f"{directory}/copyright")


def _when() -> float:
    """Return the time that the package says it is of: that of the changes, or what the environment says."""
    return float(os.environ.get("SOURCE_DATE_EPOCH", os.stat(f"{_HOME}/CHANGELOG.md").st_mtime))


def _copy(name: str, target: str, mode: int = 0o644) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(f"{_HERE}/debian/{name}", target)
    os.chmod(target, mode)


def _write_control(stage: str, scratch: str) -> None:
    os.makedirs(f"{stage}/DEBIAN")
    paths = sorted(path for path in tree.walk(stage) if not os.path.islink(path) and "/DEBIAN/" not in path)
    with open(f"{stage}/DEBIAN/control", "w", encoding="utf-8") as file:
        file.write(
            _CONTROL.format(
                version=_version(),
                architecture=_architecture(),
                maintainer=_MAINTAINER,
                size=sum(-(-os.path.getsize(path) // 1024) for path in paths),
                libraries=_libraries(paths, scratch),
                specification=_specification(),
            )
        )
    for name in ("postinst", "prerm"):
        _copy(name, f"{stage}/DEBIAN/{name}", 0o755)
    with open(f"{stage}/DEBIAN/md5sums", "w", encoding="utf-8") as file:
        for path in paths:
            with open(path, "rb") as content:
                digest = hashlib.file_digest(content, "md5")
            file.write(f"{digest.hexdigest()}  {os.path.relpath(path, stage)}\n")


def _libraries(paths: list[str], scratch: str) -> str:
    """Return the packages of the libraries that programs need (dpkg-shlibdeps(1))."""
    with open(f"{scratch}/debian/control", "w", encoding="utf-8") as file:
        file.write("Source: naja\n\nPackage: naja\nArchitecture: any\n")
    programs = []
    for path in paths:
        with open(path, "rb") as file:
            # The door to the kernel has no library of its own to depend on.
            if file.read(4) == b"\x7fELF" and os.path.basename(path).startswith(
                ("early.", "warm.", "kernel.")
            ):
                programs.append(path)
    if not programs:
        return "libc6"
    told = subprocess.check_output(
        ["dpkg-shlibdeps", "--ignore-missing-info", "-O", *programs],
        cwd=scratch,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    return told.partition("shlibs:Depends=")[2].strip() or "libc6"


def _fix_modes(stage: str) -> None:
    """Give directories that were made here the mode of all others, whatever the umask is."""
    for directory, _, names in os.walk(stage):
        os.chmod(directory, 0o755)
        for name in names:
            path = f"{directory}/{name}"
            if not os.path.islink(path):
                os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)


def main(words: list[str]) -> int:
    """Make the package as the command line says; return an exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m installation.debian", description="Make a Debian package of naja."
    )
    parser.add_argument("--output", default="dist", metavar="DIRECTORY", help="where to (dist)")
    parser.add_argument("--compression", type=int, default=6, help="0 to 9 (6)")
    arguments = parser.parse_args(words)
    for program in ("dpkg-deb", "dpkg-shlibdeps"):
        if shutil.which(program) is None:
            sys.stderr.write(f"no package is made: {program} is missing (Debian: dpkg, dpkg-dev)\n")
            return 1
    try:
        sys.stdout.write(f"{build(arguments.output, arguments.compression)}\n")
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"no package is made: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
