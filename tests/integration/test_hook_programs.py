"""The hook programs that ship with naja, run as a runtime runs them; the host's network stays alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from naja.linux import namespaces
from tests.support.command import REPOSITORY
from tests.support.needs import need_command
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

HOOKS = os.path.join(REPOSITORY, "hooks")
OWN = "/proc/self/ns/net"
FIREWALLS = ["iptables", "nft"]


class Stranger:
    """A process in a network namespace of its own: a container, to the bridge; or another machine."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
        own = os.stat(OWN).st_ino
        wait_until(lambda: os.stat(f"/proc/{self.process.pid}/ns/net").st_ino != own, what="unshare")
        self.servers: list[subprocess.Popen[bytes]] = []

    @property
    def pid(self) -> int:
        return self.process.pid

    def command(self, *words: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *words]

    def run(self, *words: str) -> str:
        return subprocess.run(self.command(*words), check=True, capture_output=True, text=True).stdout

    def serve(self, port: int, text: str) -> None:
        """Answer every TCP connection with a text."""
        words = ["busybox", "nc", "-ll", "-p", str(port), "-e", "echo", text]
        self.servers.append(subprocess.Popen(self.command(*words)))
        wait_until(lambda: f":{port:04X} " in self.run("cat", "/proc/net/tcp", "/proc/net/tcp6"))

    def ask(self, address: str, port: int) -> str:
        """Return what a TCP server says; "" where none can be reached."""
        words = self.command("busybox", "nc", "-w", "2", address, str(port))
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def end(self) -> None:
        for process in [*self.servers, self.process]:
            process.kill()
            process.wait()


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    """Put the test, which is the host, into a network namespace of its own."""
    need_command("ip", "nsenter", "unshare", "busybox")
    before = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    namespaces.unshare(namespaces.CLONE_NEWNET)
    ip("link", "set", "lo", "up")
    yield
    namespaces.setns(before, namespaces.CLONE_NEWNET)
    os.close(before)


@pytest.fixture
def stranger() -> Iterator[Callable[[], Stranger]]:
    made: list[Stranger] = []

    def make() -> Stranger:
        made.append(Stranger())
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def world(stranger: Callable[[], Stranger]) -> Stranger:
    """Another machine, 192.0.2.2, that knows the host as 192.0.2.1 and knows no way to any container."""
    made = stranger()
    ip("link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", str(made.pid))
    ip("address", "add", "192.0.2.1/24", "dev", "uplink")
    ip("link", "set", "uplink", "up")
    made.run("ip", "address", "add", "192.0.2.2/24", "dev", "eth0")
    made.run("ip", "link", "set", "eth0", "up")
    return made


@pytest.fixture(params=FIREWALLS)
def firewall(request: pytest.FixtureRequest) -> str:
    need_command(request.param)
    return str(request.param)


class Bridge:
    """The hook ``bridge.py`` with leases in a directory of the test's."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def argv(self, *options: str) -> list[str]:
        return [sys.executable, f"{HOOKS}/bridge.py", "--directory", self.directory, *options]

    def call(self, status: str, id: str, pid: int, *options: str) -> subprocess.CompletedProcess[str]:
        state = {"ociVersion": "1.3.0", "id": id, "status": status, "pid": pid, "bundle": "/"}
        argv = self.argv(*options)
        return subprocess.run(argv, input=json.dumps(state), capture_output=True, text=True, check=False)

    def connect(self, id: str, container: Stranger, *options: str) -> None:
        done = self.call("creating", id, container.pid, *options)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def disconnect(self, id: str, *options: str) -> None:
        done = self.call("stopped", id, 0, *options)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def refused(self, id: str, container: Stranger, *options: str) -> str:
        done = self.call("creating", id, container.pid, *options)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        return done.stderr

    def leases(self) -> list[dict[str, Any]]:
        with open(f"{self.directory}/naja0.json") as file:
            leases: list[dict[str, Any]] = json.load(file)["leases"]
        return leases


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    return Bridge(str(tmp_path / "leases"))


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def rules() -> str:
    """Return all rules of the host's packet filter that speak of the bridge."""
    text = ""
    for command in (["iptables-save"], ["nft", "list", "ruleset"]):
        if shutil.which(command[0]):
            text += subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return "\n".join(line for line in text.splitlines() if "naja" in line)


def test_two_containers_talk_over_the_bridge(bridge: Bridge, stranger: Callable[[], Stranger]) -> None:
    first, second = stranger(), stranger()
    bridge.connect("first", first, "--no-masquerade")
    bridge.connect("second", second, "--no-masquerade")
    first.serve(80, "hello")
    assert second.ask("10.90.0.2", 80) == "hello"
    assert "default via 10.90.0.1" in second.run("ip", "route")
    assert ",UP" in second.run("ip", "link", "show", "lo")
    assert rules() == ""


