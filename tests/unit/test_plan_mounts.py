"""The root file system's part of a plan: config in, operations out; nothing is touched."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naja.errors import NajaError, Unsupported
from naja.linux import mounts as kernel
from naja.operations.base import INIT, RUNTIME, STAGE, Operation, Warn, thaw
from naja.operations.binds import BindMount
from naja.operations.console import OpenConsole, UseConsole
from naja.operations.devices import BindDevice, MakeDevice, MakeSymlink
from naja.operations.joining import ChangeRoot, FindRoot, OpenProc, OpenRoot
from naja.operations.masks import MakePathReadonly, MaskPath
from naja.operations.mounts import MakeReadonly, MountFilesystem, Remount
from naja.operations.nodes import MakeNodes
from naja.operations.rootfs import (
    MakeDirectory,
    MakeRootReadonly,
    MountRoot,
    MoveRoot,
    PivotRoot,
    RequireKernel,
    ReturnToMountNamespace,
    SetHostPropagation,
    SetRootPropagation,
    TakeRoot,
    UseUmask,
)
from naja.operations.sources import OpenSource, ShowMounts
from naja.operations.stdio import ReopenNull
from naja.plan import execution, mounts
from naja.plan.creation import compile_plan
from naja.plan.mount_options import KNOWN, MountOptions
from naja.plan.request import Request

RO, NOSUID, NODEV, NOEXEC = (
    kernel.MOUNT_ATTR_RDONLY,
    kernel.MOUNT_ATTR_NOSUID,
    kernel.MOUNT_ATTR_NODEV,
    kernel.MOUNT_ATTR_NOEXEC,
)


def request(
    *entries: dict[str, Any],
    linux: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    **more: Any,
) -> Request:
    base = {
        "ociVersion": "1.3.0",
        "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs"},
        "mounts": list(entries),
        "linux": {"namespaces": [{"type": "mount"}], **(linux or {})},
    }
    return Request({**base, **(config or {})}, id="c", bundle="/bundle", **more)


def mount_of(entry: dict[str, Any], **more: Any) -> Operation:
    """Return the one operation that an entry of ``mounts`` becomes."""
    (operation,) = [
        operation
        for operation in mounts.before_hooks(request(entry, **more))
        if isinstance(operation, MountFilesystem | BindMount | Remount)
    ]
    return operation


def entry(destination: str, kind: str, *options: str, source: str = "src", **more: Any) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options), **more}


def refusal(of: dict[str, Any], **more: Any) -> NajaError:
    with pytest.raises(NajaError) as caught:
        mounts.before_hooks(request(of, **more))
    return caught.value


def test_a_bare_root_is_prepared_and_pivoted_to() -> None:
    before, after = mounts.before_hooks(request()), mounts.after_hooks(request())
    assert before[:5] == [
        RequireKernel(),
        UseUmask(),
        OpenProc(),
        SetHostPropagation(kernel.MS_SLAVE | kernel.MS_REC, origin=""),
        MountRoot("/bundle/rootfs", shared=False),
    ]
    assert all(isinstance(operation, MakeDevice | MakeSymlink) for operation in before[5:])
    assert after == [PivotRoot(), ReopenNull()]
    assert mounts.prepare(request()) == []


def test_the_order_of_mounts_is_the_configs() -> None:
    operations = mounts.before_hooks(
        request(entry("/a", "tmpfs"), entry("/a/b", "bind"), entry("/proc", "proc"))
    )
    found = [op.destination for op in operations if isinstance(op, MountFilesystem | BindMount)]
    assert found == ["/a", "/a/b", "/proc"]


def test_a_file_system_gets_attributes_and_parameters_with_their_places() -> None:
    operation = mount_of(entry("/dev/shm", "tmpfs", "nosuid", "mode=1777", "noexec", "huge", source="shm"))
    assert operation == MountFilesystem(
        "tmpfs",
        "/dev/shm",
        source="shm",
        attributes=(NOSUID | NOEXEC, 0),
        parameters=[("mode", "1777", "/mounts/0/options/1"), ("huge", None, "/mounts/0/options/3")],
        origin="/mounts/0",
    )
    assert operation.describe() == "mount tmpfs on /dev/shm: nosuid, noexec, mode=1777, huge"


@pytest.mark.parametrize(
    ("destination", "clean"),
    [("data", "/data"), ("/a//b/./c/", "/a/b/c"), ("/../../etc", "/etc"), ("//x", "/x"), ("a/../b", "/b")],
)
def test_destinations_are_cleaned_and_may_be_relative(destination: str, clean: str) -> None:
    operation = mount_of(entry(destination, "tmpfs"))
    assert isinstance(operation, MountFilesystem)
    assert operation.destination == clean


def test_bind_sources_start_at_the_bundle() -> None:
    operation = mount_of(entry("/data", "bind", source="volume"))
    assert isinstance(operation, BindMount)
    assert operation.source == "/bundle/volume"
    assert not operation.recursive


def test_bind_options() -> None:
    options = ("rbind", "ro", "nodev", "rnoexec", "rprivate", "noatime")
    assert mount_of(entry("/data", "none", *options, source="/src")) == BindMount(
        "/src",
        "/data",
        recursive=True,
        attributes=(RO | NODEV | kernel.MOUNT_ATTR_NOATIME, kernel.MOUNT_ATTR_ATIME),
        recursive_attributes=(NOEXEC, 0),
        unnamed=NOSUID | kernel.MOUNT_ATTR_NOSYMFOLLOW | kernel.MOUNT_ATTR_NODIRATIME,
        propagation=kernel.MS_PRIVATE | kernel.MS_REC,
        origin="/mounts/0",
    )


def test_later_options_win() -> None:
    options = MountOptions(["ro", "rw", "noatime", "strictatime", "suid", "nosuid"], "/o")
    assert options.attributes == (
        NOSUID | kernel.MOUNT_ATTR_STRICTATIME,
        RO | kernel.MOUNT_ATTR_ATIME,
    )


@pytest.mark.parametrize(
    ("word", "parameters"),
    [
        ("size=1m,mode=700", [("size", "1m"), ("mode", "700")]),
        (
            "lowerdir=/a:/b,upperdir=/c,workdir=/d",
            [("lowerdir", "/a:/b"), ("upperdir", "/c"), ("workdir", "/d")],
        ),
        ("uid=5,ro", [("uid", "5")]),
        ("lowerdir=/a,b", [("lowerdir", "/a,b")]),
        ("mpol=bind:0,1", [("mpol", "bind:0,1")]),
        ('context="u:r:t:s0:c1,c2"', [("context", '"u:r:t:s0:c1,c2"')]),
        ("size=1m,", [("size", "1m")]),
        (",size=1m,,mode=700", [("size", "1m"), ("mode", "700")]),
        ("", []),
        (",", []),
    ],
)
def test_several_options_in_one_word(word: str, parameters: list[tuple[str, str]]) -> None:
    """As mount(2) takes them; but a comma may also belong to a value."""
    options = MountOptions(["nodev", word], "/o")
    assert options.parameters == [(name, value, "/o/1") for name, value in parameters]
    assert (options.attributes[0] & kernel.MOUNT_ATTR_RDONLY != 0) == word.endswith(",ro")


@given(st.lists(st.sampled_from(KNOWN)))
def test_any_mix_of_known_options_is_fit_for_the_kernel(words: list[str]) -> None:
    options = MountOptions(words, "/o")
    assert {name for name, _, _ in options.parameters} <= {"sync", "dirsync", "iversion", "lazytime", "mand"}
    for added, cleared in (options.attributes, options.recursive_attributes):
        # What mount_setattr(2) demands of its arguments.
        assert not added & cleared & ~kernel.MOUNT_ATTR_ATIME or cleared & kernel.MOUNT_ATTR_ATIME
        assert not added & kernel.MOUNT_ATTR_ATIME or cleared & kernel.MOUNT_ATTR_ATIME
        assert cleared & kernel.MOUNT_ATTR_ATIME in (0, kernel.MOUNT_ATTR_ATIME)


def test_a_read_only_tmpfs_stays_writable_until_the_hooks_have_run() -> None:
    asked = request(entry("/run", "tmpfs", "ro", "nosuid"))
    (operation,) = [op for op in mounts.before_hooks(asked) if isinstance(op, MountFilesystem)]
    assert operation.attributes[0] == NOSUID
    assert operation.keep == "mount 0"
    assert mounts.after_hooks(asked)[0] == MakeReadonly("mount 0", "/run", origin="/mounts/0/options/0")


def test_read_only_holds_for_the_file_system_too_unless_it_is_the_kernels() -> None:
    overlay = mount_of(entry("/o", "overlay", "ro"))
    sysfs = mount_of(entry("/sys", "sysfs", "ro"))
    assert isinstance(overlay, MountFilesystem)
    assert isinstance(sysfs, MountFilesystem)
    assert overlay.parameters == [("ro", None, "/mounts/0/options/0")]
    assert sysfs.parameters == []
    assert overlay.attributes[0] & sysfs.attributes[0] & RO


def test_remount() -> None:
    operation = mount_of(entry("/dev/shm", "tmpfs", "remount", "ro", "size=1m"))
    assert operation.describe() == "remount /dev/shm: ro, size=1m"


@pytest.mark.parametrize(
    ("asked", "origin", "part"),
    [
        (entry("/", "proc"), "/mounts/0/destination", "root file system"),
        (entry("/proc/self", "tmpfs"), "/mounts/0/destination", "/proc"),
        (entry("/proc", "tmpfs"), "/mounts/0/destination", "/proc"),
        (entry("/x/../proc/sys", "bind"), "/mounts/0/destination", "/proc"),
        (entry("/a", ""), "/mounts/0", "no type"),
        (entry("/a", "bind", source=""), "/mounts/0", "no source"),
        (entry("/a", "bind", "tmpcopyup"), "/mounts/0/options/0", "tmpcopyup"),
        (entry("/a", "proc", "tmpcopyup"), "/mounts/0/options/0", "tmpcopyup"),
        (entry("/a", "tmpfs", "idmap"), "/mounts/0/options/0", "idmap"),
        (entry("/a", "tmpfs", "copy-symlink"), "/mounts/0/options/0", "copy-symlink"),
        (entry("/a", "tmpfs", uidMappings=[{}]), "/mounts/0/uidMappings", "id mappings"),
        (entry("/a", "bind", "idmap=uids=0-1"), "/mounts/0/options/0", "idmap=uids=0-1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(asked: dict[str, Any], origin: str, part: str) -> None:
    error = refusal(asked)
    assert error.origin == origin
    assert part in str(error)


@pytest.mark.parametrize(
    "name", ["cpuinfo", "meminfo", "uptime", "loadavg", "net/dev", "sys/kernel/ns_last_pid"]
)
def test_lxcfs_may_cover_some_files_of_proc(name: str) -> None:
    assert isinstance(mount_of(entry(f"/proc/{name}", "bind")), BindMount)


@pytest.mark.parametrize(
    ("value", "of_host", "of_root"),
    [
        ("", kernel.MS_SLAVE, 0),
        ("slave", kernel.MS_SLAVE, kernel.MS_SLAVE),
        ("rslave", kernel.MS_SLAVE, kernel.MS_SLAVE),
        ("rprivate", kernel.MS_PRIVATE, kernel.MS_PRIVATE),
        ("unbindable", kernel.MS_PRIVATE, kernel.MS_UNBINDABLE),
        ("rshared", 0, kernel.MS_SHARED),
    ],
)
def test_root_propagation(value: str, of_host: int, of_root: int) -> None:
    asked = request(linux={"rootfsPropagation": value})
    before, after = mounts.before_hooks(asked), mounts.after_hooks(asked)
    (root,) = [operation for operation in before if isinstance(operation, MountRoot)]
    assert [op.propagation for op in before if isinstance(op, SetHostPropagation)] == (
        [of_host | kernel.MS_REC] if of_host else []
    )
    assert root.shared == (not of_host)
    assert [op.propagation for op in after if isinstance(op, SetRootPropagation)] == (
        [of_root] if of_root else []
    )


def test_default_devices_give_way_to_the_configs_own() -> None:
    devices = [
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 7},
        {"path": "/dev/fifo", "type": "p"},
    ]
    asked = request(entry("/dev/tty", "bind"), linux={"devices": devices})
    found = [op for op in mounts.before_hooks(asked) if isinstance(op, MakeDevice)]
    assert found[:2] == [
        MakeDevice("/dev/null", "c", 1, 3, mode=0o600, uid=7, origin="/linux/devices/0"),
        MakeDevice("/dev/fifo", "p", 0, 0, origin="/linux/devices/1"),
    ]
    assert [op.path for op in found[2:]] == ["/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]


def test_in_a_user_namespace_devices_are_bound() -> None:
    asked = request(linux={"namespaces": [{"type": "user"}, {"type": "mount"}]})
    operations = mounts.before_hooks(asked)
    assert BindDevice("/dev/null", "c", 1, 3) in operations
    assert not any(isinstance(operation, MakeDevice) for operation in operations)


def test_devices_that_are_made_for_a_user_namespace() -> None:
    listed = [
        {"path": "/dev/plain/", "type": "c", "major": 1, "minor": 5},
        {"path": "/dev/pipe", "type": "p"},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
        {"path": "/dev/owned", "type": "b", "major": 7, "minor": 1, "fileMode": 0o600, "uid": 9, "gid": 3},
    ]
    asked = request(linux={**USER_NAMESPACE, "devices": listed})
    assert mounts.prepare(asked) == [
        MakeNodes(
            [
                ("device 0", ("/dev/plain", "c", 1, 5), (0o666, 0, 0), False),
                ("device 3", ("/dev/owned", "b", 7, 1), (0o600, 9, 3), True),
            ],
            uids=[(0, 1000, 10)],
            gids=[(0, 2000, 3)],
        )
    ]
    operations = mounts.before_hooks(asked)
    bound = BindDevice("/dev/plain", "c", 1, 5, prepared="device 0", origin="/linux/devices/0")
    assert bound in operations
    assert MakeDevice("/dev/pipe", "p", 0, 0, origin="/linux/devices/1") in operations
    # Whoever has not root's rights makes none.
    rootless = request(linux={**USER_NAMESPACE, "devices": listed}, rootless=True)
    assert mounts.prepare(rootless) == []
    bound.prepared = ""
    assert bound in mounts.before_hooks(rootless)


def test_the_hosts_own_dev_is_left_alone() -> None:
    asked = request(entry("/dev", "bind", "rbind", source="/dev"))
    operations = mounts.before_hooks(asked) + mounts.after_hooks(asked)
    assert not any(isinstance(op, MakeDevice | MakeSymlink) for op in operations)


def test_masks_come_before_the_pivot_each_path_once() -> None:
    linux = {"maskedPaths": ["/proc/kcore", "/a/", "/a"], "readonlyPaths": ["/proc/sys", "/proc/sys"]}
    asked = request(linux=linux, config={"root": {"path": "rootfs", "readonly": True}})
    assert mounts.after_hooks(asked) == [
        MakePathReadonly("/proc/sys", origin="/linux/readonlyPaths/0"),
        MaskPath("/proc/kcore", origin="/linux/maskedPaths/0"),
        MaskPath("/a", origin="/linux/maskedPaths/1"),
        MakeRootReadonly(),
        PivotRoot(),
        ReopenNull(),
    ]


def test_no_pivot_moves_the_root() -> None:
    assert MoveRoot("/bundle/rootfs") in mounts.after_hooks(request(no_pivot=True))


def test_a_terminal_is_opened_last_and_used_last() -> None:
    process = {"cwd": "/work", "terminal": True, "consoleSize": {"height": 25, "width": 80}}
    asked = request(config={"process": process})
    assert mounts.before_hooks(asked)[-2:] == [
        OpenConsole((25, 80), mount=True),
        MakeDirectory("/work", origin="/process/cwd"),
    ]
    assert mounts.after_hooks(asked)[-1] == UseConsole()
    assert execution.enter_root(asked, process) == [
        OpenProc(),
        OpenRoot(),
        OpenConsole((25, 80), mount=False),
        UseConsole(),
    ]


def test_a_mount_label_is_an_option_of_file_systems_that_take_it() -> None:
    linux = {"mountLabel": "system_u:object_r:container_file_t:s0"}
    asked = request(entry("/proc", "proc"), entry("/run", "tmpfs"), linux=linux)
    operations = mounts.before_hooks(asked)
    proc, run = (op for op in operations if isinstance(op, MountFilesystem))
    assert proc.parameters == []
    assert run.parameters == [("context", linux["mountLabel"], "/linux/mountLabel")]
    asked.selinux = False
    operations = mounts.before_hooks(asked)
    assert Warn("SELinux is not active: mounts have no label", origin="/linux/mountLabel") in operations
    assert not any(op.parameters for op in operations if isinstance(op, MountFilesystem))


USER_NAMESPACE = {
    "namespaces": [{"type": "user"}, {"type": "mount"}],
    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
    "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 3}],
}


def test_with_a_user_namespace_the_runtime_opens_the_sources() -> None:
    asked = request(entry("/a", "bind", "rbind", source="/src"), linux=USER_NAMESPACE)
    slave = kernel.MS_SLAVE | kernel.MS_REC
    assert mounts.prepare(asked) == [
        OpenSource("mount 0", "/src", recursive=True, follow=True, propagation=slave, origin="/mounts/0")
    ]
    (bind,) = [op for op in mounts.before_hooks(asked) if isinstance(op, BindMount)]
    assert bind.prepared == "mount 0"


@pytest.mark.parametrize("linux", [USER_NAMESPACE, {}])
def test_a_source_that_earlier_mounts_may_show_is_opened_in_turn(linux: dict[str, Any]) -> None:
    mapped = ["idmap=uids=0-1-1;gids=0-1-1"] if not linux else []
    inside = entry("/b", "bind", *mapped, source="rootfs/a/../x")
    host: dict[str, Any] = {"cgroup_mounts": {"devices": "/cg"}, "cgroup_paths": {"devices": "/c"}}
    asked = request(entry("/a", "bind", *mapped, source="/src"), inside, linux=linux, gate=False, **host)
    assert [getattr(operation, "name", "") for operation in mounts.prepare(asked)] == ["mount 0"]
    compiled = compile_plan(asked)
    assert not compiled.unattended
    turns = [
        phase for phase in compiled.phases if "root file system" in phase.title or "sources" in phase.title
    ]
    assert [phase.actor for phase in turns] == [INIT, RUNTIME, INIT]
    assert isinstance(turns[0].operations[-1], ShowMounts)
    (source,) = turns[1].operations
    assert isinstance(source, OpenSource)
    assert (source.name, source.among) == ("mount 1", True)
    assert isinstance(turns[2].operations[0], BindMount)


@pytest.mark.parametrize(
    ("source", "options", "inside"),
    [
        ("/bundle/rootfs", ["bind"], True),
        ("/bundle/rootfs2/x", ["bind"], False),
        ("/bundle/./x/../rootfs/../y", ["bind"], True),
        ("/bundle", ["bind"], False),
        ("/bundle", ["rbind"], True),
        ("/", ["rbind"], True),
        ("/bun", ["rbind"], False),
    ],
)
def test_ways_that_lead_through_the_root(source: str, options: list[str], inside: bool) -> None:
    asked = request(entry("/a", "bind", *options, source=source), linux=USER_NAMESPACE)
    assert [getattr(operation, "among", None) for operation in mounts.prepare(asked)] == [False] * (
        not inside
    )


@pytest.mark.parametrize(
    ("options", "more", "uids", "gids", "everything"),
    [
        (["idmap"], {}, [(0, 1000, 10)], [(0, 2000, 3)], False),
        (["rbind", "ridmap"], {}, [(0, 1000, 10)], [(0, 2000, 3)], True),
        (["idmap=uids=5-7-1;gids=0-1-1#1-9-2"], {}, [(5, 7, 1)], [(0, 1, 1), (1, 9, 2)], False),
        (["idmap=uids=@5-7-1"], {}, [(5, 1007, 1)], [(0, 2000, 3)], False),
        (
            [],
            {
                "uidMappings": [{"containerID": 1, "hostID": 2, "size": 3}],
                "gidMappings": [{"containerID": 4, "hostID": 5, "size": 6}],
            },
            [(1, 2, 3)],
            [(4, 5, 6)],
            False,
        ),
    ],
)
def test_id_mappings(
    options: list[str], more: dict[str, Any], uids: list[Any], gids: list[Any], everything: bool
) -> None:
    (source,) = mounts.prepare(request(entry("/a", "bind", *options, **more), linux=USER_NAMESPACE))
    assert isinstance(source, OpenSource)
    assert (source.uids, source.gids, source.map_all, source.namespace) == (uids, gids, everything, "")


def test_id_mappings_of_a_joined_user_namespace() -> None:
    linux = {"namespaces": [{"type": "user", "path": "/run/user-ns"}, {"type": "mount"}]}
    (source,) = mounts.prepare(request(entry("/a", "bind", "idmap"), linux=linux))
    assert isinstance(source, OpenSource)
    assert source.namespace == "/run/user-ns"


@pytest.mark.parametrize("option", ["idmap", "idmap=uids=@8-8-5;gids=0-0-1", "idmap=uids=0-0-1"])
def test_id_mappings_that_nobody_gives(option: str) -> None:
    linux = USER_NAMESPACE if "@" in option else {}
    with pytest.raises(NajaError, match="ids") as caught:
        mounts.prepare(request(entry("/a", "bind", option), linux=linux))
    assert caught.value.origin == "/mounts/0"


def test_devpts_loses_a_group_that_is_not_mapped() -> None:
    pts = entry("/dev/pts", "devpts", "gid=5", "mode=0620")
    kept = mount_of(pts)
    left = mount_of(pts, linux=USER_NAMESPACE)
    assert isinstance(kept, MountFilesystem)
    assert isinstance(left, MountFilesystem)
    assert [name for name, _, _ in kept.parameters] == ["gid", "mode"]
    assert [name for name, _, _ in left.parameters] == ["mode"]


V1 = {
    "cgroup_mounts": {
        "cpu,cpuacct": "/cg/cpu,cpuacct",
        "name=systemd": "/cg/systemd",
        "": "/cg/unified",
        "pids": "/cg/pids",
    },
    "cgroup_paths": {"cpu,cpuacct": "/naja/c", "name=systemd": "/naja/c", "": "/naja/c"},
}


V2: dict[str, Any] = {
    "cgroup_kind": "v2",
    "cgroup_mounts": {"": "/sys/fs/cgroup"},
    "cgroup_paths": {"": "/naja/c"},
}


def cgroup_operations(linux: dict[str, Any], **more: Any) -> list[Operation]:
    asked = request(entry("/sys/fs/cgroup", "cgroup", "ro", "nosuid"), linux=linux, **more)
    operations = mounts.before_hooks(asked)
    start = next(index for index, operation in enumerate(operations) if operation.origin == "/mounts/0")
    return list(itertools.takewhile(lambda operation: operation.origin == "/mounts/0", operations[start:]))


def test_cgroup_v1_binds_the_containers_own_groups() -> None:
    operations = cgroup_operations({}, **V1)
    top = "/sys/fs/cgroup"
    assert [operation.describe() for operation in operations] == [
        f"mount tmpfs on {top}: nosuid, nodev, noexec, mode=755",
        f"bind all of /cg/cpu,cpuacct/naja/c on {top}/cpu,cpuacct: rro, rnosuid",
        f"link {top}/cpu to cpu,cpuacct",
        f"link {top}/cpuacct to cpu,cpuacct",
        f"bind all of /cg/systemd/naja/c on {top}/systemd: rro, rnosuid",
        f"bind all of /cg/unified/naja/c on {top}/unified: rro, rnosuid",
    ]


def test_cgroup_v1_becomes_read_only_when_all_is_mounted() -> None:
    top = entry("/sys/fs/cgroup", "cgroup", "ro")
    asked = request(top, entry("/sys/fs/cgroup/extra", "tmpfs"), **V1)
    (last,) = (operation for operation in mounts.after_hooks(asked) if isinstance(operation, MakeReadonly))
    assert last.describe() == "make /sys/fs/cgroup read-only"
    assert last.mount in [getattr(operation, "keep", "") for operation in mounts.before_hooks(asked)]
    remount = request({**top, "options": ["remount", "ro"]}, **V1)
    assert not any(isinstance(operation, MakeReadonly) for operation in mounts.after_hooks(remount))


def test_cgroup_v1_in_a_cgroup_namespace_is_mounted_anew() -> None:
    linux = {"namespaces": [{"type": "mount"}, {"type": "cgroup"}]}
    mounted = [op for op in cgroup_operations(linux, **V1) if isinstance(op, MountFilesystem)][1:]
    assert [(op.kind, [parameter[:2] for parameter in op.parameters]) for op in mounted] == [
        ("cgroup", [("cpu", None), ("cpuacct", None)]),
        ("cgroup", [("name", "systemd")]),
        ("cgroup2", []),
    ]


@pytest.mark.parametrize("kinds", [["mount"], ["mount", "cgroup"]])
@pytest.mark.parametrize("word", ["bogus", "x=y", "mode=755", "nsdelegate=1"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_option_that_is_none_of_control_groups(kinds: list[str], word: str, version: str) -> None:
    wanted = request(
        entry("/sys/fs/cgroup", "cgroup", "ro", word),
        linux={"namespaces": [{"type": kind} for kind in kinds]},
        **(V1 if version == "v1" else V2),
    )
    with pytest.raises(Unsupported, match=re.escape(word)) as caught:
        mounts.before_hooks(wanted)
    assert caught.value.origin == "/mounts/0/options/1"


@pytest.mark.parametrize(
    ("words", "version"), [(["nsdelegate", "memory_recursiveprot"], "v2"), (["xattr", "cpu", "sync"], "v1")]
)
def test_an_option_of_control_groups(words: list[str], version: str) -> None:
    wanted = request(entry("/sys/fs/cgroup", "cgroup", "ro", *words), **(V1 if version == "v1" else V2))
    assert mounts.before_hooks(wanted)


def test_cgroup_v2() -> None:
    (bind,) = cgroup_operations({}, **V2)
    assert bind.describe() == "bind all of /sys/fs/cgroup on /sys/fs/cgroup: rro, rnosuid"
    (mount,) = cgroup_operations({"namespaces": [{"type": "mount"}, {"type": "cgroup"}]}, **V2)
    assert mount.describe() == "mount cgroup2 on /sys/fs/cgroup: ro, nosuid"
    by_path = {"namespaces": [{"type": "mount"}, {"type": "cgroup", "path": "/x"}]}
    (either,) = cgroup_operations(by_path, **V2)
    assert either.describe() == (
        f"{mount.describe()}; if the cgroup namespace is the runtime's own, instead {bind.describe()}"
    )


def test_a_tree_of_version_2_beside_version_1() -> None:
    """As with the hierarchies of version 1 it is the container's part that is shown."""
    top, new = "/sys/fs/cgroup", [{"type": "mount"}, {"type": "cgroup"}]

    def described(**more: Any) -> list[str]:
        asked = request(entry(top, "cgroup2", "ro"), **more, **V1)
        return [one.describe() for one in mounts.before_hooks(asked) if one.origin == "/mounts/0"]

    assert described() == [f"bind all of /cg/unified/naja/c on {top}: rro"]
    assert described(linux={"namespaces": new}) == [f"mount cgroup2 on {top}: ro"]
    empty, unless = (
        f"mount tmpfs on {top}: ro, nosuid, nodev, noexec, mode=755",
        "; not where /cg/unified/naja/c",
    )
    assert described(rootless=True, linux={"namespaces": new}) == [
        empty,
        f"mount cgroup2 on {top}: ro{unless} could not be made",
    ]
    assert described(rootless=True) == [
        empty,
        f"bind all of /cg/unified/naja/c, if it exists, on {top}: rro",
    ]


