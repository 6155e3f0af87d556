"""Docker Swarm: one manager on loopback, which starts the containers of services itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engines.docker import Docker
from tests.engines.image import BUSYBOX
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engines.sandbox import Sandbox

    Scenario = Callable[["Swarm"], None]

#: Obeys SIGTERM, and shows what it was given.
SERVER = ("sh", "-c", "trap 'exit 0' TERM; echo up $VERSION; while :; do sleep 0.1; done")
REPLICAS = 20
#: For what does not obey it.
DEAF = ("--stop-grace-period", "1s")


class Swarm(Docker):
    """A dockerd of its own that is a swarm's only node; the sandbox has the network namespace."""

    name = "Swarm"

    def __init__(self, sandbox: Sandbox, runtime: str, images: str) -> None:
        """Start the daemon, load the images and make the swarm."""
        super().__init__(sandbox, runtime, images, "swarm", NETWORK)
        address = ("--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
        self("swarm", "init", *address)
        wait_until(self._has_ingress, timeout=30, what="the network of published ports")

    def _has_ingress(self) -> bool:
        """Return whether the network of published ports is complete; it comes late, and stays."""
        places = "".join(path for path in self.sandbox.mounts() if "/exec/netns/" in path)
        devices = self.sandbox.run(["ip", "link", "show", "master", "docker_gwbridge"], check=False)
        return "/ingress_sbox" in places and "/netns/1-" in places and "veth" in devices.stdout

    def serve(self, name: str, *flags: str, words: tuple[str, ...] = SERVER) -> None:
        """Make a service that runs ``words``; its containers come later."""
        # No registry is asked for the image's digest.
        quiet = ("--detach", "--quiet", "--no-resolve-image")
        self("service", "create", *quiet, "--name", name, *flags, BUSYBOX, *words)

    def update_service(self, name: str, *flags: str) -> None:
        self("service", "update", "--detach", "--quiet", "--no-resolve-image", *flags, name)

    def containers(self, name: str) -> set[str]:
        """Return the IDs of the running containers of a service."""
        service = ("--filter", f"label=com.docker.swarm.service.name={name}")
        return set(self.output("ps", "--quiet", *service).split())

    def wait_for_containers(self, name: str, number: int, timeout: float = 90) -> set[str]:
        """Wait until exactly this many containers of a service run; return their IDs."""

        def as_many() -> set[str] | None:
            found = self.containers(name)
            return found if len(found) == number and self.replicas(name) == f"{number}/{number}" else None

        found = wait_until(as_many, timeout=timeout, what=f"{number} containers of {name}")
        assert found is not None
        return found

    def replicas(self, name: str) -> str:
        """Return how many tasks run, and how many are asked for: 3/5."""
        return self.output("service", "ls", "--filter", f"name={name}", "--format", "{{.Replicas}}")

    def wait_for_update(self, name: str, state: str, timeout: float = 120) -> None:
        """Wait until a service's update has ended like this."""
        self.wait_for(name, "{{.UpdateStatus.State}}", state, timeout=timeout)

    def remove_all(self) -> None:
        """Remove all services, wait for the end of their containers, and remove what they used."""
        for kind in ("service", "secret", "config"):
            for name in self.output(kind, "ls", "--quiet").split():
                self(kind, "rm", name, check=False)
        wait_until(lambda: not self.output("ps", "--all", "--quiet"), timeout=90, what="their end")
        for name in self.output("network", "ls", "--quiet", "--filter", "label=test").split():
            self._remove_network(name)

    def _remove_network(self, name: str) -> None:
        """Remove an overlay network, which may be in use for a moment after its last container."""
        wait_until(lambda: self("network", "rm", name, check=False).returncode == 0, timeout=30, what=name)


#: Overlay networks and published ports need bridges, which are in the sandbox's network namespace.
NETWORK: dict[str, object] = {"iptables": True, "bridge": ""}


def scaled_and_rolled_over(engine: Swarm) -> None:
    """Every container of the update is a new one; while it lasts, most of the old ones serve."""
    engine.serve("web", "--replicas", "2", "--env", "VERSION=1")
    engine.wait_for_containers("web", 2)
    engine("service", "scale", "--detach", f"web={REPLICAS}")
    old = engine.wait_for_containers("web", REPLICAS)
    engine.update_service(
        "web", "--update-parallelism", "5", "--update-monitor", "100ms", "--env-add", "VERSION=2"
    )
    fewest = REPLICAS

    def updated() -> bool:
        nonlocal fewest
        fewest = min(fewest, len(engine.containers("web")))
        return engine.inspect("web", "{{.UpdateStatus.State}}") == "completed"

    wait_until(updated, timeout=120, what="the update")
    assert fewest >= REPLICAS // 2, fewest
    new = engine.wait_for_containers("web", REPLICAS)
    assert not old & new
    for container in list(new)[:3]:
        assert engine.output("logs", container) == "up 2"
    engine("service", "scale", "--detach", "web=3")
    assert engine.wait_for_containers("web", 3) < new


def rolled_back(engine: Swarm) -> None:
    """An update to what cannot be started is undone."""
    engine.serve("web", "--replicas", "2")
    engine.wait_for_containers("web", 2)
    engine.update_service(
        "web", "--update-failure-action", "rollback", "--update-monitor", "2s", "--args", "no-such-program"
    )
    engine.wait_for_update("web", "rollback_completed")
    for container in engine.wait_for_containers("web", 2):
        assert engine.output("logs", container) == "up"
    assert 'exec: "no-such-program": executable file not found in $PATH' in engine.output(
        "service", "ps", "--no-trunc", "--format", "{{.Error}}", "web"
    ).replace('\\"', '"')


def replaced(engine: Swarm) -> None:
    """A task that ends is followed by the next one."""
    engine.serve("web", "--replicas", "2", "--restart-delay", "0s")
    before = engine.wait_for_containers("web", 2)
    victim = min(before)
    engine("kill", victim)
    wait_until(lambda: victim not in engine.containers("web"))
    after = engine.wait_for_containers("web", 2)
    assert len(after & before) == 1


def overlay_network(engine: Swarm) -> None:
    """Two services that find each other by name; the kernel may be without IPVS, so there is no VIP."""
    engine("network", "create", "--driver", "overlay", "--label", "test", "between")
    flags = ("--network", "between", "--endpoint-mode", "dnsrr")
    words = ("sh", "-c", "while :; do echo hello | nc -l -p 8080; done")
    engine.serve("server", *flags, *DEAF, words=words)
    engine.serve("client", *flags, "--replicas", "2")
    engine.wait_for_containers("server", 1)
    for container in engine.wait_for_containers("client", 2):
        script = "until nc server 8080 < /dev/null; do sleep 0.1; done"
        assert engine.output("exec", container, "timeout", "10", "sh", "-c", script) == "hello"


def published_port(engine: Swarm) -> None:
    """Published by the node that runs the task; the routing mesh would need IPVS."""
    words = ("sh", "-c", "while :; do echo hello | nc -l -p 80; done")
    engine.serve("web", "--publish", "mode=host,published=8081,target=80", *DEAF, words=words)
    engine.wait_for_containers("web", 1)
    script = "busybox nc 127.0.0.1 8081 < /dev/null"
    wait_until(lambda: engine.sandbox.run(["sh", "-c", script], check=False).stdout == "hello\n")


def host_network(engine: Swarm) -> None:
    engine.serve("web", "--network", "host")
    (container,) = engine.wait_for_containers("web", 1)
    inside = engine.output("exec", container, "readlink", "/proc/self/ns/net")
    assert inside == engine.sandbox.run(["readlink", "/proc/self/ns/net"]).stdout.strip()


def limits(engine: Swarm) -> None:
    flags = ("--limit-memory", "64m", "--limit-cpu", "0.5", "--limit-pids", "77")
    engine.serve("web", *flags)
    (container,) = engine.wait_for_containers("web", 1)
    assert engine.cgroup_file(container, "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert engine.cgroup_file(container, "cpu", "cpu.cfs_quota_us") == "50000"
    assert engine.cgroup_file(container, "pids", "pids.max") == "77"


def secrets(engine: Swarm) -> None:
    """They and configs are files of the container's; so are its other mounts."""
    engine("secret", "create", "word", "-", input="sesame")
    engine("config", "create", "settings", "-", input="a=b")
    secret, config = "source=word,target=word,uid=1000,mode=0400", "source=settings,target=/set"
    files = ("--secret", secret, "--config", config)
    flags = ("--read-only", "--user", "1000", "--cap-drop", "ALL", "--mount", "type=tmpfs,target=/scratch")
    engine.serve("web", *files, *flags)
    (container,) = engine.wait_for_containers("web", 1)
    script = "cat /run/secrets/word /set; stat -c ' %u %a' /run/secrets/word; touch /scratch/x; touch /x"
    done = engine("exec", container, "sh", "-c", script, check=False)
    assert done.stdout == "sesamea=b 1000 400\n", done
    assert done.stderr.count("Read-only file system") == 1, done


def health(engine: Swarm) -> None:
    """A task runs when its check says so, and is replaced when it no longer does."""
    check = ("--health-cmd", "test ! -e /ill", "--health-interval", "1s", "--health-retries", "1")
    engine.serve("web", *check, "--restart-delay", "0s")
    (first,) = engine.wait_for_containers("web", 1)
    engine("exec", first, "touch", "/ill")
    wait_until(lambda: first not in engine.containers("web"), timeout=30)
    engine.wait_for_containers("web", 1)


SWARM: dict[str, Scenario] = {
    f"{REPLICAS} replicas, scaled and rolled over": scaled_and_rolled_over,
    "update that fails is rolled back": rolled_back,
    "task that ends is replaced": replaced,
    "overlay network": overlay_network,
    "published port": published_port,
    "the host's namespaces": host_network,
    "limits": limits,
    "secrets, configs, mounts": secrets,
    "healthcheck": health,
}