def test_the_world_is_reached_under_the_host_s_address(
    bridge: Bridge, stranger: Callable[[], Stranger], world: Stranger, firewall: str
) -> None:
    container = stranger()
    bridge.connect("one", container, "--firewall", firewall)
    world.serve(80, "hello")
    assert container.ask("192.0.2.2", 80) == "hello"


def test_each_container_decides_for_itself(
    bridge: Bridge, stranger: Callable[[], Stranger], world: Stranger, firewall: str
) -> None:
    first, second = stranger(), stranger()
    bridge.connect("first", first, "--firewall", firewall)
    bridge.connect("second", second, "--firewall", firewall, "--no-masquerade")
    world.serve(80, "hello")
    assert first.ask("192.0.2.2", 80) == "hello"
    assert second.ask("192.0.2.2", 80) == ""


def test_published_ports(
    bridge: Bridge, stranger: Callable[[], Stranger], world: Stranger, firewall: str
) -> None:
    container = stranger()
    ports = ["--publish", "8080:80", "--publish", "192.0.2.9:9090:80/tcp", "--firewall", firewall]
    bridge.connect("one", container, *ports)
    container.serve(80, "hello")
    assert world.ask("192.0.2.1", 8080) == "hello"
    assert world.ask("192.0.2.1", 9090) == ""
    ip("address", "add", "192.0.2.9/24", "dev", "uplink")
    assert world.ask("192.0.2.9", 9090) == "hello"
    bridge.disconnect("one", *ports)
    assert world.ask("192.0.2.1", 8080) == ""


def test_the_host_reaches_published_ports_by_its_own_address(
    bridge: Bridge, stranger: Callable[[], Stranger], firewall: str
) -> None:
    container = stranger()
    ip("address", "add", "192.0.2.1/32", "dev", "lo")
    bridge.connect("one", container, "--publish", "8080:80", "--firewall", firewall)
    container.serve(80, "hello")
    words = ["busybox", "nc", "-w", "2", "192.0.2.1", "8080"]
    assert subprocess.check_output(words, stdin=subprocess.DEVNULL, text=True).strip() == "hello"


def test_containers_pass_where_forwarding_is_closed(
    bridge: Bridge, stranger: Callable[[], Stranger], world: Stranger
) -> None:
    need_command("iptables")
    subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
    container = stranger()
    bridge.connect("one", container, "--publish", "8080:80", "--firewall", "iptables")
    world.serve(80, "hello")
    container.serve(80, "hello")
    assert container.ask("192.0.2.2", 80) == "hello"
    assert world.ask("192.0.2.1", 8080) == "hello"


def test_nothing_is_left_after_the_last(
    bridge: Bridge, stranger: Callable[[], Stranger], firewall: str
) -> None:
    before = ip("-o", "link")
    options = ["--publish", "8080:80", "--firewall", firewall]
    bridge.connect("one", stranger(), *options)
    bridge.connect("two", stranger(), "--firewall", firewall)
    bridge.disconnect("one", *options)
    assert [lease["id"] for lease in bridge.leases()] == ["two"]
    assert "8080" not in rules()
    bridge.disconnect("two", "--firewall", firewall)
    assert (bridge.leases(), ip("-o", "link"), rules()) == ([], before, "")


def test_a_bridge_of_somebody_else_is_used_and_left(bridge: Bridge, stranger: Callable[[], Stranger]) -> None:
    ip("link", "add", "naja0", "type", "bridge")
    bridge.connect("one", stranger(), "--no-masquerade")
    bridge.disconnect("one", "--no-masquerade")
    assert "naja0" in ip("-o", "link")


def test_the_dead_lose_their_lease(bridge: Bridge, stranger: Callable[[], Stranger]) -> None:
    lost = stranger()
    bridge.connect("lost", lost, "--no-masquerade")
    veth = bridge.leases()[0]["veth"]
    lost.end()
    wait_until(lambda: veth not in ip("-o", "link"), what="the kernel to remove the cable")
    bridge.connect("next", stranger(), "--no-masquerade")
    assert [(lease["id"], lease["address"]) for lease in bridge.leases()] == [("next", "10.90.0.2")]


def test_the_dead_lose_their_ports(bridge: Bridge, stranger: Callable[[], Stranger], firewall: str) -> None:
    lost = stranger()
    bridge.connect("lost", lost, "--publish", "8080:80", "--firewall", firewall)
    veth = bridge.leases()[0]["veth"]
    lost.end()
    wait_until(lambda: veth not in ip("-o", "link"), what="the kernel to remove the cable")
    bridge.connect("next", stranger(), "--no-masquerade", "--firewall", firewall)
    assert "8080" not in rules()


