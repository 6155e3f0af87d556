"""The features document: what this naja can do, whatever the kernel below it can (features.md).

But for checkpoints: those are the work of another program, which is there and works, or does not.
"""

from __future__ import annotations

from . import hooks
from .container.checkpoint import CONFIG_ANNOTATION
from .criu import service
from .linux import capabilities, libseccomp, namespaces, scheduling, seccomp
from .plan import mount_options
from .version import SPECIFICATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The oldest version of the specification whose config.json naja accepts.
_OLDEST = "1.0.0"

#: Annotations by which a config changes more than its own container ("." at the end: a prefix).
UNSAFE_ANNOTATIONS = ("org.systemd.property.", CONFIG_ANNOTATION, "run.oci.keep_original_groups")

#: By this name runc tells engines that it can checkpoint.
_CHECKPOINT = "org.opencontainers.runc.checkpoint.enabled"


def features() -> dict[str, Any]:
    """Return the features document of the specification's newest version that naja knows.

    Every list is that of the code which does the work, so that nothing is claimed that is not there.
    """
    return {
        "ociVersionMin": _OLDEST,
        "ociVersionMax": SPECIFICATION,
        "hooks": list(hooks.KINDS),
        "mountOptions": sorted(mount_options.KNOWN),
        "linux": _linux(),
        "annotations": {
            # The annotation of a config that is understood (config/landlock.py).
            "naja.landlock": "true",
            **({_CHECKPOINT: "true"} if service.works() else {}),
        },
        "potentiallyUnsafeConfigAnnotations": list(UNSAFE_ANNOTATIONS),
    }


def _linux() -> dict[str, Any]:
    """Return what only Linux has (features-linux.md)."""
    return {
        "namespaces": sorted(namespaces.FLAGS),
        "capabilities": list(capabilities.NAMES),
        "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
        "seccomp": {
            "enabled": True,
            "actions": sorted(seccomp.ACTIONS),
            "operators": sorted(libseccomp.OPERATORS),
            "archs": sorted(libseccomp.ARCHITECTURES),
            "knownFlags": sorted(seccomp.FLAGS),
            # naja hands flags to seccomp(2) itself; there is no library between that could lack one.
            "supportedFlags": sorted(seccomp.FLAGS),
        },
        "apparmor": {"enabled": True},
        "selinux": {"enabled": True},
        "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
        "memoryPolicy": {
            "modes": sorted(scheduling.MEMORY_POLICY_MODES),
            "flags": sorted(scheduling.MEMORY_POLICY_FLAGS),
        },
        "mountExtensions": {"idmap": {"enabled": True}},
        "netDevices": {"enabled": True},
    }
