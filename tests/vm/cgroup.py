"""A container's cgroup as the guest's kernel shows it, whichever version holds the controller."""

from __future__ import annotations

import os

#: The kind of guest, "" where there is none.
VARIANT = os.environ.get("NAJA_VM", "")
#: Whether limits are set in v2's files.
V2 = VARIANT in ("v2", "systemd")


class Cgroup:
    """The cgroup that was made for a container."""

    def __init__(self, pid: int, id: str) -> None:
        """Find it by a process in it: the highest directory that is named after the container."""
        self.paths: dict[str, str] = {}
        with open(f"/proc/{pid}/cgroup") as file:
            for line in file:
                _, names, path = line.rstrip("\n").split(":", 2)
                for name in names.split(","):
                    self.paths[name] = _directory(names, _upto(path, id))

    def is_v2(self, controller: str) -> bool:
        """Say whether a controller's files are those of v2; a hybrid host has some of both."""
        return V2 or controller not in self.paths

    def file(self, name: str) -> str:
        """Return the path of a file ("memory.max"); v1's is in the hierarchy of its prefix."""
        controller = name.partition(".")[0]
        return os.path.join(self.paths["" if self.is_v2(controller) else controller], name)

    def read(self, name: str) -> str:
        """Return the content of a file, without the newline at its end."""
        with open(self.file(name)) as file:
            return file.read().strip()

    def value(self, name: str, key: str) -> int:
        """Return a number from a file of "key number" lines ("memory.events", "oom_kill")."""
        return int(dict(line.split() for line in self.read(name).splitlines())[key])

    def directories(self) -> list[str]:
        """Return the directories that exist."""
        return [path for path in set(self.paths.values()) if os.path.isdir(path)]


def _upto(path: str, id: str) -> str:
    """Cut a cgroup path after the component that is named after the container."""
    words = path.split("/")
    named = [number for number, word in enumerate(words) if id in word]
    return "/".join(words[: named[0] + 1]) if named else path


def _directory(names: str, path: str) -> str:
    mount = "/sys/fs/cgroup"
    if not V2:
        mount += "/" + (names.removeprefix("name=") or "unified")
    return mount + path
