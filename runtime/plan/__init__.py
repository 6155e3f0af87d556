"""A plan: the set-up of a container as data, computed from the config alone.

Computing one needs no privilege and changes nothing. ``naja.process.launch`` runs it.
"""

from __future__ import annotations

from ..operations.base import RUNTIME, STAGE
from ..operations.namespaces import GiveBirth
from .request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation

__all__ = ["Phase", "Plan", "Request"]


class Phase:
    """Operations that one actor applies without handing over control in between."""

    __slots__ = ("actor", "executes", "operations", "passes", "title", "waits")

    def __init__(
        self,
        actor: str,
        title: str,
        operations: list[Operation],
        *,
        waits: bool = False,
        executes: bool = False,
        passes: bool = False,
    ) -> None:
        self.actor = actor
        self.title = title
        self.operations = operations
        #: The runtime does not wait for this phase: it goes on when somebody starts the container.
        self.waits = waits
        #: The phase ends in execve.
        self.executes = executes
        #: It is all that the stage does, without a user or a time namespace: its memory may be the
        #: runtime's.
        self.passes = passes


class Plan:
    """The phases of a set-up, in their order."""

    __slots__ = ("phases",)

    def __init__(self, phases: list[Phase]) -> None:
        #: Without those that have nothing to do; what nobody comes between is one phase.
        self.phases: list[Phase] = []
        for phase in phases:
            if phase.operations:
                self._add(phase)

    def _add(self, phase: Phase) -> None:
        last = self.phases[-1] if self.phases else None
        if last is None or last.actor != phase.actor or phase.waits or phase.executes:
            self.phases.append(phase)
            return
        title, operations = f"{last.title}, {phase.title}", last.operations + phase.operations
        self.phases[-1] = Phase(last.actor, title, operations)

    @property
    def birth(self) -> GiveBirth | None:
        """The birth of the init, where no stage need prepare it."""
        phases = [phase.operations for phase in self.phases if phase.actor == STAGE]
        first = phases[0][0] if len(phases) == 1 else None
        return first if isinstance(first, GiveBirth) else None

    @property
    def infancy(self) -> list[Operation]:
        """What the init does at once when it is born, where no stage need prepare that."""
        return next(phase.operations for phase in self.phases if phase.actor == STAGE)[1:]

    @property
    def passes(self) -> bool:
        """Whether the stage may do its work in the runtime's memory."""
        return any(phase.passes for phase in self.phases)

    @property
    def unattended(self) -> bool:
        """Whether the runtime has nothing to do from the init's birth until it runs its program."""
        actors = [phase.actor for phase in self.phases]
        return bool(self.birth) and RUNTIME not in actors[actors.index(STAGE) :] and not self.phases[-1].waits

    def text(self) -> str:
        """Return the plan for people: a heading for each phase, a numbered line for each operation."""
        lines: list[str] = []
        number = 0
        for phase in self.phases:
            lines.append(f"{phase.actor}: {phase.title}")
            for operation in phase.operations:
                number += 1
                origin = f"  [{operation.origin}]" if operation.origin else ""
                lines.append(f"  {number:3}  {operation.describe()}{origin}")
        return "\n".join(lines) + "\n"

    def data(self) -> list[dict[str, Any]]:
        """Return the plan for programs: a list of phases that JSON can carry."""
        return [
            {
                "actor": phase.actor,
                "title": phase.title,
                "operations": [
                    {
                        "operation": type(operation).__name__,
                        "description": operation.describe(),
                        "origin": operation.origin,
                    }
                    for operation in phase.operations
                ],
            }
            for phase in self.phases
        ]
