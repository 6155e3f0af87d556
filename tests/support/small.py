"""File systems that are full soon."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def tmpfs(path: str, *options: str) -> Iterator[None]:
    """Mount a tmpfs at ``path``, which is made, for the time of a ``with``."""
    os.makedirs(path, exist_ok=True)
    words = ["-o", ",".join(options)] if options else []
    subprocess.run(["mount", "-t", "tmpfs", *words, "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def remount(path: str, *options: str) -> None:
    """Change the options of a mount."""
    subprocess.run(["mount", "-o", ",".join(("remount", *options)), path], check=True)


def fill(directory: str) -> str:
    """Fill the file system that a directory is in to its last byte; return the file that does it."""
    path = os.path.join(directory, ".filler")
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path
