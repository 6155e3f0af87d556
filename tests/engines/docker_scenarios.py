"""What is done with Docker and Podman. A scenario gets the engine, and raises AssertionError."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

from tests.engines.image import BUSYBOX
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engines.docker import Docklike

    Scenario = Callable[[Docklike], None]

#: Obeys SIGTERM, which the first process of a PID namespace does not do by itself.
SERVER = ("sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done")


def run(engine: Docklike) -> None:
    done = engine.run("sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n"), done
    assert engine.run("cat", flags=("--interactive",), input="through").stdout == "through"


def run_terminal(engine: Docklike) -> None:
    with engine.on_terminal("run", "--rm", "-it", BUSYBOX, "sh") as terminal:
        terminal.screen.expect("# ")
        # Docker tells the size once the container runs.
        terminal.screen.send("tty; until stty size | grep '24 80'; do sleep 0.1; done; exit 4\n")
        terminal.screen.expect("/dev/pts/0")
        terminal.screen.expect("\n24 80")
        assert terminal.wait() == 4, terminal.screen.seen


def run_detached(engine: Docklike) -> None:
    engine.start("box", *SERVER)
    assert engine.inspect("box", "{{.State.Status}}") == "running"
    wait_until(lambda: engine.output("logs", "box") == "up")


def execute(engine: Docklike) -> None:
    engine.start("box", *SERVER)
    assert engine.output("exec", "box", "hostname")
    done = engine(
        "exec",
        "--env",
        "A=b c",
        "--workdir",
        "/tmp",
        "box",
        "sh",
        "-c",
        'echo "$A" "$PWD"; exit 3',
        check=False,
    )
    assert (done.stdout, done.returncode) == ("b c /tmp\n", 3), done
    assert engine.output("exec", "--user", "1000:1000", "box", "id", "-u") == "1000"
    assert engine("exec", "-i", "box", "cat", input="in").stdout == "in"


def execute_terminal(engine: Docklike) -> None:
    engine.start("box", *SERVER)
    with engine.on_terminal("exec", "-it", "box", "sh") as terminal:
        terminal.screen.expect("# ")
        terminal.screen.send("tty; exit 6\n")
        terminal.screen.expect("/dev/pts/")
        assert terminal.wait() == 6, terminal.screen.seen


def attach(engine: Docklike) -> None:
    engine.start("box", "sh", flags=("-i", "-t"))
    with engine.on_terminal("attach", "box") as terminal:
        terminal.screen.send("echo at$((6 * 7))ed; exit 5\n")
        terminal.screen.expect("at42ed")
        assert terminal.wait() == 5 or engine.name != "Docker", terminal.screen.seen
    engine.wait_for("box", "{{.State.ExitCode}}", "5")


def execute_failures(engine: Docklike) -> None:
    engine.start("box", *SERVER)
    missing = engine("exec", "box", "no-such-program", check=False)
    assert missing.returncode in (126, 127), missing  # Docker 20.10 makes no difference here
    denied = engine("exec", "box", "/etc", check=False)
    assert denied.returncode == 126, denied


def stop(engine: Docklike) -> None:
    engine.start("box", *SERVER)
    wait_until(lambda: "up" in engine.output("logs", "box"))
    began = time.monotonic()
    engine("stop", "box")
    assert time.monotonic() - began < 8, "SIGTERM did not arrive"
    assert engine.inspect("box", "{{.State.ExitCode}}") == "0"


def kill(engine: Docklike) -> None:
    engine.start("box", "sleep", "1000")
    engine("kill", "box")
    engine.wait_for("box", "{{.State.Status}}", "exited")
    assert engine.inspect("box", "{{.State.ExitCode}}") == "137"


def pause(engine: Docklike) -> None:
    engine.start("box", "sh", "-c", "while :; do echo . >> /count; sleep 0.05; done")
    engine("pause", "box")
    assert engine.inspect("box", "{{.State.Status}}") == "paused"
    root = f"/proc/{engine.pid('box')}/root/count"
    before = engine.sandbox.run(["cat", root]).stdout
    time.sleep(0.4)
    assert engine.sandbox.run(["cat", root]).stdout == before, "it goes on while it is paused"
    engine("unpause", "box")
    wait_until(lambda: engine.sandbox.run(["cat", root]).stdout != before)


def restart(engine: Docklike) -> None:
    engine.start("box", *SERVER)
    first = engine.pid("box")
    engine("restart", "--time", "2", "box")
    assert engine.inspect("box", "{{.State.Status}}") == "running"
    assert engine.pid("box") != first


def restart_policy(engine: Docklike) -> None:
    engine.start("box", "sh", "-c", "sleep 0.1; exit 1", flags=("--restart", "on-failure:2"))
    engine.wait_for("box", "{{.RestartCount}} {{.State.Status}}", "2 exited")


def limits(engine: Docklike) -> None:
    flags = (
        "--memory",
        "64m",
        "--memory-swap",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "77",
        "--cpu-shares",
        "300",
    )
    engine.start("box", *SERVER, flags=flags)
    assert engine.cgroup_file("box", "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert engine.cgroup_file("box", "cpu", "cpu.cfs_quota_us") == "50000"
    assert engine.cgroup_file("box", "cpu", "cpu.shares") == "300"
    assert engine.cgroup_file("box", "pids", "pids.max") == "77"


def update(engine: Docklike) -> None:
    engine.start("box", *SERVER, flags=("--memory", "64m", "--memory-swap", "64m"))
    engine("update", "--memory", "96m", "--memory-swap", "96m", "--cpu-shares", "555", "box")
    assert engine.cgroup_file("box", "memory", "memory.limit_in_bytes") == str(96 << 20)
    assert engine.cgroup_file("box", "cpu", "cpu.shares") == "555"


def resource_limits(engine: Docklike) -> None:
    """Of setrlimit(2); nobody needs a privilege to lower them."""
    flags = ("--ulimit", "nofile=55:66", "--ulimit", "nproc=777:888")
    limits = engine.run("cat", "/proc/self/limits", flags=flags).stdout.replace(" ", "")
    assert "Maxopenfiles5566files" in limits, limits
    assert "Maxprocesses777888processes" in limits, limits


def small_memory(engine: Docklike) -> None:
    """6 MiB is the least that Docker takes: the runtime's own memory must not be charged."""
    assert engine.run("echo", "fits", flags=("--memory", "6m")).stdout == "fits\n"
    engine.start("box", "sleep", "1000", flags=("--memory", "6m"))
    assert engine.output("exec", "box", "echo", "fits") == "fits"


