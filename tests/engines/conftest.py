"""Engines are started once for all tests, in a sandbox of their own."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.engines.catalogue import Engines
from tests.support.command import runtime_command
from tests.support.needs import need_command

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """All engines, with the runtime under test; it must be a single program ($NAJA, else naja)."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    need_command("busybox", "unshare", "nsenter", "ip")
    command = runtime_command()
    program = shutil.which(command[0])
    if len(command) > 1 or program is None:
        pytest.skip(f"engines need a runtime that is one program, not {' '.join(command)}")
    with Engines(os.path.abspath(program)) as engines:
        yield engines
