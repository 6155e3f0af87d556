"""The annotation naja.landlock: rules of Landlock for a container and for what exec adds."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from naja.linux import landlock
from tests.support.namespaces import map_ids

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

ABI = landlock.abi()

BASE = {"/bin": "rx", "/dev": "rw", "/etc": "r"}


def needs(version: int) -> pytest.MarkDecorator:
    return pytest.mark.skipif(version > ABI, reason=f"needs version {version} of Landlock; here is {ABI}")


def confine(bundle: Bundle, document: Any) -> Bundle:
    text = document if isinstance(document, str) else json.dumps(document)
    bundle.config["annotations"] = {"naja.landlock": text}
    return bundle.save()


def said(naja: Runtime, bundle: Bundle, script: str) -> str:
    return naja.run_attached(bundle.shell(f"({script}) 2>&1"), check=False).stdout.strip()


@needs(3)
@pytest.mark.parametrize("way", ["run", "create", "exec"])
def test_files(naja: Runtime, bundle: Bundle, way: str) -> None:
    bundle.write("/data/file", "old", 0o666)
    bundle.write("/var/secret", "secret")
    confine(bundle, {"paths": {**BASE, "/data": "rw"}})
    script = (
        "cat /data/file; echo > /data/new; rm /data/file; cat /var/secret; ls /; echo > /etc/passwd; /data/x"
    )
    bundle.write("/data/x", "#!/bin/sh\necho executed\n")
    if way == "exec":
        naja.run_detached(bundle.args("/bin/sleep", "1000"))
        text = naja.exec(bundle, "/bin/sh", "-c", f"({script}) 2>&1", check=False).stdout.strip()
    elif way == "run":
        text = said(naja, bundle, script)
    else:
        with open(f"{bundle.path}/out", "w+") as out:
            naja.create(bundle.shell(f"({script}) 2>&1"), output=out.fileno())
            naja.start(bundle)
            naja.wait_for(bundle, "stopped")
            out.seek(0)
            text = out.read().strip()
    assert text.splitlines() == [
        "oldcat: can't open '/var/secret': Permission denied",
        "ls: can't open '/': Permission denied",
        "/bin/sh: can't create /etc/passwd: Permission denied",
        "/bin/sh: /data/x: Permission denied",
    ]


@needs(3)
def test_it_holds_for_root_with_all_that_it_may(naja: Runtime, bundle: Bundle) -> None:
    """Neither capabilities nor a program with other rights lead out of it; a mount is no way either."""
    for sets in bundle.process["capabilities"].values():
        sets += ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]
    bundle.write("/var/secret", "secret")
    confine(bundle, {"paths": {**BASE, "/tmp": "rw", "/proc": "r"}})
    script = "mount -t tmpfs x /tmp; cat /var/secret; grep NoNewPrivs /proc/self/status"
    lines = said(naja, bundle, script).splitlines()
    assert "ermitted" in lines[0] or "denied" in lines[0]
    assert lines[1:] == ["cat: can't open '/var/secret': Permission denied", "NoNewPrivs:\t1"]


@needs(3)
def test_no_new_privs_is_implied(naja: Runtime, bundle: Bundle) -> None:
    bundle.process["noNewPrivileges"] = False
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    confine(bundle, {"paths": {**BASE, "/proc": "r"}})
    assert said(naja, bundle, "grep NoNewPrivs /proc/self/status") == "NoNewPrivs:\t1"
    assert "set no_new_privs  [/annotations/naja.landlock]" in naja.run("plan", bundle.path).stdout


@needs(3)
def test_beside_a_seccomp_filter_that_denies_landlock(naja: Runtime, bundle: Bundle) -> None:
    names = ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"]
    rules = [{"names": names, "action": "SCMP_ACT_KILL_PROCESS"}]
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    bundle.process["noNewPrivileges"] = False
    confine(bundle, {"paths": BASE})
    assert said(naja, bundle, "echo in; ls /var") == "in\nls: can't open '/var': Permission denied"


@needs(3)
def test_in_a_user_namespace(naja: Runtime, bundle: Bundle) -> None:
    map_ids(bundle)
    bundle.linux["namespaces"].append({"type": "user"})
    confine(bundle, {"paths": BASE})
    assert said(naja, bundle, "echo in; ls /var") == "in\nls: can't open '/var': Permission denied"


@needs(3)
def test_hooks_inside_are_under_it(naja: Runtime, bundle: Bundle) -> None:
    bundle.write("/bin/hook", "#!/bin/sh\necho x > /tmp/hook\n")
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/hook"}]}
    confine(bundle, {"paths": BASE})
    result = naja.run_attached(bundle.args("/bin/true"), check=False)
    assert result.status == 1
    assert "can't create /tmp/hook: Permission denied" in result.stderr


@needs(3)
def test_single_rights(naja: Runtime, bundle: Bundle) -> None:
    bundle.write("/var/log", "")
    confine(bundle, {"paths": {**BASE, "/var": ["read_dir"], "/var/log": ["write_file"]}})
    script = "ls /var; echo x >> /var/log; cat /var/log; rm /var/log"
    assert said(naja, bundle, script).splitlines() == [
        "log",
        "cat: can't open '/var/log': Permission denied",
        "rm: can't remove '/var/log': Permission denied",
    ]


@needs(4)
def test_ports(naja: Runtime, bundle: Bundle) -> None:
    """Where files are not spoken of they are free; a port that is not named is denied."""
    confine(bundle, {"bind": [8080], "connect": []})
    script = "touch /var/x; nc -l -p 8081; nc 127.0.0.1 8080; timeout 1 nc -l -p 8080; echo on"
    lines = said(naja, bundle, script).splitlines()
    assert lines[:2] == [
        "nc: bind: Permission denied",
        "nc: can't connect to remote host (127.0.0.1): Permission denied",
    ]
    assert lines[-1] == "on"
    assert "bind" not in "".join(lines[2:])


@needs(6)
def test_scope(naja: Runtime, bundle: Bundle) -> None:
    """Nobody outside of the container is signalled, though it is in sight."""
    bundle.linux["namespaces"] = [e for e in bundle.linux["namespaces"] if e["type"] != "pid"]
    confine(bundle, {"scope": ["signal", "abstract_unix_socket"]})
    script = "kill -0 $PPID; sleep 1000 & kill $! && echo own"
    bundle.process["capabilities"] = {name: ["CAP_KILL"] for name in ("bounding", "effective", "permitted")}
    result = said(naja, bundle, script)
    assert result.endswith("own")
    assert "ermi" in result


@needs(3)
def test_a_link_is_refused(naja: Runtime, bundle: Bundle) -> None:
    """The image would choose what is allowed."""
    os.symlink("/", f"{bundle.rootfs}/data")
    for path, why in {
        "/data": "a symbolic link leads there: name what it leads to",
        "/data/etc": "a symbolic link leads there",
        "/nowhere": "No such file or directory",
    }.items():
        confine(bundle, {"paths": {**BASE, path: "rw"}})
        result = naja.run_attached(bundle.args("/bin/true"), check=False)
        assert result.status == 1
        assert f"allow {path} by Landlock" in result.stderr
        assert why in result.stderr
        assert "config.json /annotations/naja.landlock" in result.stderr


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("{", "is no JSON"),
        ([], "/ is no object"),
        ({"files": {}}, "/files is not known"),
        ({"paths": []}, "/paths is no object"),
        ({"paths": {"etc": "r"}}, "/paths/etc is no absolute path"),
        ({"paths": {"/etc/x": "rq"}}, "/paths/~1etc~1x is not made of r, w and x"),
        ({"paths": {"/etc": ""}}, "/paths/~1etc is not made of r, w and x"),
        ({"paths": {"/etc": []}}, "/paths/~1etc is neither letters nor a list of rights"),
        ({"paths": {"/etc": ["read"]}}, "/paths/~1etc/0 is none of execute, write_file"),
        ({"bind": [80, 65536]}, "/bind/1 is no TCP port"),
        ({"connect": ["80"]}, "/connect/0 is no TCP port"),
        ({"connect": [True]}, "/connect/0 is no TCP port"),
        ({"scope": ["files"]}, "/scope/0 is none of abstract_unix_socket, signal"),
        ({"bind": 80}, "/bind is no list"),
    ],
)
def test_annotations_that_are_none(naja: Runtime, bundle: Bundle, document: Any, why: str) -> None:
    confine(bundle, document)
    for words in (
        ("run", "--bundle", bundle.path, bundle.id),
        ("validate", bundle.path),
        ("plan", bundle.path),
    ):
        result = naja.run(*words, check=False)
        assert result.status == 1
        assert why in result.stdout + result.stderr
        assert "/annotations/naja.landlock" in result.stdout + result.stderr
    assert naja.ids() == []


def test_the_plan_shows_it(naja: Runtime, bundle: Bundle) -> None:
    confine(
        bundle, {"paths": {"/usr": "x", "/etc": "r"}, "bind": [80, 443], "connect": [], "scope": ["signal"]}
    )
    text = naja.run("plan", bundle.path).stdout
    assert (
        "make Landlock rules: /usr (execute); /etc (read_file read_dir); bind TCP ports 80, 443; "
        "connect to TCP ports none; no signal beyond  [/annotations/naja.landlock]"
    ) in text
    order = [
        text.index(words) for words in ("make Landlock rules", "become user", "be under the Landlock rules")
    ]
    assert order == sorted(order)


def test_no_checkpoint(naja: Runtime, bundle: Bundle, tmp_path: Any) -> None:
    """CRIU would restore processes that are free of it."""
    if not ABI:
        pytest.skip("needs Landlock")
    confine(bundle, {"scope": ["signal"]} if ABI >= 6 else {"paths": {"/": "rwx"}})
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    result = naja.run("checkpoint", "--image-path", str(tmp_path / "images"), bundle.id, check=False)
    assert result.status == 1
    assert "checkpoint under Landlock" in result.stderr
    assert naja.status(bundle) == "running"
