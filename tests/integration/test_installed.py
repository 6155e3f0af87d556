"""naja installed below a prefix (`make install`): it stands alone, and goes without a trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import tree
from naja.cli.options import VERBS
from naja.startup import launcher
from tests.support.bundle import Bundle
from tests.support.command import REPOSITORY, Runtime
from tests.support.installed import copy_of_checkout, everything, make
from tests.support.needs import need_command, requires_command
from tests.support.rootless import AS_NOBODY, let_through, nobodys_bundle, nobodys_runtime


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An installed naja whose checkout is gone."""
    need_command("make")
    home = tmp_path_factory.mktemp("installed")
    let_through(str(home))
    checkout = copy_of_checkout(home / "checkout")
    prefix = home / "opt" / "naja"
    make(checkout, "install", f"PREFIX={prefix}", umask=0o077)
    text = str(checkout).encode()
    shutil.rmtree(checkout)
    for path in prefix.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert text not in content, path
            assert b"/.naja-new" not in content, path
    yield prefix


def test_everything_is_there_for_everybody(prefix: Path) -> None:
    found = everything(prefix)
    for page in ("naja", *(f"naja-{name}" for name in VERBS), "containerd-shim-naja-v2"):
        assert f"share/man/man8/{page}.8" in found
    assert {
        "lib/naja/naja/share/schemas/config.json",
        "lib/naja/naja/share/hooks/bridge.py",
        "share/bash-completion/completions/naja",
        "share/zsh/site-functions/_naja",
        "share/fish/vendor_completions.d/naja.fish",
    } <= set(found)
    assert set(found.values()) <= {"40755", "100644", "100755", "120777"}
    assert all(found[name] == "100755" for name in ("bin/naja", "lib/naja/naja/share/hooks/bridge.py"))
    assert os.readlink(prefix / "bin" / "containerd-shim-naja-v2") == "naja"


def test_it_starts_as_fast_as_that_of_the_checkout(prefix: Path) -> None:
    def told(command: Path) -> str:
        return subprocess.check_output([command, "--version"], env={}, text=True).splitlines()[-1]

    own = Path(sys.executable).parent / "naja"
    if not own.exists() or os.environ.get("NAJA_TIER"):
        pytest.skip("there is no command of the fastest tier to compare with")
    if "slower" in told(own):
        pytest.skip("a module has changed since make .venv/.tools")
    assert told(prefix / "bin" / "naja") == told(own)


def test_root_runs_a_container(prefix: Path, naja: Runtime, bundle: Bundle) -> None:
    installed = Runtime(naja.root, [str(prefix / "bin" / "naja")])
    assert installed.run_attached(bundle.args("/bin/echo", "alone")).stdout == "alone\n"
    assert installed.run("validate", bundle.path).stdout == ""
    assert "--bundle" in installed.run("help", "run").stdout


