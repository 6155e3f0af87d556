"""hooks/cni.py with Debian's CNI plugins, and with plugins of the tests' that tell how they were called."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_hook_programs import HOOKS, Stranger, host, ip, stranger, world  # noqa: F401
from tests.support.needs import requires_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

requires_plugins = requires_path("/usr/lib/cni/bridge", "containernetworking-plugins")

BRIDGE = {
    "cniVersion": "0.4.0",
    "name": "box",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni-naja0",
            "isGateway": True,
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "subnet": "10.92.0.0/24",
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": False},
    ],
}

#: Notes how it was called; fails where a file says so.
_PLUGIN = """\
#!/bin/sh
{ env | grep ^CNI_ | sort; echo; cat; echo; echo; } >> DIRECTORY/calls
if [ -e DIRECTORY/fail-$CNI_COMMAND-NAME ]; then cat DIRECTORY/fail-$CNI_COMMAND-NAME; exit 1; fi
[ "$CNI_COMMAND" = DEL ] || echo '{"cniVersion": "1.0.0", "by": "NAME"}'
"""


class Cni:
    """The hook with configurations, plugins and results in a directory of the test's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plugins = "/usr/lib/cni"
        (directory / "net.d").mkdir()

    def configure(self, document: Any, name: str = "10-box.conflist") -> None:
        if name.endswith("list"):
            for plugin in document["plugins"]:
                if isinstance(plugin, dict) and "ipam" in plugin:
                    plugin["ipam"]["dataDir"] = str(self.directory / "addresses")
        (self.directory / "net.d" / name).write_text(json.dumps(document))

    def fake(self, *names: str) -> None:
        """Have plugins that note how they were called, and a network of them."""
        self.plugins = str(self.directory / "plugins")
        os.mkdir(self.plugins)
        for name in names:
            text = _PLUGIN.replace("DIRECTORY", str(self.directory)).replace("NAME", name)
            path = f"{self.plugins}/{name}"
            with open(path, "w") as file:
                file.write(text)
            os.chmod(path, 0o755)
        plugins = [{"type": name, "own": name} for name in names]
        self.configure({"cniVersion": "1.0.0", "name": "box", "plugins": plugins})

    def argv(self, *options: str) -> list[str]:
        place = str(self.directory)
        return [
            *(sys.executable, f"{HOOKS}/cni.py", "--configurations", f"{place}/net.d"),
            *("--plugins", self.plugins, "--directory", f"{place}/results", *options),
        ]

    def call(
        self, status: str, id: str, pid: int, *options: str, annotations: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        state = {"ociVersion": "1.3.0", "id": id, "status": status, "pid": pid, "bundle": "/"}
        text = json.dumps({**state, "annotations": annotations or {}})
        return subprocess.run(
            self.argv(*options), input=text, capture_output=True, text=True, check=False, timeout=60
        )

    def add(self, id: str, container: Stranger, *options: str, **more: Any) -> None:
        done = self.call("creating", id, container.pid, *options, **more)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def delete(self, id: str, *options: str) -> None:
        done = self.call("stopped", id, 0, *options)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def refused(self, id: str, container: Stranger, *options: str, **more: Any) -> str:
        done = self.call("creating", id, container.pid, *options, **more)
        assert done.returncode == 1, done
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def calls(self) -> list[tuple[dict[str, str], dict[str, Any]]]:
        """Return the environment and the configuration of each call of a plugin."""
        words = (self.directory / "calls").read_text().strip().split("\n\n")
        found = []
        for environment, document in zip(words[::2], words[1::2], strict=True):
            pairs = (line.partition("=") for line in environment.splitlines())
            found.append(({name: value for name, _, value in pairs}, json.loads(document)))
        return found

    def kept(self) -> list[str]:
        place = self.directory / "results"
        return sorted(os.listdir(place)) if place.exists() else []


@pytest.fixture
def cni(tmp_path: Path) -> Cni:
    return Cni(tmp_path)


@requires_plugins
def test_two_containers_on_a_bridge(cni: Cni, stranger: Callable[[], Stranger]) -> None:  # noqa: F811
    cni.configure(BRIDGE)
    first, second = stranger(), stranger()
    cni.add("first", first)
    cni.add("second", second)
    first.serve(80, "hello")
    assert second.ask("10.92.0.2", 80) == "hello"
    assert "default via 10.92.0.1" in second.run("ip", "route")
    assert "already" in cni.refused("second", second)
    first.end()
    cni.delete("first")
    third = stranger()
    pinned = ("--netns", f"/proc/{third.pid}/ns/net")
    cni.add("third", third, *pinned)
    assert "10.92.0" in third.run("ip", "address", "show", "eth0")
    cni.delete("third", *pinned)
    assert "eth0" not in third.run("ip", "link")
    second.end()
    cni.delete("second")
    assert cni.kept() == []
    addresses = os.listdir(cni.directory / "addresses/box")
    assert not [name for name in addresses if name.startswith("10.")], "all are given back"


@requires_plugins
@pytest.mark.parametrize("way", ["annotation", "option"])
def test_published_ports(
    cni: Cni,
    stranger: Callable[[], Stranger],  # noqa: F811
    world: Stranger,  # noqa: F811
    way: str,
) -> None:
    if not shutil.which("iptables"):
        pytest.skip("portmap needs iptables")
    cni.configure(BRIDGE)
    container = stranger()
    if way == "option":
        cni.add("one", container, "--publish", "8080:80")
    else:
        mapping = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
        cni.add("one", container, annotations={"naja.cni.portMappings": json.dumps(mapping)})
    container.serve(80, "hello")
    assert world.ask("192.0.2.1", 8080) == "hello"
    cni.delete("one")
    assert "8080" not in subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout


@requires_plugins
def test_named_in_a_config(cni: Cni, bundle: Bundle, naja: Runtime) -> None:
    """At createRuntime and at poststop: the container has an address, and gives it back."""
    cni.configure({**BRIDGE, "plugins": BRIDGE["plugins"][:1]})
    argv = cni.argv()
    hook = {"path": argv[0], "args": argv}
    bundle.config["hooks"] = {"createRuntime": [hook], "poststop": [hook]}
    assert "10.92.0.2/24" in naja.run_attached(bundle.args("/bin/ip", "address", "show", "eth0")).stdout
    assert cni.kept() == []
    assert "10.92.0.2" not in os.listdir(cni.directory / "addresses/box")


def test_how_plugins_are_called(cni: Cni, stranger: Callable[[], Stranger]) -> None:  # noqa: F811
    """In order with the result of the one before; to delete in reverse, with the last result."""
    cni.fake("a", "b")
    container = stranger()
    cni.add("one", container, "--interface", "net1", "--arg", "K8S_POD=x", "--arg", "MAC=1")
    # What it is by then does not matter, but what it was.
    cni.configure({"cniVersion": "1.0.0", "name": "box", "plugins": [{"type": "c"}]})
    cni.delete("one", "--interface", "net1")
    calls = cni.calls()
    assert [(env["CNI_COMMAND"], document["type"]) for env, document in calls] == [
        *(("ADD", "a"), ("ADD", "b"), ("DEL", "b"), ("DEL", "a"))
    ]
    for env, document in calls:
        assert env["CNI_CONTAINERID"] == "one"
        assert env["CNI_IFNAME"] == "net1"
        assert env["CNI_ARGS"] == "IgnoreUnknown=1;K8S_POD=x;MAC=1"
        assert env["CNI_PATH"] == cni.plugins
        assert env["CNI_NETNS"] == (f"/proc/{container.pid}/ns/net" if env["CNI_COMMAND"] == "ADD" else "")
        assert (document["name"], document["cniVersion"]) == ("box", "1.0.0")
        assert document["own"] == document["type"]
    results = [document.get("prevResult", {}).get("by") for _, document in calls]
    assert results == [None, "a", "b", "b"]


def test_capabilities_go_to_who_has_them(cni: Cni, stranger: Callable[[], Stranger]) -> None:  # noqa: F811
    cni.fake("a", "b")
    plugins = [{"type": "a"}, {"type": "b", "capabilities": {"mac": True, "ips": False}}]
    cni.configure({"cniVersion": "1.0.0", "name": "box", "plugins": plugins})
    annotations = {"naja.cni.mac": '"02:00:00:00:00:01"', "naja.cni.ips": "[]", "other": "x"}
    cni.add("one", stranger(), annotations=annotations)
    first, second = (document for _, document in cni.calls())
    assert "runtimeConfig" not in first
    assert second["runtimeConfig"] == {"mac": "02:00:00:00:00:01"}
    assert "capabilities" not in second


def test_what_fails_is_taken_back(cni: Cni, stranger: Callable[[], Stranger]) -> None:  # noqa: F811
    cni.fake("a", "b")
    (cni.directory / "fail-ADD-b").write_text('{"code": 7, "msg": "no\\nluck", "details": "at all"}')
    text = cni.refused("one", stranger())
    assert text == "cni: ADD one by plugin b of network box: no luck: at all (code 7)\n"
    assert [env["CNI_COMMAND"] for env, _ in cni.calls()] == ["ADD", "ADD", "DEL", "DEL"]
    assert cni.kept() == []


def test_a_delete_that_fails_can_be_tried_again(cni: Cni, stranger: Callable[[], Stranger]) -> None:  # noqa: F811
    cni.fake("a", "b")
    cni.add("one", stranger())
    (cni.directory / "fail-DEL-b").write_text("")
    done = cni.call("stopped", "one", 0)
    assert done.returncode == 1
    assert "DEL one by plugin b of network box: it ended with 1, and said nothing" in done.stderr
    assert [env["CNI_COMMAND"] for env, _ in cni.calls()][2:] == ["DEL", "DEL"], (
        "the other one was asked, too"
    )
    (cni.directory / "fail-DEL-b").unlink()
    cni.delete("one")
    assert cni.kept() == []
    cni.delete("one")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "has no plugins"),
        ({"name": "x", "plugins": []}, "has no plugins"),
        ({"name": "x", "plugins": [1]}, "has a plugin without a type"),
        ({"name": "x", "plugins": [{"type": "../../bin/sh"}]}, "has a plugin without a type"),
        ({"plugins": [{"type": "a"}]}, "has no name that CNI takes"),
        ({"name": "a/b", "plugins": [{"type": "a"}]}, "has no name that CNI takes"),
        ({"name": "x", "plugins": [{"type": "nowhere"}]}, "no plugin nowhere in"),
    ],
)
def test_configurations_that_are_none(
    cni: Cni,
    stranger: Callable[[], Stranger],  # noqa: F811
    document: Any,
    why: str,
) -> None:
    (cni.directory / "net.d/10-x.conflist").write_text(json.dumps(document))
    assert why in cni.refused("one", stranger())


