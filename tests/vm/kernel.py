"""What the guest boots: Debian's generic kernel, unpacked but not installed, and an initramfs.

The package comes through apt-get, once, into a cache directory. Debian's *cloud* kernel would not
do, it lacks the 9p file system.
"""

from __future__ import annotations

import errno
import glob
import io
import lzma
import os
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

GUEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest")
#: What the guest needs to reach the host's files and the ports for its output, then what tests use.
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_console", "loop", "bfq", "dummy", "veth")


class MachineError(Exception):
    """The machine could not be made, or did not come to an orderly end; the text says why."""


@dataclass
class Kernel:
    """An unpacked kernel package."""

    #: What qemu boots: an ELF vmlinux where the image could be unpacked, else the image.
    image: str
    #: The directory of the modules, /lib/modules/VERSION of the package.
    modules: str


def prepare(cache: str) -> Kernel:
    """Return the kernel, fetching it into ``cache`` where it is not there yet. Raises MachineError."""
    directory = os.path.join(cache, "kernel")
    if not os.path.isdir(directory):
        unfinished = f"{directory}.{os.getpid()}"
        os.makedirs(unfinished)
        try:
            _fetch(unfinished)
            os.rename(unfinished, directory)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise  # Another may have been faster.
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return Kernel(os.path.join(directory, "vmlinux"), glob.glob(f"{directory}/package/lib/modules/*")[0])


def _fetch(directory: str) -> None:
    """Download the current kernel package and unpack it and its image below ``directory``."""
    try:
        _download(directory)
    except MachineError:
        if os.geteuid() != 0:
            raise
        # What apt knows is old, or nothing, as in a fresh container.
        _output("apt-get", "update", cwd=directory)
        _download(directory)
    (archive,) = glob.glob(f"{directory}/*.deb")
    _output("dpkg-deb", "-x", archive, "package", cwd=directory)
    os.unlink(archive)
    (image,) = glob.glob(f"{directory}/package/boot/vmlinuz-*")
    with open(image, "rb") as packed, open(f"{directory}/vmlinux", "wb") as unpacked:
        unpacked.write(vmlinux(packed.read()))


def _download(directory: str) -> None:
    depends = _output("apt-cache", "depends", "linux-image-amd64", cwd=directory)
    package = re.search(r"Depends: (linux-image-\S+)", depends)
    if not package:
        raise MachineError("apt knows no package linux-image-amd64; run apt-get update")
    _output("apt-get", "download", package[1], cwd=directory)


def _output(*argv: str, cwd: str) -> str:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MachineError(f"{argv[0]} is missing; the machine is made from Debian's packages") from error
    if done.returncode:
        raise MachineError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def vmlinux(image: bytes) -> bytes:
    """Return the ELF file inside a bzImage, or the image itself where that is not packed with XZ.

    The emulated CPU would need seconds to unpack it at each boot. The offsets are those of the
    kernel's Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length.
    """
    sectors = image[0x1F1]
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start : start + length]
    if not payload.startswith(b"\xfd7zXZ\0"):
        return image
    return lzma.LZMADecompressor().decompress(payload)


def module_files(directory: str, wanted: Iterable[str]) -> list[str]:
    """Return the files of modules and of all they need, in the order of insertion.

    What has no file is taken to be built in. The needs are in the section .modinfo of each file.
    """
    paths = {
        os.path.basename(path).partition(".")[0].replace("-", "_"): path
        for path in glob.glob(f"{directory}/kernel/**/*.ko*", recursive=True)
    }
    order: list[str] = []

    def add(name: str) -> None:
        path = paths.get(name.replace("-", "_"))
        if path and path not in order:
            depends = re.search(rb"\0depends=([^\0]*)", module_content(path))
            for needed in depends[1].decode().split(",") if depends else ():
                add(needed)
            order.append(path)

    for name in wanted:
        add(name)
    return order


def module_content(path: str) -> bytes:
    """Read a module, which newer packages compress."""
    with open(path, "rb") as file:
        content = file.read()
    return lzma.decompress(content) if path.endswith(".xz") else content


def initramfs(kernel: Kernel, busybox: str) -> bytes:
    """Return a cpio archive: busybox, the modules, and guest/init, which the kernel runs."""
    archive = Archive()
    for directory in ("bin", "dev", "proc", "sys", "host", "upper", "root", "modules"):
        archive.add(directory, 0o040755)
    archive.add("dev/console", 0o020600, device=(5, 1))
    with open(busybox, "rb") as file:
        archive.add("bin/busybox", 0o100755, file.read())
    with open(os.path.join(GUEST, "init"), "rb") as file:
        archive.add("init", 0o100755, file.read())
    for number, path in enumerate(module_files(kernel.modules, MODULES)):
        archive.add(f"modules/{number:02}", 0o100644, module_content(path))
    return archive.finish()


class Archive:
    """A cpio archive in the format "newc" (cpio(5)), the one that the kernel reads."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._entries = 0

    def add(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        """Append a file of the given type and permission bits; it belongs to root."""
        self._entries += 1
        path = name.encode() + b"\0"
        fields = (self._entries, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (header + path, content):
            self._out.write(part + b"\0" * (-len(part) % 4))

    def finish(self) -> bytes:
        """Return the archive; nothing can be added any more."""
        self.add("TRAILER!!!", 0)
        return self._out.getvalue()
