"""Docker's default seccomp profile for a config, from the engines' own file where one is installed."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

#: Podman's, which is Docker's with the differences of a year or two (containers-seccomp.json(5)).
FILE = "/usr/share/containers/seccomp.json"
_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def docker_profile(capabilities: list[str]) -> dict[str, Any] | None:
    """Return ``linux.seccomp`` for a container with these capabilities, None where there is no file."""
    if not os.path.exists(FILE):
        return None
    with open(FILE) as file:
        known = json.load(file)
    machine = f"SCMP_ARCH_{platform.machine().upper()}"
    architectures = [machine]
    for entry in known["archMap"]:
        if entry["architecture"] == machine:
            architectures += entry["subArchitectures"]
    return {
        "defaultAction": known["defaultAction"],
        "defaultErrnoRet": known["defaultErrnoRet"],
        "architectures": architectures,
        "syscalls": [rule(entry) for entry in known["syscalls"] if applies(entry, capabilities)],
    }


def applies(entry: dict[str, Any], capabilities: list[str]) -> bool:
    """Tell whether a rule is for this machine and a container with these capabilities."""
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    here = _ARCHITECTURE in includes.get("arches", [_ARCHITECTURE])
    return (
        here
        and set(includes.get("caps", ())) <= set(capabilities)
        and not set(excludes.get("caps", ())) & set(capabilities)
    )


def rule(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a rule as config.json has it."""
    kept: dict[str, Any] = {name: entry[name] for name in ("names", "action", "errnoRet") if name in entry}
    return {**kept, "args": entry["args"]} if entry["args"] else kept