def out_of_memory(engine: Docklike) -> None:
    flags = ("--memory", "20m", "--memory-swap", "20m")
    engine("run", "--name", "box", *flags, BUSYBOX, "sh", "-c", "tail /dev/zero", check=False)
    state = engine.inspect("box", "{{.State.ExitCode}} {{.State.OOMKilled}}")
    # conmon asks for the event of a cgroup that is gone by then, with every runtime.
    assert state == "137 true" or (engine.name == "Podman" and state == "137 false"), state


def healthcheck(engine: Docklike) -> None:
    flags = ("--health-cmd", "test -e /healthy", "--health-interval", "1s", "--health-retries", "1")
    engine.start("box", *SERVER, flags=flags)
    if engine.name == "Docker":
        engine.wait_for("box", "{{.State.Health.Status}}", "unhealthy")
        engine("exec", "box", "touch", "/healthy")
        engine.wait_for("box", "{{.State.Health.Status}}", "healthy")
    else:  # Podman leaves the timer to systemd
        assert engine("healthcheck", "run", "box", check=False).returncode == 1
        engine("exec", "box", "touch", "/healthy")
        assert engine("healthcheck", "run", "box", check=False).returncode == 0


def read_only_root(engine: Docklike) -> None:
    done = engine.run("touch", "/file", flags=("--read-only",), check=False)
    assert done.returncode == 1, done
    assert "Read-only file system" in done.stderr
    engine.run("touch", "/tmp/file", flags=("--read-only", "--tmpfs", "/tmp"))


def tmpfs(engine: Docklike) -> None:
    done = engine.run(
        "sh", "-c", "mount | grep ' /scratch '", flags=("--tmpfs", "/scratch:size=1m,mode=1700,noexec")
    )
    for word in ("tmpfs", "size=1024k", "mode=1700", "noexec"):
        assert word in done.stdout, done.stdout


