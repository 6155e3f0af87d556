"""Waiting for something that another process does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_until(probe: Callable[[], T], *, timeout: float = 10, what: str = "") -> T:
    """Call ``probe`` until its result is true and return that; AssertionError after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what or probe}")
        time.sleep(0.02)