def test_cgroup_v2_without_root() -> None:
    """What is the user's is seen, and the container's part is changed; or nothing is seen."""
    host: dict[str, Any] = {
        "cgroup_kind": "v2",
        "cgroup_mounts": {"": "/sys/fs/cgroup"},
        "cgroup_paths": {"": "/naja/c"},
    }
    top = "/sys/fs/cgroup"

    def described(*options: str, **linux: Any) -> list[str]:
        asked = request(entry(top, "cgroup", *options), linux=linux, rootless=True, **host)
        return [one.describe() for one in mounts.before_hooks(asked) if one.origin == "/mounts/0"]

    bind, own = f"bind all of {top} on {top}: rro", f"bind {top}/naja/c, if it exists, on {top}/naja/c: rw"
    assert described("ro", cgroupsPath="/naja/c") == [bind.replace(top, top + ", if it exists,", 1)]
    assert described("rw", cgroupsPath="/naja/c") == [bind.replace(top, top + ", if it exists,", 1), own]
    empty = f"mount tmpfs on {top}: ro, nosuid, nodev, noexec, mode=755"
    unless = f"; not where {top}/naja/c could not be made"
    assert described("ro") == [empty, bind.replace(top, top + ", if it exists,", 1) + unless]
    new = [{"type": "mount"}, {"type": "cgroup"}]
    assert described("ro", namespaces=new) == [empty, f"mount cgroup2 on {top}: ro{unless}"]