def tmpfs_of_a_user(engine: Docklike) -> None:
    """Who is not root can write to it, also where the image has no such directory, at each start."""
    flags = (
        "--user",
        "1000",
        "--tmpfs",
        "/made:mode=1777",
        "--tmpfs",
        "/made/deep:mode=1777",
        "--tmpfs",
        "/tmp",
    )
    script = "for place in /made /made/deep /tmp; do echo x > $place/file && cat $place/file; done"
    engine("create", "--name", "box", *flags, BUSYBOX, "sh", "-c", script)
    for _ in ("first", "second"):
        assert engine("start", "--attach", "box").stdout == "x\nx\nx\n"


def file_on_directory(engine: Docklike) -> None:
    """Docker tells by the runtime's words what is wrong with a volume."""
    source = os.path.join(engine.sandbox.directory, "a-file")
    with open(source, "w") as file:
        file.write("content")
    for volume in (f"{source}:/etc", f"{engine.sandbox.directory}:/bin/busybox"):
        done = engine.run("true", flags=("--volume", volume), check=False)
        assert done.returncode in (125, 126, 127), done
        assert "not a directory" in done.stderr.lower(), done
        if engine.name == "Docker":
            assert "Are you trying to mount a directory onto a file (or vice-versa)?" in done.stderr, done


def volumes(engine: Docklike) -> None:
    shared = tempfile.mkdtemp(dir=engine.sandbox.directory)
    os.chmod(shared, 0o777)
    engine.run("sh", "-c", "echo hello > /data/file", flags=("--volume", f"{shared}:/data"))
    assert engine.run("cat", "/data/file", flags=("-v", f"{shared}:/data:ro")).stdout == "hello\n"
    assert engine.run("touch", "/data/x", flags=("-v", f"{shared}:/data:ro"), check=False).returncode == 1
    engine.run("sh", "-c", "echo named > /data/file", flags=("--volume", "keep:/data"))
    assert engine.run("cat", "/data/file", flags=("--volume", "keep:/data")).stdout == "named\n"
    engine("volume", "rm", "keep")


def users(engine: Docklike) -> None:
    done = engine.run("sh", "-c", "id -u; id -g; umask", flags=("--user", "1234:4321"))
    assert done.stdout.split()[:2] == ["1234", "4321"], done.stdout
    assert engine.run("id", "-u", flags=("--user", "user")).stdout == "1000\n"


def capabilities(engine: Docklike) -> None:
    """CAP_CHOWN is bit 0, CAP_NET_ADMIN bit 12 of the mask."""

    def effective(*flags: str) -> int:
        return int(engine.run("sed", "-n", "s/^CapEff://p", "/proc/self/status", flags=flags).stdout, 16)

    assert effective() & 1
    assert not effective() & 1 << 12
    assert effective("--cap-add", "NET_ADMIN") & 1 << 12
    assert effective("--cap-drop", "ALL") == 0


def privileged(engine: Docklike) -> None:
    """All capabilities, as far as the engine has them; the host's devices; nothing read-only in /proc."""
    done = engine.run("sed", "-n", "s/^CapEff://p", "/proc/self/status", flags=("--privileged",))
    assert int(done.stdout, 16) & 1 << 21, "no CAP_SYS_ADMIN"
    engine.run("mount", "-t", "tmpfs", "none", "/tmp", flags=("--privileged",))


def no_new_privileges(engine: Docklike) -> None:
    done = engine.run(
        "grep", "NoNewPrivs", "/proc/self/status", flags=("--security-opt", "no-new-privileges")
    )
    assert done.stdout.split() == ["NoNewPrivs:", "1"]


def seccomp(engine: Docklike) -> None:
    """Docker's default profile forbids unshare(2) to those without CAP_SYS_ADMIN, Podman's does not."""
    assert engine.run("grep", "Seccomp:", "/proc/self/status").stdout.split() == ["Seccomp:", "2"]
    done = engine.run("unshare", "--user", "true", check=False)
    assert done.returncode == (1 if engine.name == "Docker" else 0), done
    unconfined = ("--security-opt", "seccomp=unconfined")
    assert engine.run("grep", "Seccomp:", "/proc/self/status", flags=unconfined).stdout.split()[1] == "0"


