"""A first container on a bare Debian: how long `make run` takes there, and whether the package installs.

    python -m conformance.bare [bookworm] [trixie]

In a root of each release, made by debootstrap with nothing but python3 and make, a copy of this checkout
is asked for its first container, as a new user would; the seconds are printed. Then a Debian package is made
there, looked at by lintian, installed by apt, used, and purged; then that of the release before. The roots,
all mounts and processes belong to namespaces that end with this program. What it needs and does not find it
says, and ends with 0, as a test that is skipped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile

from conformance import engines_next, sandbox

RELEASES = ("bookworm", "trixie")
#: Seconds that one release may take.
TIME = 1200

#: What pip and apt need of this machine to reach their registries.
_KEPT = (
    "/etc/pip.conf",
    "/etc/resolv.conf",
    os.environ.get("PIP_CERT", ""),
    os.environ.get("SSL_CERT_FILE", ""),
)

#: ``sh -c ENTER sh RELEASE MIRROR CHECKOUT INSIDE FILE...``: make the root, move into it, run INSIDE.
ENTER = """
set -e
release=$1 mirror=$2 checkout=$3 inside=$4; shift 4
root=$TMPDIR/root
packages=python3,make,ca-certificates
debootstrap --variant=minbase --include=$packages "$release" "$root" "$mirror" > "$TMPDIR/log" || {
    tail "$TMPDIR/log" >&2
    exit 1
}
for file; do
    [ ! -e "$file" ] || { mkdir -p "$root${file%/*}"; cp -L "$file" "$root$file"; }
done
mount --bind "$root" "$root"
cd "$root"
mkdir src old
mount --bind "$checkout" src
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs run run
pivot_root . old
umount --lazy /old
export TMPDIR=/tmp HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
unset PIP_FIND_LINKS MAKEFLAGS MAKELEVEL
cd /src
exec sh -c "$inside" sh "$release"
"""

INSIDE = """
set -e
release=$1
quietly() { "$@" > /tmp/log 2>&1 || { tail -n 30 /tmp/log >&2; exit 1; }; }
all() { find /usr /etc -not -name '*.cache' | sort; }
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
rm -rf /var/lib/apt/lists/*
start=$(date +%s)
quietly make run < /dev/null
grep -q 'Who am I' /tmp/log
echo "$release: $(($(date +%s) - start)) s to the first container"
quietly apt-get install --yes --no-install-recommends gcc libc6-dev python3-dev dpkg-dev
# What the package needs is there before, as it stays when that goes.
quietly apt-get install --yes --no-install-recommends python3-click python3-jsonschema python3-pyroute2
quietly make deb OPTIONS="--compression 1"
if apt-get install --yes --no-install-recommends lintian > /tmp/log 2>&1; then
    lintian --allow-root --fail-on error,warning dist/naja_*.deb
else
    echo "$release: lintian cannot be installed: $(grep -m 1 '^E:' /tmp/log)"
fi
rm -rf .venv
all > /tmp/before
quietly apt-get install --yes --no-install-recommends ./dist/naja_*.deb
cd /tmp
naja --version
naja help run > /dev/null
naja spec --host --bundle box /bin/echo the package runs < /dev/null
naja run --bundle box naja-bare
quietly apt-get purge --yes naja
all > /tmp/after
quietly diff /tmp/before /tmp/after
echo "$release: nothing of the package is left"
cd /src
for package in older/*.deb; do
    [ -e "$package" ] || continue
    quietly apt-get install --yes --no-install-recommends "./$package"
    naja --version
    naja run --bundle /tmp/box naja-bare
    quietly apt-get purge --yes naja
done
mkdir -p older
mv dist/*.deb older
"""


def main(releases: list[str]) -> int:
    """Try each release; return the exit status."""
    if why := engines_next.missing():
        print(f"bare is skipped: {why}", file=sys.stderr)
        return 0
    # What ends this program has to reach its `finally` blocks.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with tempfile.TemporaryDirectory() as checkout:
        files = subprocess.check_output(["git", "ls-files", "-z"], cwd=home)
        subprocess.run(
            ["cp", "--parents", "--no-dereference", "--preserve=mode", "--target-directory", checkout]
            + [name for name in os.fsdecode(files).split("\0") if name and os.path.lexists(f"{home}/{name}")],
            cwd=home,
            check=True,
        )
        worst = 0
        for release in releases or RELEASES:
            words = [
                "sh",
                "-c",
                ENTER,
                "sh",
                release,
                engines_next.mirror(),
                checkout,
                INSIDE,
                *filter(None, _KEPT),
            ]
            outcome = sandbox.run(words, "/", {}, TIME, output=None)
            if outcome.status is None:
                print(f"{release}: not done within {TIME} seconds", file=sys.stderr)
            worst = max(worst, 1 if outcome.status is None else outcome.status)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
