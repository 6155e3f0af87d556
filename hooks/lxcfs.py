#!/usr/bin/env python3
"""Show a container its own limits in /proc, as lxcfs computes them: a hook for createContainer.

What lxcfs offers (/proc/meminfo, cpuinfo, uptime, …, /sys/devices/system/cpu/online) is bound over the
kernel's files of the same names. lxcfs has to run on the host, and the container has to have a /proc.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from hooklib.program import Arguments, HookError, read_state, run

if TYPE_CHECKING:
    from collections.abc import Iterator


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = Arguments("lxcfs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--directory", default="/var/lib/lxcfs", help="where lxcfs is mounted (/var/lib/lxcfs)"
    )
    parser.add_argument("--if-running", action="store_true", help="do nothing, successfully, without lxcfs")
    return parser.parse_args()


def main() -> None:
    """Bind all that lxcfs has over what the kernel has."""
    options = arguments()
    state = read_state()
    if not os.path.isdir(f"{options.directory}/proc"):
        if options.if_running:
            return
        raise HookError(f"lxcfs does not run: {options.directory}/proc is not there")
    root = os.open(root_path(state), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for path in offered(options.directory):
        bind(f"{options.directory}/{path}", root, path)


def root_path(state: dict[str, Any]) -> str:
    """Return the path of the container's root file system. Raises HookError."""
    try:
        with open(os.path.join(state["bundle"], "config.json"), "rb") as file:
            path: str = json.load(file)["root"]["path"]
    except (KeyError, ValueError) as error:
        raise HookError(f"the container's config.json says nothing of its root: {error}") from None
    return os.path.join(state["bundle"], path)


def offered(directory: str) -> Iterator[str]:
    """Yield the files that lxcfs offers, relative to its directory and to the container's root."""
    for name in sorted(os.listdir(f"{directory}/proc")):
        if os.path.isfile(f"{directory}/proc/{name}"):
            yield f"proc/{name}"
    online = "sys/devices/system/cpu/online"
    if os.path.exists(f"{directory}/{online}"):
        yield online


def bind(source: str, root: int, path: str) -> None:
    """Bind a file over one in the container. Nothing is done where the container has no such file."""
    from naja.linux import files, mounts

    try:
        # An image can hold links that lead out of it: none is followed.
        target = files.open_in_root(root, path, os.O_PATH, symlinks=False)
    except FileNotFoundError:
        return
    try:
        mount = mounts.open_tree(files.AT_FDCWD, source)
        mounts.move_mount(mount, target)
        os.close(mount)
    except OSError as error:
        raise HookError(f"bind {source} on /{path}: {error.strerror}") from None
    finally:
        os.close(target)


if __name__ == "__main__":
    run("lxcfs", main)