def device_rules(engine: Docklike) -> None:
    """Of both kinds with numbers: the kernel would take it for a rule about all devices."""
    engine.start("box", *SERVER, flags=("--device-cgroup-rule", "a 7:1 rmw"))
    rules = engine.cgroup_file("box", "devices", "devices.list").splitlines()
    assert {"c 7:1 rwm", "b 7:1 rwm"} <= set(rules), rules
    assert not any(rule.startswith("a ") for rule in rules), rules


def devices(engine: Docklike) -> None:
    done = engine.run("sh", "-c", "echo x > /dev/null; head -c 4 /dev/zero | wc -c; ls -l /dev/ptmx /dev/fd")
    assert done.stdout.startswith("4\n"), done.stdout
    assert engine.run("ls", "/dev/fuse", check=False).returncode == 1
    if os.path.exists("/dev/fuse"):
        engine.run("sh", "-c", "exec 3<>/dev/fuse", flags=("--device", "/dev/fuse"))
    assert engine.run("sh", "-c", "mknod /x b 254 0 && cat /x", check=False).returncode != 0


def sysctl_and_hostname(engine: Docklike) -> None:
    flags = ("--hostname", "named", "--sysctl", "net.ipv4.ip_unprivileged_port_start=7")
    done = engine.run("sh", "-c", "hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start", flags=flags)
    assert done.stdout.split() == ["named", "7"]


def init_process(engine: Docklike) -> None:
    done = engine.run("sh", "-c", "cat /proc/1/comm", flags=("--init",))
    assert done.stdout.strip() not in ("", "cat", "sh"), done.stdout


def shared_namespaces(engine: Docklike) -> None:
    engine.start("box", *SERVER)
    done = engine.run("sh", "-c", "cat /proc/1/cmdline", flags=("--pid", "container:box"))
    assert "trap" in done.stdout
    net = engine.output("exec", "box", "readlink", "/proc/self/ns/net")
    joined = engine.run("readlink", "/proc/self/ns/net", flags=("--network", "container:box")).stdout.strip()
    assert joined == net


def network(engine: Docklike) -> None:
    """A network of the engine's: the runtime's hooks, or a namespace that is there already, bring it in."""
    engine("network", "create", "between")
    try:
        words = ("sh", "-c", "while :; do echo hello | nc -l -p 8080; done")
        engine.start("box", *words, flags=("--network", "between"))
        address = engine.inspect("box", '{{(index .NetworkSettings.Networks "between").IPAddress}}')
        script = f"until nc {address} 8080 < /dev/null; do sleep 0.1; done"
        done = engine.run("timeout", "10", "sh", "-c", script, flags=("--network", "between"))
        assert done.stdout == "hello\n", done
    finally:
        engine.remove_all()
        engine("network", "rm", "between")


def namespaces_of_the_host(engine: Docklike) -> None:
    flags = ["--network", "host", "--pid", "host", "--uts", "host"]
    kinds = "net pid uts"
    if engine.name != "Podman, rootless":  # who binds /dev/mqueue, which not every host has
        flags += ["--ipc", "host"]
        kinds += " ipc"
    script = f"for kind in {kinds}; do readlink /proc/self/ns/$kind; done"
    inside = engine.run("sh", "-c", script, flags=tuple(flags)).stdout
    assert inside == engine.sandbox.run(["sh", "-c", script]).stdout


def exit_codes(engine: Docklike) -> None:
    assert engine.run("sh", "-c", "exit 42", check=False).returncode == 42
    assert engine.run("sh", "-c", "kill -TERM $$; sleep 1; kill -KILL $$", check=False).returncode in (137, 0)
    wrong = engine.run("true", flags=("--no-such-flag",), check=False)
    assert wrong.returncode == 125, wrong


def missing_command(engine: Docklike) -> None:
    done = engine.run("no-such-program", check=False)
    assert done.returncode == 127, done
    assert 'exec: "no-such-program": executable file not found in $PATH' in done.stderr.replace('\\"', '"'), (
        done
    )
    done = engine.run("/no/such/program", check=False)
    assert done.returncode == 127, done