@pytest.mark.parametrize(
    ("namespace", "rootless", "rest"),
    [
        ({"type": "pid"}, False, ""),
        ({"type": "pid"}, True, ""),
        ({}, False, "; if that is denied, the runtime's own, as it shares the runtime's pid namespace"),
        (
            {"type": "pid", "path": "/x"},
            False,
            "; if that is denied, the runtime's own, as /x is the runtime's pid namespace",
        ),
    ],
)
def test_when_the_runtimes_own_instance_may_stand_in(
    namespace: dict[str, str], rootless: bool, rest: str
) -> None:
    """Only for a namespace that is shared: one that is new cannot be."""
    linux = {"namespaces": [{"type": "mount"}] + [namespace] * bool(namespace)}
    for user in ([], [{"type": "user"}]):
        linux = {**linux, "namespaces": linux["namespaces"] + user}
        asked = request(entry("/proc", "proc"), linux=linux)
        asked.rootless = rootless
        (operation,) = [one for one in mounts.before_hooks(asked) if one.origin == "/mounts/0"]
        new = namespace == {"type": "pid"}
        early = ", made before the user namespace is entered" if user and not new else ""
        assert operation.describe() == f"mount proc on /proc{early}{rest}"


@pytest.mark.parametrize("path", ["", "/user"])
def test_instances_of_joined_namespaces_are_mounted_before_a_user_namespace(path: str) -> None:
    user = {"type": "user", **({"path": path} if path else {})}
    linux = {**USER_NAMESPACE, "namespaces": [{"type": "mount"}, user, {"type": "pid", "path": "/pid"}]}
    entries = [entry("/proc", "proc", "ro"), entry("/sys", "sysfs"), entry("/dev/mqueue", "mqueue")]
    host = {"cgroup_mounts": {"devices": "/cgroup/devices"}, "cgroup_paths": {"devices": "/c"}}
    plan = compile_plan(request(*entries, linux=linux, **host))
    stage = [operation for phase in plan.phases if phase.actor == STAGE for operation in phase.operations]
    names = [type(operation).__name__ for operation in stage]
    first = names.index("MountEarly")
    assert names[first - 1 : first + 4] == [
        "JoinNamespaces",
        *["MountEarly"] * 3,
        "JoinUser" if path else "UnshareUser",
    ]
    assert [operation.describe() for operation in stage[first : first + 2]] == [
        "mount proc of the pid namespace early, if the runtime's rights suffice",
        "mount sysfs of the network namespace early, if the runtime's rights suffice",
    ]