def test_a_user_runs_a_container(prefix: Path, naja: Runtime, busybox_rootfs: str, tag: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        bundle = nobodys_bundle(directory, tag, busybox_rootfs)
        runtime = nobodys_runtime(Runtime(naja.root, [str(prefix / "bin" / "naja")]), directory)
        done = runtime.run_attached(bundle.args("/bin/id", "-u"), **AS_NOBODY)
        assert done.stdout == "0\n"


def test_hooks_and_devices_find_what_they_need(prefix: Path) -> None:
    """Whatever Python runs them."""
    hooks = prefix / "lib" / "naja" / "naja" / "share" / "hooks"
    code = "import hooklib, naja, pyroute2, jeepney; print(naja.__file__, pyroute2.__file__)"
    done = subprocess.run(
        ["/usr/bin/env", "python3", "-S", "-c", code], cwd=hooks, capture_output=True, text=True, check=True
    )
    assert all(path.startswith(f"{prefix}/lib/naja/") for path in done.stdout.split())


@requires_command("man")
def test_man_finds_its_pages(prefix: Path) -> None:
    done = subprocess.run(
        ["man", "-M", prefix / "share" / "man", "--where", "naja-run"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{prefix}/share/man/man8/naja-run.8"


def test_it_is_removed_with_all_that_was_made_for_it(prefix: Path, tmp_path: Path) -> None:
    """A copy of it: others use this one."""
    home = tmp_path / "opt"
    shutil.copytree(prefix, home / "naja", symlinks=True)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    words = [sys.executable, "-B", "-m", "installation.tree", "--remove", "--prefix", str(home / "naja")]
    (home / "naja" / "bin" / "other").touch()
    subprocess.run(words, cwd=REPOSITORY, check=True)
    assert set(everything(tmp_path)) == {"checkout", "opt", "opt/naja", "opt/naja/bin", "opt/naja/bin/other"}
    done = subprocess.run(words, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        f"naja is not removed: there is no naja in {home}/naja: lib/naja has no list of what belongs to it\n"
    )


# --- and again, as scripts, which takes less time ----------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    need_command("make")
    return copy_of_checkout(tmp_path / "checkout")


def install(
    checkout: Path, prefix: Path, *more: str, tier: str = "script"
) -> subprocess.CompletedProcess[str]:
    """Install in a hurry: as a script, without dependencies."""
    words = ["-m", "installation.tree", "--prefix", str(prefix), "--packages", "/nowhere", "--no-bytecode"]
    return subprocess.run(
        [checkout / ".venv" / "bin" / "python", *words, *more],
        cwd=checkout,
        env={**os.environ, "NAJA_TIER": tier},
        capture_output=True,
        text=True,
        check=False,
    )


def test_installed_over_an_older_one(checkout: Path, tmp_path: Path) -> None:
    """What the new one has not got goes, what is others' stays; what fails changes nothing."""
    prefix = tmp_path / "usr"
    (prefix / "share" / "man").mkdir(parents=True)
    (prefix / "share" / "man" / "other").touch()
    before = everything(prefix)
    assert install(checkout, prefix).returncode == 0
    first = everything(prefix)
    manual = checkout / "runtime" / "cli" / "manual.py"
    whole = manual.read_text()
    manual.write_text("raise SystemExit(3)\n")
    done = install(checkout, prefix)
    assert done.returncode == 1
    assert done.stderr == "naja is not installed: -m naja.cli.manual has failed with status 3\n"
    assert everything(prefix) == first
    manual.write_text(whole.replace('found = {"naja.8"', 'found = {"naja.7"'))
    assert install(checkout, prefix).returncode == 0
    second = everything(prefix)
    assert {*first} - {*second} == {"share/man/man8/naja.8"}
    assert {*second} - {*first} == {"share/man/man8/naja.7"}
    make(checkout, "uninstall", f"PREFIX={prefix}")
    assert everything(prefix) == before


def test_made_for_another_place(checkout: Path, tmp_path: Path) -> None:
    """With DESTDIR all is there for the final prefix, and works once it is in it."""
    final, destdir = tmp_path / "final", tmp_path / "packaged"
    assert install(checkout, final, "--destdir", str(destdir), tier="launcher").returncode == 0
    (destdir / str(final)[1:]).rename(final)
    assert str(destdir).encode() not in b"".join(p.read_bytes() for p in final.rglob("*") if p.is_file())
    told = subprocess.check_output([final / "bin" / "naja", "--version"], env={}, text=True)
    assert told.splitlines()[-1] == "start: as an ordinary Python"


@pytest.mark.parametrize("tier", ["launcher", "script"])
def test_its_python_is_replaced(tmp_path: Path, tier: str) -> None:
    """Another takes its place, and --version says what was lost; engines' verbs say nothing."""
    if tier == "launcher":
        need_command("cc")
    if not os.path.exists("/usr/bin/python3"):
        pytest.skip("needs a /usr/bin/python3 to take the place")
    python, command = tmp_path / "python3", tmp_path / "naja"
    shutil.copy(os.path.realpath(sys.executable), python)
    where = (str(python), "/nowhere")
    made = launcher.program(*where) if tier == "launcher" else launcher.script(*where).encode()
    assert made
    command.write_bytes(made)
    command.chmod(0o755)
    python.unlink()
    told = subprocess.run([command, "--version"], env={}, capture_output=True, text=True, check=True)
    assert told.stdout.startswith("naja version ")
    assert told.stderr == ""
    root = str(tmp_path / "root")
    done = subprocess.run([command, "--root", root, "list", "-q"], env={}, capture_output=True, check=True)
    assert done.stderr + done.stdout == b""


@pytest.mark.parametrize("tier", ["launcher", "script"])
def test_there_is_no_python_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tier: str) -> None:
    if tier == "launcher":
        need_command("cc")
    monkeypatch.setattr(launcher, "_USUAL", "/nowhere/python3")
    python, command = tmp_path / "python3", tmp_path / "naja"
    python.touch()
    where = (str(python), "/nowhere")
    made = launcher.program(*where) if tier == "launcher" else launcher.script(*where).encode()
    assert made
    command.write_bytes(made)
    command.chmod(0o755)
    python.unlink()
    done = subprocess.run([command, "state", "c"], env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"naja: cannot start: its Python is gone, {python}, and there is no /nowhere/python3\n"
    )


def test_the_prefix_is_absolute(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tree.main(["--prefix", "usr"])
    assert "the prefix is no absolute path: usr" in capsys.readouterr().err