def directory_as_command(engine: Docklike) -> None:
    done = engine.run("/etc", check=False)
    assert done.returncode == 126, done


def unexecutable_command(engine: Docklike) -> None:
    done = engine.run("/etc/passwd", check=False)
    assert done.returncode == 126, done
    assert "permission denied" in done.stderr.lower(), done


def refused_program(engine: Docklike) -> None:
    """What the kernel refuses to execute has not run well, and nothing of it is left."""
    shared = tempfile.mkdtemp(dir=engine.sandbox.directory)
    os.chmod(shared, 0o755)
    for name, content in (("plain", "echo no interpreter\n"), ("lost", "#!/no/such/interpreter\n")):
        script = os.path.join(shared, name)
        with open(script, "w") as file:
            file.write(content)
        os.chmod(script, 0o755)
        volume = ("--volume", f"{shared}:/scripts")
        done = engine.run(f"/scripts/{name}", flags=volume, check=False)
        assert done.returncode, done
        assert name == "lost" or "exec format error" in done.stderr.lower(), done
        engine("create", "--name", name, *volume, BUSYBOX, f"/scripts/{name}")
        assert engine("start", name, check=False).returncode
        # Podman takes a container that could not be started for one that was not.
        assert engine.name != "Docker" or engine.output("wait", name) != "0"


def working_directory(engine: Docklike) -> None:
    done = engine.run("pwd", flags=("--workdir", "/made/on/the/way"))
    assert done.stdout == "/made/on/the/way\n"


def processes(engine: Docklike) -> None:
    engine.start("box", *SERVER)
    assert "trap" in engine.output("top", "box")


def statistics(engine: Docklike) -> None:
    engine.start("box", *SERVER)
    assert "B / " in engine.output("stats", "--no-stream", "box")


def copies(engine: Docklike) -> None:
    engine.start("box", *SERVER)
    source = os.path.join(engine.sandbox.directory, "copied")
    with open(source, "w") as file:
        file.write("content")
    engine("cp", source, "box:/tmp/copied")
    assert engine.output("exec", "box", "cat", "/tmp/copied") == "content"


def podman_user_namespace(engine: Docklike) -> None:
    flags = ("--uidmap", "0:100000:5000", "--gidmap", "0:200000:5000")
    done = engine.run("sh", "-c", "id -u; cat /proc/self/uid_map", flags=flags)
    assert done.stdout.split() == ["0", "0", "100000", "5000"]
    streams(engine, *flags)


def streams(engine: Docklike, *flags: str) -> None:
    """The user of a namespace opens its standard streams again by name, as many images' programs do."""
    done = engine.run("sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr", flags=flags)
    assert (done.stdout, done.stderr) == ("out\n", "err\n"), done


def rootless_user_namespace(engine: Docklike) -> None:
    """The user is root inside, or keeps the ID; or it is a namespace within Podman's own."""
    script = "id -u; stat -c %u /shared; head -n 1 /proc/self/uid_map"
    volume = ("--volume", f"{engine.sandbox.directory}/rootless:/shared")

    def numbers(*flags: str) -> list[str]:
        return engine.run("sh", "-c", script, flags=(*volume, *flags)).stdout.split()

    assert numbers() == ["0", "0", "0", "1000", "1"]
    assert numbers("--userns", "keep-id")[:2] == ["1000", "1000"]
    assert numbers("--uidmap", "0:1:5000") == ["0", "65534", "0", "1", "5000"]


def members_of_group_0(engine: Docklike) -> None:
    """As in Alpine's images: root is in groups by /etc/group, and engines ask for all of them."""
    lines = "root:x:0:root\nbin:x:1:root,bin\nuser:x:1000:"
    engine("run", "--name", "box", BUSYBOX, "sh", "-c", f"printf '{lines}\n' > /etc/group")
    try:
        engine("commit", "--quiet", "box", "localhost/grouped")
        done = engine("run", "--rm", "localhost/grouped", "id", "-u")
        assert done.stdout == "0\n", done
        engine("run", "--detach", "--name", "grouped", "localhost/grouped", *SERVER)
        assert engine.output("exec", "grouped", "id", "-u") == "0"
        engine("rm", "--force", "--time", "0", "grouped")
    finally:
        engine("rm", "--force", "box")
        engine("rmi", "--force", "localhost/grouped", check=False)


