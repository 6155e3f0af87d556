"""The terminal of a process, where it has one. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from .request import Request

# The operations are loaded where they are needed: most processes have no terminal.


def open_in(process: dict[str, Any], *, mount: bool) -> Operation:
    """Return the operation that opens a terminal in the container; ``mount`` has it on /dev/console, too."""
    from ..operations.console import OpenConsole

    size = process.get("consoleSize")
    return OpenConsole((size["height"], size["width"]) if size else None, mount=mount)


def use() -> Operation:
    """Return the operation that makes the terminal the process's stdio."""
    from ..operations.console import UseConsole

    return UseConsole()


def send(request: Request, process: dict[str, Any]) -> list[Operation]:
    """Return what is done with a terminal's master: it goes to whoever listens for it, or is relayed.

    A caller that is detached and names no listener takes it as it is.
    """
    if not process.get("terminal"):
        return []
    from ..operations.terminal import SendConsole, ServeConsole

    if request.console_socket:
        return [SendConsole(request.console_socket)]
    return [] if request.detached else [ServeConsole(sized=bool(process.get("consoleSize")))]
