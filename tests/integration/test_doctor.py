"""`naja doctor` is held against what happens: as root, as a user of the host, and inside a container."""

from __future__ import annotations

import glob
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import claims
from tests.support.command import REPOSITORY, Runtime
from tests.support.rootless import AS_NOBODY, let_through, nobodys_bundle, nobodys_runtime
from tests.support.small import tmpfs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.bundle import Bundle


def plain(bundle: Bundle) -> Bundle:
    """Take out what the test's own container needs beside a root file system."""
    bundle.args("/bin/true")
    bundle.process.pop("rlimits", None)
    return bundle.save()


def test_root(naja: Runtime, busybox_bundle: Callable[[], Bundle], tmp_path: Path) -> None:
    let_through(str(tmp_path))
    assert claims.wrong(naja, lambda: plain(busybox_bundle())) == []


def test_a_user(naja: Runtime, tmp_path: Path, tag: str, busybox_rootfs: str) -> None:
    let_through(str(tmp_path))
    runtime = nobodys_runtime(naja, str(tmp_path))
    made: list[str] = []

    def make() -> Bundle:
        made.append(f"{tmp_path}/{len(made)}")
        os.mkdir(made[-1])
        return plain(nobodys_bundle(made[-1], f"{tag}{len(made)}", busybox_rootfs))

    # A user's container shows the host's devices: it makes none, and needs no filter.
    assert claims.wrong(runtime, make, leave_out=("device-nodes", "controller-devices"), **AS_NOBODY) == []


def every_key(runtime: Runtime) -> set[str]:
    return {finding["key"] for finding in claims.examined(runtime)["findings"]}


def test_every_claim_has_its_container_or_a_reason(naja: Runtime) -> None:
    keys = {key for key in every_key(naja) if not key.startswith("idmap-")}
    assert not {*claims.NEEDS} & {*claims.NOT_RUN}
    assert keys == {*claims.NEEDS, *claims.NOT_RUN}


@pytest.mark.parametrize("rights", ["all", "few"])
def test_inside_a_container(
    naja: Runtime, busybox_bundle: Callable[[], Bundle], tmp_path: Path, rights: str
) -> None:
    """A container with the host's programs, once with root's rights and once as engines make them."""
    let_through(str(tmp_path))
    outer = busybox_bundle()
    contain(outer, str(tmp_path), every=rights == "all")
    naja.run_detached(outer.args("/bin/sleep", "1000"))
    inner = Runtime(str(tmp_path / "inner"), [*naja.command("exec", outer.id), *naja.argv])

    def make() -> Bundle:
        bundle = plain(busybox_bundle())
        bundle.linux.pop("cgroupsPath")
        return bundle

    left_out = ("cgroup-made",)  # By its path, which there is from the top.
    try:
        assert claims.wrong(inner, make, verdicts=rights == "few", leave_out=left_out) == []
    finally:
        naja.delete(outer, "--force")


def contain(bundle: Bundle, directory: str, *, every: bool) -> None:
    """Make a container in which naja can be called: with its files and the host's programs."""
    for name in ("usr", "lib", "lib64"):
        shutil.rmtree(f"{bundle.rootfs}/{name}", ignore_errors=True)
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{bundle.rootfs}/{name}")
        else:
            bundle.mount(f"/{name}", "bind", f"/{name}", "rbind", "ro")
    places = {REPOSITORY, os.path.dirname(os.path.dirname(sys.executable)), directory}
    for place in places:
        bundle.mount(place, "bind", place, "rbind", "rw")
    bundle.process["noNewPrivileges"] = False
    bundle.linux["namespaces"].append({"type": "cgroup"})
    if not every:
        return
    from naja.linux.capabilities import NAMES

    with open("/proc/self/status") as file:
        mine = int(next(line for line in file if line.startswith("CapBnd")).split()[1], 16)
    held = [name for number, name in enumerate(NAMES) if mine >> number & 1]
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), held)
    bundle.linux.update(maskedPaths=[], readonlyPaths=[])
    bundle.linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    for mount in bundle.config["mounts"]:
        mount["options"] = [
            word for word in mount.get("options", ()) if word != "ro" or mount["type"] == "bind"
        ]


