"""The features document: of the right form, complete, and true of the code that it speaks for."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4, DRAFT202012

from naja import config
from naja.config import schemas
from naja.features import features
from naja.linux.libseccomp import Libseccomp
from naja.linux.seccomp_filter import compile_filter
from naja.plan.mount_options import MountOptions
from tests.support.bundle import DEFAULT_CONFIG
from tests.support.command import REPOSITORY

DOCUMENT = features()
LINUX = DOCUMENT["linux"]

OFFICIAL = os.environ.get("NAJA_OCI_SCHEMA") or os.path.join(REPOSITORY, "../shared/oci/schema")

#: What config.md's table of Linux mount options says MUST or SHOULD of.
MOUNT_OPTIONS = {
    *("async", "atime", "bind", "defaults", "dev", "diratime", "dirsync", "exec", "lazytime"),
    *("iversion", "noiversion"),
    *("loud", "noatime", "nodev", "nodiratime", "noexec", "nolazytime", "norelatime"),
    *("nostrictatime", "nosuid", "nosymfollow", "private", "ratime", "rbind", "rdev", "rdiratime"),
    *("relatime", "remount", "rexec", "rnoatime", "rnodiratime", "rnoexec", "rnorelatime"),
    *("rnostrictatime", "rnosuid", "rnosymfollow", "ro", "rprivate", "rrelatime", "rro", "rrw"),
    *("rshared", "rslave", "rstrictatime", "rsuid", "rsymfollow", "runbindable", "rw", "shared"),
    *("silent", "slave", "strictatime", "suid", "symfollow", "sync", "unbindable", "idmap", "ridmap"),
}

#: These are for any file system, and the kernel sees to them.
FOR_ANY_FILE_SYSTEM = {"sync", "dirsync", "iversion", "lazytime", "mand"}


def accepted(**changes: Any) -> None:
    """Check a good config with ``changes`` to its linux section. Raises Invalid."""
    document = json.loads(json.dumps(DEFAULT_CONFIG))
    document["linux"].update(changes)
    config.check(document)


def test_is_valid_by_our_schema() -> None:
    documents = schemas.read_all()
    registry: Registry[Any] = Registry().with_resources(
        [(schemas.BASE + name, DRAFT202012.create_resource(content)) for name, content in documents.items()]
    )
    jsonschema.Draft202012Validator(documents["features.json"], registry=registry).validate(DOCUMENT)


@pytest.mark.skipif(not os.path.isdir(OFFICIAL), reason=f"the official schemas are not at {OFFICIAL}")
def test_is_valid_by_the_official_schema() -> None:
    def retrieve(name: str) -> Resource[Any]:
        with open(os.path.join(OFFICIAL, name)) as file:
            return DRAFT4.create_resource(json.load(file))

    registry: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg]
    schema = retrieve("features-schema.json").contents
    jsonschema.Draft4Validator(schema, registry=registry).validate(DOCUMENT)


def test_nothing_is_left_out() -> None:
    """Every property of the features document has a value: absent would mean "unknown" (features.md)."""
    documents = schemas.read_all()
    ability = documents["features.json"]["$defs"]["ability"]

    def check(schema: dict[str, Any], value: Any, where: str) -> None:
        if schema.get("$ref") == "#/$defs/ability":
            schema = ability
        for name, member in schema.get("properties", {}).items():
            assert name in value, f"{where}/{name}"
            check(member, value[name], f"{where}/{name}")

    check(documents["features.json"], DOCUMENT, "")


@pytest.mark.parametrize("version", ["ociVersionMin", "ociVersionMax"])
def test_versions_are_accepted(version: str) -> None:
    config.check({**DEFAULT_CONFIG, "ociVersion": DOCUMENT[version]})


def test_annotations_that_naja_honours_are_told() -> None:
    """Whatever the code looks up in a config's annotations changes what it does."""
    found = set()
    for directory, _, names in os.walk(os.path.join(REPOSITORY, "runtime")):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(directory, name)) as file:
                    found |= set(re.findall(r"annotations(?:\.get\(|\[)\"([^\"]+)\"", file.read()))
    assert found
    # What only takes rights away is told of elsewhere.
    assert found <= {*DOCUMENT["potentiallyUnsafeConfigAnnotations"], *DOCUMENT["annotations"]}


@pytest.mark.parametrize("name", DOCUMENT["hooks"])
def test_hooks_are_accepted(name: str) -> None:
    config.check({**DEFAULT_CONFIG, "hooks": {name: [{"path": "/bin/true"}]}})


@pytest.mark.parametrize("word", DOCUMENT["mountOptions"])
def test_mount_options_are_not_left_to_the_file_system(word: str) -> None:
    assert MountOptions([word], "/mounts/0/options").parameters == [] or word in FOR_ANY_FILE_SYSTEM


def test_mount_options_are_those_that_the_specification_asks_for() -> None:
    assert set(DOCUMENT["mountOptions"]) >= MOUNT_OPTIONS
    assert "rro" in DOCUMENT["mountOptions"]  # containerd, Docker and CRI-O look for it.


@pytest.mark.parametrize("kind", LINUX["namespaces"])
def test_namespaces_are_accepted(kind: str) -> None:
    kinds = {"mount", "uts", "network", "pid", "ipc", kind}
    mappings = [{"containerID": 0, "hostID": 100000, "size": 65536}] if kind == "user" else []
    namespaces = [{"type": name} for name in kinds]
    accepted(namespaces=namespaces, uidMappings=mappings, gidMappings=mappings)


def test_capabilities_are_accepted() -> None:
    document = json.loads(json.dumps(DEFAULT_CONFIG))
    document["process"]["capabilities"]["bounding"] = LINUX["capabilities"]
    config.check(document)


@pytest.mark.parametrize("action", LINUX["seccomp"]["actions"])
def test_seccomp_actions_are_accepted(action: str) -> None:
    accepted(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/listener", **_rule(action)})


@pytest.mark.parametrize("operator", LINUX["seccomp"]["operators"])
def test_seccomp_operators_are_compiled(operator: str) -> None:
    arguments = [{"index": 0, "op": operator, "value": 1, "valueTwo": 1}]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", **_rule("SCMP_ACT_ERRNO", arguments)}
    accepted(seccomp=profile)
    assert compile_filter(profile, Libseccomp())


@pytest.mark.parametrize("architecture", LINUX["seccomp"]["archs"])
def test_seccomp_architectures_are_accepted(architecture: str) -> None:
    accepted(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "architectures": [architecture]})


def test_seccomp_flags_are_accepted() -> None:
    assert set(LINUX["seccomp"]["supportedFlags"]) <= set(LINUX["seccomp"]["knownFlags"])
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/l", **_rule("SCMP_ACT_NOTIFY")}
    accepted(seccomp={**profile, "flags": LINUX["seccomp"]["knownFlags"]})


@pytest.mark.parametrize("mode", LINUX["memoryPolicy"]["modes"])
def test_memory_policies_are_accepted(mode: str) -> None:
    accepted(memoryPolicy={"mode": mode, "nodes": "" if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else "0"})


@pytest.mark.parametrize("flag", LINUX["memoryPolicy"]["flags"])
def test_memory_policy_flags_are_accepted(flag: str) -> None:
    accepted(memoryPolicy={"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]})


def _rule(action: str, arguments: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"syscalls": [{"names": ["getcwd"], "action": action, "args": arguments or []}]}