@pytest.mark.parametrize("text", ["80", "80:", "0:80", "80:65536", "80:80/sctp", "host:80:80", "a:b"])
def test_ports_that_are_none(bridge: Bridge, text: str) -> None:
    done = bridge.call("stopped", "one", 0, "--publish", text)
    assert done.returncode == 2
    assert done.stderr == f"bridge: argument --publish: {text!r} is not [ADDRESS:]HOST:CONTAINER[/tcp|udp]\n"


def test_options_of_address_interface_and_mtu(bridge: Bridge, stranger: Callable[[], Stranger]) -> None:
    container = stranger()
    options = ["--subnet", "10.91.0.0/24", "--address", "10.91.0.77", "--interface", "net0", "--mtu", "1400"]
    bridge.connect("one", container, "--no-masquerade", *options)
    assert "inet 10.91.0.77/24" in container.run("ip", "address", "show", "net0")
    assert "mtu 1400" in container.run("ip", "link", "show", "net0")


def test_refusals_leave_nothing(bridge: Bridge, stranger: Callable[[], Stranger]) -> None:
    container, plain = stranger(), "--no-masquerade"
    before = ip("-o", "link")
    assert "not of subnet" in bridge.refused("one", container, plain, "--address", "10.1.1.1")
    assert "is taken" in bridge.refused("one", container, plain, "--address", "10.90.0.1")
    assert "File exists" in bridge.refused("one", container, plain, "--interface", "lo")
    assert ip("-o", "link") == before
    bridge.connect("one", container, plain)
    assert "already" in bridge.refused("one", container, plain)
    assert "subnet" in bridge.refused("two", stranger(), plain, "--subnet", "10.91.0.0/24")


def test_a_port_leads_to_one_container(
    bridge: Bridge, stranger: Callable[[], Stranger], firewall: str
) -> None:
    bridge.connect("one", stranger(), "--publish", "8080:80", "--firewall", firewall)
    other = stranger()
    text = bridge.refused("two", other, "--publish", "127.0.0.1:8080:80", "--firewall", firewall)
    assert "port 8080/tcp leads to container one already" in text


def test_the_host_s_own_namespace_is_refused(bridge: Bridge) -> None:
    done = bridge.call("creating", "one", os.getpid(), "--no-masquerade")
    assert "no network namespace of its own" in done.stderr


def test_named_in_a_config(bridge: Bridge, bundle: Bundle, naja: Runtime, world: Stranger) -> None:
    need_command("iptables")
    argv = bridge.argv("--firewall", "iptables")
    hook = {"path": argv[0], "args": argv}
    bundle.config["hooks"] = {"createRuntime": [hook], "poststop": [hook]}
    world.serve(80, "hello")
    bundle.shell("nc -w 2 192.0.2.2 80 </dev/null")
    assert naja.run_attached(bundle).stdout == "hello\n"
    assert bridge.leases() == []
    assert "naja0" not in ip("-o", "link")


def test_lxcfs_covers_proc(bundle: Bundle, naja: Runtime, tmp_path: Path) -> None:
    offered = tmp_path / "lxcfs/proc"
    offered.mkdir(parents=True)
    (offered / "meminfo").write_text("MemTotal: 64 kB\n")
    (offered / "no-such-file").write_text("")
    argv = [sys.executable, f"{HOOKS}/lxcfs.py", "--directory", str(offered.parent)]
    bundle.config["hooks"] = {"createContainer": [{"path": argv[0], "args": argv}]}
    bundle.shell("cat /proc/meminfo; ls /proc/no-such-file || grep -c . /proc/uptime")
    assert naja.run_attached(bundle).stdout == "MemTotal: 64 kB\n1\n"


def test_lxcfs_does_not_run(bundle: Bundle, naja: Runtime, tmp_path: Path) -> None:
    argv = [sys.executable, f"{HOOKS}/lxcfs.py", "--directory", str(tmp_path)]
    bundle.config["hooks"] = {"createContainer": [{"path": argv[0], "args": argv}]}
    bundle.save()
    assert "lxcfs does not run" in naja.run_attached(bundle, check=False).stderr
    argv.append("--if-running")
    bundle.save()
    naja.run_attached(bundle)


@pytest.mark.parametrize("name", ["bridge.py", "lxcfs.py"])
def test_every_program_helps_and_complains_in_one_line(name: str) -> None:
    path = f"{HOOKS}/{name}"
    assert os.access(path, os.X_OK)

    def run(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, path, *words]
        return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)

    assert "a hook for" in run("--help").stdout
    wrong = run("--no-such-option")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    for text in ("", "{}", "[]", '{"id": "a", "status": "flying"}', "nonsense"):
        done = run(text=text)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
