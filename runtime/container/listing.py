"""All containers of a state root."""

from __future__ import annotations

from ..errors import NajaError
from . import state
from .lifecycle import Container, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def list_containers(root: str | None = None, *, warn: Callable[[str], None] = say) -> list[dict[str, Any]]:
    """Return the state documents of all containers, sorted by ID; ``warn`` is told of those without one."""
    root = root or state.default_root()
    documents = []
    for id in state.ids(root):
        try:
            container = Container.load(id, root=root)
            try:
                if container.record or not container.is_busy():
                    documents.append(container.state())
            finally:
                container.directory.close()
        except state.NoContainer:
            continue  # Deleted meanwhile.
        except (NajaError, OSError) as error:
            warn(f"container {id} is left out: {error}")
    return documents
