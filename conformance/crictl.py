"""Builds crictl, the command line of the CRI, with Go: ``python -m conformance.crictl FILE``.

No package of Debian's has it. The Go module proxy gives cri-tools as a module without its vendored
dependencies, and its go.mod replaces Kubernetes' modules by directories of Kubernetes' own
repository, which a proxy need not have; here they are the released modules of the same version. Go's
caches for it, 1.1 GB, are in a directory that is removed afterwards.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

MODULE, VERSION = "github.com/kubernetes-sigs/cri-tools", "v1.26.1"
#: Of the modules of Kubernetes that this version was made with.
KUBERNETES = "v0.26.0"

#: ``k8s.io/x => k8s.io/kubernetes/staging/src/k8s.io/x PSEUDO-VERSION`` in go.mod.
STAGING = re.compile(r"=> k8s\.io/kubernetes/staging/src/(k8s\.io/[a-z-]+) \S+")


def released(go_mod: str) -> str:
    """Return a go.mod with released modules in place of directories of Kubernetes' repository."""
    return STAGING.sub(rf"=> \1 {KUBERNETES}", go_mod)


def build(target: str, scratch: str) -> None:
    """Fetch and build in a directory. Raises CalledProcessError where Go fails, OSError without it."""
    environment = {
        **os.environ,
        "GOPATH": os.path.join(scratch, "path"),
        "GOCACHE": os.path.join(scratch, "cache"),
        "GOFLAGS": "-mod=mod -modcacherw",
        "CGO_ENABLED": "0",
    }
    command = ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    done = subprocess.run(command, env=environment, cwd=scratch, check=False, stdout=subprocess.PIPE)
    answer = json.loads(done.stdout or b"{}")
    if done.returncode:
        raise OSError(answer.get("Error") or f"{' '.join(command)} failed")
    source = os.path.join(scratch, "source")
    shutil.copytree(answer["Dir"], source)
    go_mod = os.path.join(source, "go.mod")
    with open(go_mod) as file:
        text = released(file.read())
    with open(go_mod, "w") as file:
        file.write(text)
    unfinished = f"{os.path.abspath(target)}.new"
    flags = f"-s -w -X {MODULE}/pkg/version.Version={VERSION}"
    command = ["go", "build", "-ldflags", flags, "-o", unfinished, "./cmd/crictl"]
    subprocess.run(command, env=environment, cwd=source, check=True)
    os.rename(unfinished, target)


def main() -> int:
    """Build what the only argument names; return an exit status."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m conformance.crictl FILE\n")
        return 2
    os.makedirs(os.path.dirname(os.path.abspath(sys.argv[1])), exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            build(sys.argv[1], scratch)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"crictl: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
