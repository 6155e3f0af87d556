"""The Debian package: installed, used, removed and purged in a root of its own, not on the host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import REPOSITORY
from tests.support.needs import need_command, requires_command, requires_root
from tests.support.rootless import NOBODY

#: ``sh -c ENTER sh PACKAGE SCRATCH ID``, in namespaces of its own: the host's files, with a layer above them
#: that is thrown away.
ENTER = f"""
set -e
package=$1 scratch=$2 id=$3
mount -t tmpfs scratch "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
cp "$package" "$scratch/naja.deb"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
cd "$scratch/root"
cp ../naja.deb naja.deb
mkdir -p old
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs run run
mount -t tmpfs tmp tmp
chmod 1777 tmp
pivot_root . old
umount --lazy old
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root
unset PYTHONPATH
cd /tmp

all() {{ find /usr /etc -not -name '*.cache' | sort; }}
# Triggers are of others' packages, and take their time.
quietly() {{ "$@" > log 2>&1 || {{ cat log >&2; exit 1; }}; }}

all > before
# Debian's click, jsonschema and pyroute2 need not be here.
quietly dpkg --no-triggers --force-depends --install /naja.deb
naja --version
test -n "$(find /usr/lib/naja -name '*.pyc')"
test "$(readlink /usr/bin/containerd-shim-naja-v2)" = naja
naja spec --host --bundle box /bin/echo from root < /dev/null
naja run --bundle box "$id"
mkdir user
chown {NOBODY}:{NOBODY} user
cd user
export XDG_RUNTIME_DIR=/tmp/user
user="setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups"
$user naja spec --host --rootless --bundle box /bin/echo from a user < /dev/null
$user naja run --bundle box "$id"
cd ..
quietly dpkg --no-triggers --remove naja
test ! -e /usr/bin/naja
quietly dpkg --no-triggers --purge naja
all > after
diff before after >&2
echo nothing is left
"""


def build(output: Path) -> subprocess.CompletedProcess[str]:
    """Make the package, without what takes longest: the dump, and compression."""
    words = ["-B", "-m", "installation.debian", "--compression", "0", "--output", str(output)]
    return subprocess.run(
        [sys.executable, *words],
        cwd=REPOSITORY,
        env={**os.environ, "NAJA_TIER": "launcher"},
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_command("dpkg-deb", "dpkg-shlibdeps", "dpkg")
    if not re.fullmatch(r"/usr/bin/python3\.\d+", os.path.realpath(sys.executable)):
        pytest.skip("needs Debian's Python")
    output = tmp_path_factory.mktemp("package")
    done = build(output)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


def test_what_is_in_it(package: Path) -> None:
    told = subprocess.check_output(["dpkg-deb", "--contents", package], text=True).splitlines()
    files = {line.split()[5]: line for line in told}
    assert {"./usr/bin/naja", "./usr/lib/naja/naja/share/schemas/config.json"} <= set(files)
    assert "./usr/share/man/man8/naja-run.8.gz" in files
    assert all(line.split()[1] == "root/root" for line in told)
    assert {line.split()[0] for line in told} <= {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx"}
    content = subprocess.check_output(["dpkg-deb", "--fsys-tarfile", package])
    assert REPOSITORY.encode() not in content


@requires_command("lintian")
def test_lintian_likes_it(package: Path) -> None:
    """No error and no warning but those that its overrides are the reasons for."""
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


@requires_root
@requires_command("dpkg", "unshare", "setpriv", "pivot_root")
def test_its_life(package: Path, tmp_path: Path, tag: str) -> None:
    known = subprocess.run(["dpkg", "--status", "python3"], capture_output=True, check=False)
    if known.returncode:
        pytest.skip("needs Debian's python3")
    words = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        [*words, "sh", "-c", ENTER, "sh", package, scratch, tag],
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if "wrong fs type" in done.stderr:
        pytest.skip("needs a root that an overlay may have below")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("naja version ")
    assert "start: as an ordinary Python" in done.stdout
    assert done.stdout.endswith("from root\nfrom a user\nnothing is left\n")


def test_it_is_made_by_debians_python_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from installation import debian

    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3.11"))
    with pytest.raises(ValueError, match="it is to be made with Debian's Python, not with"):
        debian.build(str(tmp_path))