@pytest.mark.parametrize("kind", ["tmpfs", "disk", "overlay"])
def test_mapped_mounts(naja: Runtime, bundle: Bundle, tmp_path: Path, kind: str) -> None:
    found = {one["key"]: one for one in claims.examined(naja)["findings"]}
    source = tmp_path / "source"
    source.mkdir()
    finding = found[f"idmap-{kind}"] if kind != "disk" else {}
    if kind == "disk":
        with open("/proc/self/mountinfo") as file:
            kinds = {line.split()[4]: line.split(" - ")[1].split()[0] for line in file}
        at = max((point for point in kinds if f"{source}/".startswith(point.rstrip("/") + "/")), key=len)
        finding = found.get(f"idmap-{kinds[at]}", {})
        if not finding or finding["detail"] != at:
            pytest.skip(f"doctor has looked at another file system than that of {at}")
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle.mount("/data", "bind", str(source), "bind")
    bundle.config["mounts"][-1].update(uidMappings=mapping, gidMappings=mapping)
    if kind == "overlay":
        options = f"lowerdir={bundle.rootfs}/bin:{bundle.rootfs}/etc"
        script = f'mount -t overlay -o {options} overlay {source}; exec "$@"'
        naja.argv = ["unshare", "--mount", "sh", "-ec", script, "sh", *naja.argv]
    with tmpfs(str(source)) if kind == "tmpfs" else open("/dev/null"):
        done = naja.run_attached(bundle.args("/bin/true"), check=False)
    assert (done.status == 0) is finding["works"], (finding, done.stderr)


def test_systemd_that_is_not_there(naja: Runtime, bundle: Bundle) -> None:
    found = {one["key"]: one for one in claims.examined(naja)["findings"]}
    bundle.linux["cgroupsPath"] = f"system.slice:naja:{bundle.id}"
    naja.argv = [*naja.argv, "--systemd-cgroup"]
    done = naja.run_attached(bundle.args("/bin/true"), check=False)
    assert (done.status == 0) is found["systemd"]["works"], done.stderr
    verdict = claims.examined(naja, bundle.path)["bundle"]
    assert verdict["runs"] is (done.status == 0)


def test_checkpoints(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    found = {one["key"]: one for one in claims.examined(naja)["findings"]}
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    done = naja.run(
        "checkpoint", "--image-path", str(tmp_path / "images"), bundle.id, check=False, timeout=120
    )
    assert (done.status == 0) is found["criu"]["works"], (found["criu"], done.stderr)
    naja.delete(bundle, "--force")


#: What this host says no to, and the place that it names.
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("/process/cwd", {"process/cwd": "relative"}, "absolute"),
    ("/mounts/7", {"mounts": "bind"}, "No such file"),
    ("/mounts/7/type", {"mounts": "nosuchfs"}, "no file system nosuchfs"),
    ("/process/args/0", {"process/args": ["/nowhere"]}, "no program /nowhere"),
    ("/process/args/0", {"process/args": ["nothing-like-it"]}, "no program nothing-like-it"),
    ("/hooks/createRuntime/0/path", {"hooks": {"createRuntime": [{"path": "/nowhere"}]}}, "no program here"),
    ("/linux/sysctl/net.nothing", {"linux/sysctl": {"net.nothing": "1"}}, "no sysctl"),
    ("/linux/netDevices/eth77", {"linux/netDevices": {"eth77": {}}}, "no network device"),
    ("/linux/resources/cpu/cpus", {"linux/resources/cpu": {"cpus": "4000"}}, "cpuset.cpus"),
    (
        "/linux/namespaces/5",
        {"linux/namespaces/-": {"type": "user", "path": "/nowhere"}},
        "No such file",
    ),
    (
        "/linux/seccomp/listenerPath",
        {
            "linux/seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": "/nowhere",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
            }
        },
        "nobody listens",
    ),
    ("/root/path", {"root/path": "nowhere"}, "No such file"),
]


