"""What every operation is: a small thing that can say what it will do, and do it.

A plan is made of operations in the runtime, sent over a channel, and applied in another process;
so an operation holds plain data only (what ``marshal`` can carry: None, bool, int, float, str,
bytes, tuple, list, dict) and its class is named by module and name.
"""

from __future__ import annotations

import sys

from ..errors import NajaError, place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Frozen = tuple[str, str, tuple[Any, ...]]

#: The processes that a plan runs in. The runtime stays on the host; the stage is the sealed child
#: that makes or joins namespaces; the init is born from the stage inside them and becomes the
#: container's process.
RUNTIME, STAGE, INIT = "runtime", "stage", "init"


class Context:
    """What the operations of one process share while a plan runs."""

    __slots__ = (
        "actor",
        "descriptors",
        "handover",
        "interrupted",
        "own_namespaces",
        "pid",
        "trace",
        "values",
        "warn",
    )

    def __init__(self, actor: str, warn: Callable[[str], None]) -> None:
        #: RUNTIME, STAGE or INIT.
        self.actor = actor
        #: Open descriptors by name ("rootfs", "console", "mount 3"); each is close-on-exec.
        self.descriptors: dict[str, int] = {}
        #: Names of descriptors to pass to the next actor when this one's phase ends.
        self.handover: list[str] = []
        #: Types of the namespaces that were joined by path and are the runtime's own. Of this process: the
        #: init was told at its birth, or has joined them itself.
        self.own_namespaces: list[str] = []
        #: The container's process as the host sees it; 0 before it is born (RUNTIME only).
        self.pid = 0
        #: Applies operations in our stead, and tells of each (``tracing.Trace``); None without --debug.
        self.trace: Callable[[Sequence[Operation], Context], None] | None = None
        #: Plain data that one operation leaves for a later one; travels with every handover.
        self.values: dict[str, Any] = {}
        #: Say something that is not an error; one line.
        self.warn = warn
        #: Return the number of a signal that asks for the end, 0 where none has come (RUNTIME only).
        self.interrupted: Callable[[], int] = lambda: 0

    def take(self, name: str) -> int:
        """Remove and return a named descriptor; the caller closes it. Raises NajaError."""
        try:
            return self.descriptors.pop(name)
        except KeyError:
            raise NajaError(f"descriptor {name!r} was never opened") from None


class Operation:
    """One step of a plan. Subclasses name their data in ``__slots__`` and set it in ``__init__``."""

    __slots__ = ("origin",)

    #: JSON pointer of the place in config.json that asked for this; "" where it is a default.
    origin: str

    def describe(self) -> str:
        """Return one line that says what ``apply`` will do ("mount tmpfs on /dev/shm, nosuid")."""
        raise NotImplementedError

    def apply(self, context: Context) -> None:
        """Do it. Raises OSError (reported as "describe(): reason") or NajaError."""
        raise NotImplementedError

    def explain(self, error: OSError, context: Context) -> str:
        """Return why ``apply`` failed where its error does not tell, "" where that is not known."""
        del error, context
        return ""

    def fields(self) -> tuple[Any, ...]:
        """Return the values of all slots, ``origin`` first, then the subclass's in order."""
        return tuple(getattr(self, name) for name in slots(type(self)))

    def freeze(self) -> Frozen:
        """Return (module, class, fields) for the channel; ``thaw`` is the way back."""
        return type(self).__module__, type(self).__name__, self.fields()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.fields() == other.fields()  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in slots(type(self)))
        return f"{type(self).__name__}({values})"


class Warn(Operation):
    """Tell that something which was asked for is passed over, where that is no reason to fail."""

    __slots__ = ("text",)

    def __init__(self, text: str, *, origin: str) -> None:
        self.origin = origin
        self.text = text

    def describe(self) -> str:
        return f"warn: {self.text}"

    def apply(self, context: Context) -> None:
        context.warn(f"{self.text}, asked for by {place(self.origin)}")


def slots(kind: type) -> list[str]:
    """Return the names of all fields of an operation class, base classes first."""
    names: list[str] = []
    for base in reversed(kind.__mro__):
        names.extend(base.__dict__.get("__slots__", ()))
    return names


def thaw(frozen: Frozen) -> Operation:
    """Make the operation that ``freeze`` described, importing its module where it is new."""
    module, name, values = frozen
    if not module.startswith("naja.operations."):
        raise NajaError(f"not an operation: {module}.{name}")
    if module not in sys.modules:
        __import__(module)
    kind = getattr(sys.modules[module], name)
    operation: Operation = kind.__new__(kind)
    for field, value in zip(slots(kind), values, strict=True):
        setattr(operation, field, value)
    return operation


def apply_all(operations: Sequence[Operation], context: Context) -> None:
    """Apply operations in their order, until one fails.

    What follows the birth of the init is for the init, not for the stage. Raises NajaError that says
    what the operation was about and where in config.json it comes from.
    """
    if context.trace:
        context.trace(operations, context)
        return
    for operation in operations:
        if context.actor == STAGE and "init" in context.values:
            return
        try:
            operation.apply(context)
        except OSError as error:
            what, why = operation.describe(), _reason(operation, error, context)
            raise NajaError.from_os_error(what, error, why=why, origin=operation.origin) from error
        except NajaError as error:
            error.origin = error.origin or operation.origin
            raise


def _reason(operation: Operation, error: OSError, context: Context) -> str:
    try:
        return operation.explain(error, context)
    except OSError:
        return ""  # What failed may keep us from looking, too.