def test_every_operation_survives_the_channel_and_says_what_it_does() -> None:
    asked = request(
        entry("/proc", "proc"),
        entry("/run", "tmpfs", "ro", "tmpcopyup"),
        entry("/a", "bind", "idmap", "rro", "rshared"),
        entry("/sys/fs/cgroup", "cgroup", "ro"),
        entry("/dev/mqueue", "mqueue"),
        entry("/b", "tmpfs", "remount", "ro"),
        linux={
            **USER_NAMESPACE,
            "maskedPaths": ["/x"],
            "readonlyPaths": ["/y"],
            "rootfsPropagation": "shared",
        },
        config={"process": {"terminal": True, "cwd": "/w"}, "root": {"path": "r", "readonly": True}},
        **V1,
    )
    for operation in mounts.prepare(asked) + mounts.before_hooks(asked) + mounts.after_hooks(asked):
        assert thaw(operation.freeze()) == operation
        assert operation.describe()


def test_what_a_bind_mount_cannot_change_is_warned_of() -> None:
    operations = mounts.before_hooks(request(entry("/a", "bind", "ro", "size=3", "sync")))
    warnings = [operation for operation in operations if isinstance(operation, Warn)]
    assert [warning.origin for warning in warnings] == ["/mounts/0/options/1", "/mounts/0/options/2"]
    assert "'size' does nothing" in warnings[0].text


