"""What this host lets this user do with containers, each thing really tried; and whether a bundle could run.

All is tried in children, in namespaces of theirs, or with cgroups that are removed at once: nothing stays.
"""

from __future__ import annotations

from . import bundle, cgroups, filesystems, namespaces, processes, security, start
from .host import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..container.subject import Subject
    from .finding import Finding, Obstacle

__all__ = ["Examination", "examine"]


def examine(subject: Subject | None = None, *, rootless: bool | None = None) -> Examination:
    """Return what was found out, with a bundle also what keeps it from running. Raises OSError, NajaError."""
    host = Host(rootless)
    groups = {
        "namespaces": [*namespaces.findings(host)],
        "cgroups": [*cgroups.findings(host)],
        "confinement": [*security.findings()],
        "file systems": [*filesystems.findings(host)],
        "processes": [*processes.findings()],
        "naja": [*start.findings()],
    }
    obstacles = None
    if subject is not None:
        known = {finding.key: finding for group in groups.values() for finding in group}
        obstacles = [*bundle.obstacles(subject, host, known)]
    return Examination(host.name(), groups, obstacles)


class Examination:
    """Findings by group; ``obstacles`` are those of a bundle, None where none was asked about."""

    __slots__ = ("groups", "obstacles", "user")

    def __init__(self, user: str, groups: dict[str, list[Finding]], obstacles: list[Obstacle] | None) -> None:
        self.user = user
        self.groups = groups
        self.obstacles = obstacles

    def findings(self) -> Iterator[Finding]:
        """Yield all findings."""
        for group in self.groups.values():
            yield from group

    def data(self) -> dict[str, Any]:
        """Return it for programs."""
        found: dict[str, Any] = {
            "user": self.user,
            "findings": [finding.data() for finding in self.findings()],
        }
        if self.obstacles is not None:
            found["bundle"] = {
                "runs": not self.obstacles,
                "obstacles": [obstacle.data() for obstacle in self.obstacles],
            }
        return found

    def text(self) -> str:
        """Return it for people: what is there and what is not, by group, and what keeps the bundle."""
        lines = [f"for {self.user}"]
        for group, found in self.groups.items():
            lines += ["", group, *(f"  {line}" for finding in found for line in finding.lines())]
        if self.obstacles is not None:
            lines += ["", "this bundle", *_verdict(self.obstacles)]
        return "\n".join(lines) + "\n"


def _verdict(obstacles: list[Obstacle]) -> list[str]:
    if not obstacles:
        return ["  yes  it could run here"]
    return [f"  no   {obstacle.origin or '/'}: {obstacle.why}" for obstacle in obstacles]
