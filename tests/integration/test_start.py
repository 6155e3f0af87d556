"""The two ways in which naja starts: sealed by its launcher, or by itself, beginning anew."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest

from naja.startup import launcher
from tests.support.bundle import Bundle
from tests.support.command import Runtime


@pytest.fixture(scope="module", params=[True, False], ids=["program", "script"])
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param and shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    path = str(tmp_path_factory.mktemp("bin") / "naja")
    launcher.write(path, native=request.param)
    return path


@pytest.fixture
def started(command: str, naja: Runtime) -> Runtime:
    naja.argv = [command]
    return naja


def test_a_life(started: Runtime, bundle: Bundle) -> None:
    bundle.shell("exec sleep 60")
    bundle.save()
    started.create(bundle)
    started.start(bundle)
    assert started.exec(bundle, "/bin/busybox", "echo", "hello").stdout == "hello\n"
    started.kill(bundle)
    started.wait_for(bundle, "stopped")
    started.delete(bundle)


def test_no_one_can_write_to_the_interpreter(started: Runtime, bundle: Bundle) -> None:
    """CVE-2019-5736: while it is still Python, the container's process runs from a sealed file."""
    started.create(bundle)
    pid = started.state(bundle)["pid"]
    assert os.stat(f"/proc/{pid}/exe").st_dev != os.stat(os.path.realpath(sys.executable)).st_dev
    with pytest.raises(OSError) as refused:
        os.close(os.open(f"/proc/{pid}/exe", os.O_WRONLY))
    assert refused.value.errno == errno.EROFS
    started.delete(bundle)


def test_what_the_runtime_has_open_is_not_the_containers(started: Runtime, bundle: Bundle) -> None:
    """Directories of the host, the lock and the channel end with the runtime."""
    started.create(bundle)
    pid = started.state(bundle)["pid"]
    targets = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    assert not [target for target in targets if f"{target}/".startswith((f"{started.root}/", "/sys/"))]
    started.delete(bundle)


def test_what_the_caller_has_open_is_not_the_containers(
    started: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    """CVE-2024-21626: a directory of the host that was left open is no way out, from the beginning on."""
    directory = os.open(tmp_path, os.O_RDONLY)
    started.create(bundle, pass_fds=(directory,))
    os.close(directory)
    pid = started.state(bundle)["pid"]
    targets = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    assert str(tmp_path) not in targets
    started.delete(bundle)