def test_which_network(cni: Cni, stranger: Callable[[], Stranger]) -> None:  # noqa: F811
    """The first by its file's name, or the one that is named; a file for one plugin is a list of it."""
    container = stranger()
    cni.fake("a")
    assert "no network other" in cni.refused("one", container, "--network", "other")
    cni.configure({"cniVersion": "0.4.0", "name": "single", "type": "a"}, "99-single.conf")
    cni.add("one", container, "--network", "single")
    cni.add("one", container)
    assert [document["name"] for _, document in cni.calls()] == ["single", "box"]
    assert cni.kept() == ["one:eth0:box.json", "one:eth0:single.json"]
    cni.delete("one", "--network", "single")
    assert cni.kept() == ["one:eth0:box.json"]
    cni.delete("one")
    for file in os.listdir(cni.directory / "net.d"):
        os.unlink(cni.directory / "net.d" / file)
    assert "no network in" in cni.refused("two", container)


def test_refusals(cni: Cni, stranger: Callable[[], Stranger]) -> None:  # noqa: F811
    cni.fake("a")
    container = stranger()
    assert "is not KEY=VALUE" in cni.refused("one", container, "--arg", "a;b=c")
    assert "is no name that CNI takes" in cni.refused("-x", container)
    assert "is no name that CNI takes" in cni.refused("one", container, "--interface", "a/b")
    assert "is no JSON" in cni.refused("one", container, annotations={"naja.cni.mac": "02:00"})
    done = cni.call("creating", "one", os.getpid())
    assert "no network namespace of its own" in done.stderr
    assert cni.kept() == []
