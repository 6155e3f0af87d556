"""Differences between naja, runc 1.1.5 and crun 1.8.1 that were looked into, and who is right."""

from __future__ import annotations

import re
from typing import NamedTuple


class Known(NamedTuple):
    """An explanation, for where the three patterns are found in the variant, the config, the file."""

    key: str
    variant: str
    config: str
    file: str
    why: str

    def explains(self, variant: str, config: str, file: str) -> bool:
        """Say whether a difference is the one that is meant."""
        asked = ((self.variant, variant), (self.config, config), (self.file, file))
        return all(re.search(pattern, text) for pattern, text in asked)


KNOWN: tuple[Known, ...] = ()
