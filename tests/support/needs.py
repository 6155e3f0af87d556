"""What a test needs of the machine; where it is missing, the test is skipped and says why."""

from __future__ import annotations

import os
import shutil

import pytest

requires_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def requires_command(*names: str) -> pytest.MarkDecorator:
    """Skip where one of the commands is not in PATH."""
    missing = [name for name in names if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)} in PATH")


def need_command(*names: str) -> None:
    """Skip the running test (or fixture) where one of the commands is not in PATH."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"needs {name} in PATH")


def requires_path(path: str, why: str) -> pytest.MarkDecorator:
    """Skip where a file is not there ("/sys/fs/cgroup/freezer", "a v1 freezer")."""
    return pytest.mark.skipif(not os.path.exists(path), reason=f"needs {why}: {path} is missing")
