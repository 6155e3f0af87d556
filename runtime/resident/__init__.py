"""naja as one process that stays: it keeps containers, is asked by messages, and reports ends.

Nothing in here is loaded by the verbs that engines call one by one.
"""

from __future__ import annotations

import gc

from ..startup import precompiled

__all__ = ["warm"]


def warm() -> None:
    """Load all that workers need, once and for all of them: they share that memory while nobody writes to it.

    From then on garbage is collected, which the command does without.
    """
    precompiled.preload("resident")
    from ..linux import seccomp_filter  # noqa: F401
    from . import warmth  # noqa: F401

    gc.collect()
    gc.freeze()
    gc.enable()