@pytest.mark.parametrize(
    ("origin", "changes", "why"), REFUSED, ids=[entry[0] + str(i) for i, entry in enumerate(REFUSED)]
)
def test_the_line_that_says_no(
    naja: Runtime, bundle: Bundle, origin: str, changes: dict[str, Any], why: str
) -> None:
    plain(bundle)
    for pointer, value in changes.items():
        if pointer == "mounts":
            source = "/nowhere/at/all" if value == "bind" else value
            bundle.mount("/data", value, source)
        elif pointer.endswith("/-"):
            bundle.linux["namespaces"].append(value)
        else:
            claims.puts(pointer, value)(bundle, {})
    bundle.save()
    found = claims.examined(naja, bundle.path)["bundle"]
    assert found["runs"] is False
    places = {one["origin"]: one["why"] for one in found["obstacles"]}
    named = next((place for place in places if place.startswith(origin)), None)
    assert named is not None, found
    assert why in places[named], found
    # And so it is.
    assert naja.run_attached(bundle, check=False).status != 0


def test_the_way_of_the_start(naja: Runtime) -> None:
    """As a script nothing is sealed and nothing loaded ahead; it says what is the matter."""
    script = Runtime(naja.root, [sys.executable, "-m", "naja"])
    start = next(one for one in claims.examined(script)["findings"] if one["key"] == "start")
    assert not start["works"]
    assert start["why"].startswith("it starts by script: ")


def test_every_finding_is_on_its_page(naja: Runtime) -> None:
    with open(f"{REPOSITORY}/docs/doctor.md", encoding="utf-8") as file:
        named = [
            word for line in file if line.startswith("| `") for word in line.split("|")[1].split("`")[1::2]
        ]
    for key in every_key(naja):
        assert any(key == name or (name[-1] == "…" and key.startswith(name[:-1])) for name in named), key


def test_nothing_stays(naja: Runtime, bundle: Bundle) -> None:
    def seen() -> tuple[list[str], str, list[str]]:
        with open("/proc/self/mountinfo") as file:
            cgroups = glob.glob("/sys/fs/cgroup/**/naja-doctor-*", recursive=True)
            # Those of others, who are at it beside this test, live.
            dead = [one for one in cgroups if not os.path.exists(f"/proc/{one.rpartition('-')[2]}")]
            return sorted(dead), file.read(), sorted(os.listdir(bundle.path))

    before = seen()
    for words in ((), (bundle.path,)):
        claims.examined(naja, *words)
    assert seen() == before


def test_people_can_read_it(naja: Runtime, bundle: Bundle) -> None:
    done = naja.run("doctor", plain(bundle).path, check=False)
    lines = done.stdout.splitlines()
    assert lines[0] == "for root"
    assert lines[-2:] == ["this bundle", "  yes  it could run here"]
    assert done.status == 0
    assert [line for line in lines if line.startswith("  yes  namespace-mount")]
    data = json.loads(naja.run("doctor", "--json").stdout)
    for finding in data["findings"]:
        assert finding["works"] or (finding["why"] and finding["remedy"]), finding


def test_a_map_that_is_not_allowed(naja: Runtime, tmp_path: Path, tag: str, busybox_rootfs: str) -> None:
    let_through(str(tmp_path))
    bundle = plain(nobodys_bundle(str(tmp_path), f"{tag}0", busybox_rootfs))
    bundle.linux["uidMappings"][0]["hostID"] = 0
    bundle.save()
    runtime = nobodys_runtime(naja, str(tmp_path))
    found = claims.examined(runtime, bundle.path, **AS_NOBODY)["bundle"]
    assert [one["origin"] for one in found["obstacles"]] == ["/linux/uidMappings"]


def test_a_container_for_root_is_none_for_a_user(
    naja: Runtime, tmp_path: Path, tag: str, busybox_rootfs: str
) -> None:
    let_through(str(tmp_path))
    bundle = plain(nobodys_bundle(str(tmp_path), f"{tag}0", busybox_rootfs))
    bundle.linux["namespaces"] = [one for one in bundle.linux["namespaces"] if one["type"] != "user"]
    for name in ("uidMappings", "gidMappings"):
        del bundle.linux[name]
    bundle.save()
    runtime = nobodys_runtime(naja, str(tmp_path))
    found = claims.examined(runtime, bundle.path, **AS_NOBODY)["bundle"]
    assert any(one["origin"].startswith("/linux/namespaces/") for one in found["obstacles"]), found