def systemd_mode(engine: Docklike) -> None:
    """What Podman mounts for a systemd inside; no more of it than /run can be told without one."""
    script = "test -d /run/lock && touch /run/mine /tmp/mine && echo $container"
    assert engine.run("sh", "-c", script, flags=("--systemd=always",)).stdout == "podman\n"
    engine.start("box", *SERVER, flags=("--systemd=always",))
    assert engine.output("exec", "box", "sh", "-c", script) == "podman"
    engine("kill", "box")


def pods(engine: Docklike) -> None:
    infra = ("--infra-image", "docker.io/library/naja-pause:test")
    engine("pod", "create", "--name", "group", "--share", "ipc,uts", *infra)
    try:
        engine("run", "--detach", "--pod", "group", "--name", "box", BUSYBOX, *SERVER)
        assert engine.output("exec", "box", "hostname") == "group"
    finally:
        engine("pod", "rm", "--force", "--time", "0", "group")


def docker_user_namespace(engine: Docklike) -> None:
    """For a daemon with userns-remap."""
    done = engine.run("sh", "-c", "id -u; cat /proc/self/uid_map")
    assert done.stdout.split() == ["0", "0", "100000", "65536"], done
    streams(engine)
    engine.start("box", *SERVER)
    assert engine.output("exec", "box", "id", "-u") == "0"
    assert engine.run("id", "-u", flags=("--userns", "host")).stdout == "0\n"


COMMON: dict[str, Scenario] = {
    "run": run,
    "run -it": run_terminal,
    "run, detached": run_detached,
    "exec": execute,
    "exec -it": execute_terminal,
    "attach": attach,
    "exec: 126, 127": execute_failures,
    "stop": stop,
    "kill": kill,
    "pause, unpause": pause,
    "restart": restart,
    "restart policy": restart_policy,
    "limits": limits,
    "update of limits": update,
    "rlimits": resource_limits,
    "6 MiB of memory": small_memory,
    "out of memory": out_of_memory,
    "healthcheck": healthcheck,
    "read-only root": read_only_root,
    "tmpfs": tmpfs,
    "tmpfs of a user": tmpfs_of_a_user,
    "volumes": volumes,
    "file on a directory": file_on_directory,
    "users": users,
    "capabilities": capabilities,
    "privileged": privileged,
    "no new privileges": no_new_privileges,
    "seccomp, default profile": seccomp,
    "devices": devices,
    "device rules": device_rules,
    "sysctl, hostname": sysctl_and_hostname,
    "init process": init_process,
    "network": network,
    "another container's namespaces": shared_namespaces,
    "the host's namespaces": namespaces_of_the_host,
    "exit codes, 125": exit_codes,
    "missing command: 127": missing_command,
    "directory as command: 126": directory_as_command,
    "file that is not executable: 126": unexecutable_command,
    "program that the kernel refuses": refused_program,
    "top": processes,
    "stats": statistics,
    "cp": copies,
}

DOCKER: dict[str, Scenario] = COMMON | {
    "working directory is made": working_directory,
}
PODMAN: dict[str, Scenario] = COMMON | {
    "user namespace": podman_user_namespace,
    "pod": pods,
    "groups of the image's root": members_of_group_0,
    "--systemd=always": systemd_mode,
}
#: For a Docker daemon with ``userns-remap``.
REMAPPED: dict[str, Scenario] = {"user namespace": docker_user_namespace}
#: Without the scenarios of cgroups, which a user gets on v2 only, of the host's devices, and of networks
#: (slirp4netns or pasta would make them).
ROOTLESS: dict[str, Scenario] = {
    name: scenario
    for name, scenario in PODMAN.items()
    if name
    not in {
        *("pause, unpause", "limits", "update of limits", "6 MiB of memory", "out of memory", "stats"),
        *("devices", "device rules", "network"),
    }
} | {"user namespace": rootless_user_namespace}
#: What can go wrong with one ID alone: the change of user and groups.
RANGELESS: dict[str, Scenario] = {
    "run": run,
    "exec: 126, 127": execute_failures,
    "groups of the image's root": members_of_group_0,
    "--systemd=always": systemd_mode,
}
