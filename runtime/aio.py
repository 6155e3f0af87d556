"""The Python API for asyncio: containers, hundreds at a time on one loop. What is cancelled is undone."""

from __future__ import annotations

from .library.coroutines import Container, Process, run

__all__ = ["Container", "Process", "run"]
