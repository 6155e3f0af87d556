"""What is sound of a config whose form is wrong in places, so that the rules can be asked all the same.

A rule takes a valid form. So what breaks the schema is left out, with what cannot be without it; where
rules need something there, something that they have nothing against stands in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import explain
from .pattern import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MAPPING = [{"containerID": 0, "hostID": 0, "size": (1 << 32) - 1}]
#: What stands in for a wrong value, by place …
_INSTEAD: dict[str, Any] = {
    "/ociVersion": "1.0.0",
    "/process": {"cwd": "/", "args": ["true"]},
    "/process/cwd": "/",
    "/process/args": ["true"],
    "/root": {"path": "rootfs"},
    "/root/path": "rootfs",
    "/linux": {},
    "/linux/uidMappings": _MAPPING,
    "/linux/gidMappings": _MAPPING,
    "/linux/seccomp/defaultAction": "SCMP_ACT_ERRNO",
}
#: … and for one that is missing, by the place of the object.
_REQUIRED = {"": "ociVersion", "/process": "cwd", "/root": "path", "/linux/seccomp": "defaultAction"}
_NAMESPACES = "/linux/namespaces"


class Sound:
    """The sound part of a document, ``config``; what rules say of it is told of the whole document."""

    def __init__(self, document: dict[str, Any], broken: list[explain.Problem]) -> None:
        """Leave out what is ``broken`` of a document, and whatever cannot be without it."""
        #: Pointers, in the document, to what is left out.
        self._broken: set[str] = set()
        #: The same for what has something else in its place.
        self._instead: set[str] = set()
        #: Which items of an array are kept, by pointer in the sound part.
        self._kept: dict[str, list[int]] = {}
        self.config: dict[str, Any] = self._sound(document, "", "")
        while broken:
            self._broken.update(self._origin(problem.origin) for problem in broken)
            self._kept.clear()
            self.config = self._sound(document, "", "")
            broken = explain.problems(self.config, "config")

    def ask(self, rule: Callable[[Any], Iterable[tuple[str, str]]]) -> Iterator[explain.Problem]:
        """Return what a rule finds wrong."""
        for pointer, why in rule(self.config):
            origin = self._origin(pointer)
            if not (self._stands_in(origin) or ("namespace" in why and self._lacks_namespaces())):
                yield explain.Problem(origin, why)

    def _stands_in(self, origin: str) -> bool:
        return any(origin == place or origin.startswith(f"{place}/") for place in self._instead)

    def _lacks_namespaces(self) -> bool:
        """Tell whether a namespace that is missing may be one that was left out."""
        return any(f"{place}/".startswith(f"{_NAMESPACES}/") for place in self._broken)

    def _sound(self, value: Any, at: str, now: str) -> Any:
        """Return a copy of what is sound of a value at a place in the document, ``now`` in the copy."""
        if type(value) is list:
            kept = [index for index in range(len(value)) if f"{at}/{index}" not in self._broken]
            self._kept[now] = kept
            return [
                self._sound(value[old], f"{at}/{old}", f"{now}/{index}") for index, old in enumerate(kept)
            ]
        if type(value) is not dict:
            return value
        copy: dict[str, Any] = {}
        for name, member in value.items():
            step = f"/{escape(name)}"
            part = None if at + step in self._broken else self._sound(member, at + step, now + step)
            # Of an array of which nothing is left it cannot be told what it would have been.
            if part is None or (part == [] and member):
                self._put(copy, name, at)
            else:
                copy[name] = part
        if at in _REQUIRED and _REQUIRED[at] not in copy:
            self._put(copy, _REQUIRED[at], at)
        return copy

    def _put(self, copy: dict[str, Any], name: str, at: str) -> None:
        """Let something stand in for a property, where there is something for it."""
        place = f"{at}/{name}"
        if place in _INSTEAD:
            copy[name] = _INSTEAD[place]
            self._instead.add(place)

    def _origin(self, pointer: str) -> str:
        """Return where in the document something is that has a place in the sound part."""
        at = now = ""
        for step in pointer.split("/")[1:]:
            at += f"/{self._kept[now][int(step)] if now in self._kept else step}"
            now += f"/{step}"
        return at
