"""Builds crictl, the command line of the CRI, with Go: ``python -m conformance.crictl FILE``.

No package of Debian's has it. The Go module proxy gives cri-tools as a module without its vendored
dependencies, and its go.mod replaces Kubernetes' modules by directories of Kubernetes' own
repository, which a proxy need not have; here they are the released modules of the same version. Go's
caches for it, 1.1 GB, are in a directory that is removed afterwards.
"""

from __future__ import annotations

import os
import re
import sys

from conformance import go

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
    source = go.fetch(MODULE, VERSION, scratch)
    go_mod = os.path.join(source, "go.mod")
    with open(go_mod) as file:
        text = released(file.read())
    with open(go_mod, "w") as file:
        file.write(text)
    flags = f"-s -w -X {MODULE}/pkg/version.Version={VERSION}"
    go.build(source, scratch, "./cmd/crictl", target, "-ldflags", flags)


if __name__ == "__main__":
    sys.exit(go.main("crictl", build))