def test_unsupported_is_its_own_kind_of_error() -> None:
    assert isinstance(refusal(entry("/", "proc")), Unsupported)


@pytest.mark.parametrize(
    "root",
    [
        entry("/", "bind", "ro", "rbind", source="/src"),
        entry("/./", "overlay", "ro", "lowerdir=/a"),
        entry("", "tmpfs", "ro"),
    ],
)
def test_the_first_mount_may_take_the_place_of_the_root(root: dict[str, Any]) -> None:
    asked = request(root, entry("/a", "tmpfs"))
    operations = mounts.before_hooks(asked)
    taken = operations.index(TakeRoot("/bundle/rootfs", origin="/mounts/0"))
    assert operations[taken - 1].origin == operations[taken].origin
    assert operations[taken + 1].origin == "/mounts/1"
    # Read-only when all is mounted on it.
    assert "ro" not in operations[taken - 1].describe().partition(": ")[2].split(", ")
    later = [operation for operation in mounts.after_hooks(asked) if isinstance(operation, MakeRootReadonly)]
    assert [operation.origin for operation in later] == ["/mounts/0/options/0"]


def test_another_mount_may_not_take_the_place_of_the_root() -> None:
    with pytest.raises(Unsupported, match="it has to be the first") as caught:
        mounts.before_hooks(request(entry("/a", "tmpfs"), entry("/", "tmpfs")))
    assert caught.value.origin == "/mounts/1/destination"
    remount = mounts.before_hooks(request(entry("/a", "tmpfs"), entry("/", "none", "remount", "ro")))
    assert any(isinstance(operation, Remount) for operation in remount)


def test_without_a_mount_namespace_nothing_is_pivoted() -> None:
    of = request(linux={"namespaces": []})
    assert mounts.before_hooks(of) == mounts.before_hooks(request())
    (before, after) = (
        [type(operation) for operation in mounts.after_hooks(each)] for each in (request(), of)
    )
    assert after == [ReturnToMountNamespace if kind is PivotRoot else kind for kind in before]
    assert execution.find_root(of, 7) == [FindRoot(7)]
    assert execution.find_root(request(), 7) == []
    assert execution.enter_root(of, {})[-2:] == [ChangeRoot(), ReopenNull()]
    refused = refusal(entry("/x", "tmpfs", "unbindable"), linux={"namespaces": []})
    assert refused.origin == "/mounts/0/options/0"
