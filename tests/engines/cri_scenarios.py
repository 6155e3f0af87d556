"""What the kubelet does, through the CRI. A scenario gets the engine, and raises AssertionError."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any

from tests.engines.cri import CONTAINER, EXITED, HANDLER, NODE, POD, RUNNING, CallFailed
from tests.engines.image import BUSYBOX
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engines.containerd import Cri

    Scenario = Callable[[Cri], None]

SERVER = ("sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done")
SHARED = {"network": NODE, "pid": CONTAINER, "ipc": POD}

_numbers = itertools.count()


class Pod:
    """A running pod; its containers write their logs below ``logs``."""

    def __init__(
        self, engine: Cri, sysctls: dict[str, str] | None = None, handler: str = "", **security: Any
    ) -> None:
        """Run it, on the node's network where ``namespace_options`` say nothing else.

        ``handler`` is what a RuntimeClass says; else the runtime is containerd's default.
        """
        name = f"pod{next(_numbers)}"
        self.service = engine.service
        self.sandbox = engine.sandbox
        self.logs = os.path.join(engine.sandbox.directory, "logs", name)
        os.makedirs(self.logs)
        self.config: dict[str, Any] = {
            "metadata": {"name": name, "uid": name, "namespace": "default"},
            "log_directory": self.logs,
            "linux": {
                "cgroup_parent": "/kubepods",
                "security_context": {"namespace_options": SHARED, **security},
                "sysctls": sysctls or {},
            },
        }
        if security.get("namespace_options", SHARED)["network"] != NODE:
            self.config["hostname"] = name
        self.id = self.service.run_pod(self.config, handler)

    def create(
        self,
        *words: str,
        security: dict[str, Any] | None = None,
        resources: dict[str, int] | None = None,
        **config: Any,
    ) -> str:
        """Create a container that will run ``words``; return its ID."""
        name = f"box{next(_numbers)}"
        options: dict[str, Any] = {"namespace_options": SHARED, **(security or {})}
        full = {
            "metadata": {"name": name},
            "image": {"image": BUSYBOX},
            "command": list(words),
            "log_path": f"{name}.log",
            "linux": {"security_context": options, "resources": resources or {}},
            **config,
        }
        container = self.service.create(self.id, full, self.config)
        self.log = os.path.join(self.logs, f"{name}.log")
        return container

    def start(self, *words: str, **config: Any) -> str:
        container = self.create(*words, **config)
        self.service.start(container)
        return container

    def output(self, *words: str, **config: Any) -> str:
        """Run a container to its end; return what it wrote to its log, without the log's own words."""
        container = self.start(*words, **config)
        wait_until(lambda: self.service.status(container).get("state") == EXITED, what="its end")
        return "".join(line.split(" ", 3)[3] for line in self.log_lines())

    def log_lines(self) -> list[str]:
        with open(self.log) as file:
            return file.readlines()


def run(engine: Cri) -> None:
    pod = Pod(engine)
    # Two pipes: which of them is read first is the engine's affair.
    assert sorted(pod.output("sh", "-c", "echo out; echo err >&2").split()) == ["err", "out"]
    streams = {line.split(" ")[1] for line in pod.log_lines()}
    assert streams == {"stdout", "stderr"}


def run_terminal(engine: Cri) -> None:
    assert "/dev/pts/0" in Pod(engine).output("tty", tty=True)


def run_detached(engine: Cri) -> None:
    pod = Pod(engine)
    container = pod.start(*SERVER)
    assert engine.service.status(container)["state"] == RUNNING
    wait_until(lambda: any(line.endswith("up\n") for line in pod.log_lines()))


def execute(engine: Cri) -> None:
    """As the kubelet's exec probes do."""
    container = Pod(engine).start(*SERVER)
    code, out, err = engine.service.exec(container, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (code, out, err) == (3, "out\n", "err\n")


def execute_terminal(engine: Cri) -> None:
    """As `kubectl exec -it` does."""
    container = Pod(engine).start(*SERVER)
    with engine.streams(engine.service.exec_url(container, "sh", tty=True)) as streams:
        streams.expect("# ")
        streams.resize(33, 77)
        streams.send("tty; until stty size | grep '33 77'; do sleep 0.1; done; exit 6\n")
        streams.expect("/dev/pts/")
        streams.expect("33 77\r\n")
        assert streams.wait() == 6, streams.out


def execute_streams(engine: Cri) -> None:
    """As `kubectl exec -i` does."""
    container = Pod(engine).start(*SERVER)
    words = ("sh", "-c", "read line; echo $line; echo err >&2; exit 3")
    with engine.streams(engine.service.exec_url(container, *words, tty=False)) as streams:
        streams.send("through\n")
        assert streams.wait() == 3
        assert (streams.out, streams.err) == ("through\n", "err\n")


def attach(engine: Cri) -> None:
    """As `kubectl run -it` does."""
    container = Pod(engine).start("sh", tty=True, stdin=True)
    with engine.streams(engine.service.attach_url(container, tty=True)) as streams:
        streams.send("echo at$((6 * 7))ed; exit 5\n")
        streams.expect("at42ed")
    wait_until(lambda: engine.service.status(container).get("state") == EXITED)
    assert engine.service.status(container)["exit_code"] == 5


def execute_failures(engine: Cri) -> None:
    container = Pod(engine).start(*SERVER)
    try:
        code, _, _ = engine.service.exec(container, "no-such-program")
        assert code != 0
    except CallFailed as error:
        assert "executable file not found in $PATH" in str(error)


def probe_timeout(engine: Cri) -> None:
    container = Pod(engine).start(*SERVER)
    began = time.monotonic()
    try:
        engine.service.exec(container, "sleep", "1000", timeout=1)
        raise AssertionError("the probe succeeded")
    except CallFailed as error:
        assert "DeadlineExceeded" in str(error) or "deadline" in str(error) or "timeout" in str(error), error
    assert time.monotonic() - began < 10
    assert engine.service.exec(container, "true")[0] == 0


def stop(engine: Cri) -> None:
    pod = Pod(engine)
    container = pod.start(*SERVER)
    wait_until(lambda: any(line.endswith("up\n") for line in pod.log_lines()))
    began = time.monotonic()
    engine.service.stop(container, 10)
    assert time.monotonic() - began < 8, "SIGTERM did not arrive"
    assert engine.service.status(container).get("exit_code", 0) == 0


def kill(engine: Cri) -> None:
    container = Pod(engine).start("sleep", "1000")
    engine.service.stop(container, 0)
    assert engine.service.status(container)["exit_code"] == 137


def restart(engine: Cri) -> None:
    """A pod's container is replaced by the next one, as after a crash."""
    pod = Pod(engine)
    first = pod.start("sh", "-c", "exit 1")
    wait_until(lambda: engine.service.status(first).get("state") == EXITED)
    second = pod.start(*SERVER)
    engine.service.remove(first)
    assert engine.service.status(second)["state"] == RUNNING


def limits(engine: Cri) -> None:
    resources = {
        "memory_limit_in_bytes": 64 << 20,
        "cpu_period": 100000,
        "cpu_quota": 50000,
        "cpu_shares": 300,
    }
    container = Pod(engine).start(*SERVER, resources=resources)
    assert control_files(engine, container) == [str(64 << 20), "50000", "300"]


def update(engine: Cri) -> None:
    container = Pod(engine).start(*SERVER, resources={"memory_limit_in_bytes": 64 << 20})
    engine.service.update(
        container, memory_limit_in_bytes=96 << 20, cpu_period=100000, cpu_quota=70000, cpu_shares=555
    )
    assert control_files(engine, container) == [str(96 << 20), "70000", "555"]


def control_files(engine: Cri, container: str) -> list[str]:
    """Return what the container sees as its memory limit, CPU quota and shares."""
    files = ("memory/memory.limit_in_bytes", "cpu/cpu.cfs_quota_us", "cpu/cpu.shares")
    _, out, err = engine.service.exec(container, "cat", *(f"/sys/fs/cgroup/{file}" for file in files))
    assert not err, err
    return out.split()


def out_of_memory(engine: Cri) -> None:
    pod = Pod(engine)
    container = pod.start("sh", "-c", "tail /dev/zero", resources={"memory_limit_in_bytes": 20 << 20})
    wait_until(lambda: engine.service.status(container).get("state") == EXITED)
    status = engine.service.status(container)
    assert status["exit_code"] == 137, status
    wait_until(lambda: engine.service.status(container)["reason"] == "OOMKilled", what="the reason OOMKilled")


def read_only_root(engine: Cri) -> None:
    output = Pod(engine).output("touch", "/file", security={"readonly_rootfs": True})
    assert "Read-only file system" in output


def volumes(engine: Cri) -> None:
    shared = os.path.join(engine.sandbox.directory, "shared")
    os.makedirs(shared, exist_ok=True)
    pod = Pod(engine)
    mount = {"container_path": "/data", "host_path": shared}
    pod.output("sh", "-c", "echo hello > /data/file", mounts=[mount])
    read_only = [mount | {"readonly": True}]
    assert pod.output("cat", "/data/file", mounts=read_only) == "hello\n"
    assert "Read-only file system" in pod.output("touch", "/data/x", mounts=read_only)


def users(engine: Cri) -> None:
    security = {"run_as_user": {"value": 1234}, "run_as_group": {"value": 4321}, "supplemental_groups": [77]}
    assert Pod(engine).output("id", security=security).strip() == "uid=1234 gid=4321 groups=77,4321"


def capabilities(engine: Cri) -> None:
    def effective(**lists: list[str]) -> int:
        words = ("sed", "-n", "s/^CapEff:.//p", "/proc/self/status")
        return int(pod.output(*words, security={"capabilities": lists}), 16)

    pod = Pod(engine)
    assert effective() & 1
    assert effective(add_capabilities=["NET_ADMIN"]) & 1 << 12
    assert effective(drop_capabilities=["ALL"]) == 0


def privileged(engine: Cri) -> None:
    pod = Pod(engine, privileged=True)
    output = pod.output("sed", "-n", "s/^CapEff:.//p", "/proc/self/status", security={"privileged": True})
    assert int(output, 16) & 1 << 21, output


def no_new_privileges(engine: Cri) -> None:
    output = Pod(engine).output("grep", "NoNewPrivs", "/proc/self/status", security={"no_new_privs": True})
    assert output.split()[1] == "1"


def seccomp(engine: Cri) -> None:
    """Profile type 0 is the runtime's default, 1 is none."""
    pod = Pod(engine)
    for kind, mode in ((0, "2"), (1, "0")):
        words = ("grep", "Seccomp:", "/proc/self/status")
        output = pod.output(*words, security={"seccomp": {"profile_type": kind, "localhost_ref": ""}})
        assert output.split()[1] == mode, output


def pod_network(engine: Cri) -> None:
    """A network namespace of the pod's own, set up by CNI, which all its containers share."""
    options: dict[str, Any] = {"namespace_options": {"network": POD, "pid": CONTAINER, "ipc": POD}}
    pod = Pod(engine, **options)
    address = engine.service.pod_status(pod.id)["network"]["ip"]
    assert address.startswith("10.99.")
    server = pod.start("sh", "-c", "echo hello | nc -l -p 8080", security=options)
    code, out, _ = engine.service.exec(server, "ip", "addr", "show", "eth0")
    assert code == 0
    assert address in out
    assert pod.output("sh", "-c", "nc 127.0.0.1 8080", security=options) == "hello\n"


def shared_pid_namespace(engine: Cri) -> None:
    options: dict[str, Any] = {"namespace_options": {"network": NODE, "pid": POD, "ipc": POD}}
    pod = Pod(engine, **options)
    assert "sleep" in pod.output("cat", "/proc/1/cmdline", security=options)


def namespaces_of_the_host(engine: Cri) -> None:
    options: dict[str, Any] = {"namespace_options": {"network": NODE, "pid": NODE, "ipc": NODE}}
    script = "for kind in net pid ipc; do readlink /proc/self/ns/$kind; done"
    output = Pod(engine, **options).output("sh", "-c", script, security=options)
    assert output == engine.sandbox.run(["sh", "-c", script]).stdout


def sysctl_and_hostname(engine: Cri) -> None:
    options: dict[str, Any] = {"namespace_options": {"network": POD, "pid": CONTAINER, "ipc": POD}}
    pod = Pod(engine, {"net.ipv4.ip_unprivileged_port_start": "7"}, **options)
    name = pod.config["metadata"]["name"]
    script = "hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
    assert pod.output("sh", "-c", script, security=options).split() == [name, "7"]


def devices(engine: Cri) -> None:
    assert "No such file" in Pod(engine).output("ls", "/dev/fuse")
    if os.path.exists("/dev/fuse"):
        device = {"container_path": "/dev/fuse", "host_path": "/dev/fuse", "permissions": "rw"}
        output = Pod(engine).output("sh", "-c", "exec 3<>/dev/fuse && echo open", devices=[device])
        assert output == "open\n", output


def working_directory(engine: Cri) -> None:
    output = Pod(engine).output("pwd", working_dir="/made/on/the/way")
    assert output == "/made/on/the/way\n", output


def runtime_class(engine: Cri) -> None:
    assert Pod(engine, handler=HANDLER).output("echo", "hello") == "hello\n"
    try:
        Pod(engine, handler="nobody")
        raise AssertionError("it runs")
    except CallFailed as error:
        assert 'no runtime for "nobody"' in str(error), error


def exit_codes(engine: Cri) -> None:
    pod = Pod(engine)
    container = pod.start("sh", "-c", "exit 42")
    wait_until(lambda: engine.service.status(container).get("state") == EXITED)
    assert engine.service.status(container)["exit_code"] == 42


def start_failure(engine: Cri, *words: str) -> str:
    """Return the message of a container that cannot be started. Its exit code is 128 then."""
    pod = Pod(engine)
    container = pod.create(*words)
    try:
        engine.service.start(container)
    except CallFailed as error:
        assert engine.service.status(container)["exit_code"] == 128
        return str(error).replace("\\", "")
    raise AssertionError("it started")


def missing_command(engine: Cri) -> None:
    text = start_failure(engine, "no-such-program")
    assert 'exec: "no-such-program": executable file not found in $PATH' in text, text


def directory_as_command(engine: Cri) -> None:
    text = start_failure(engine, "/etc")
    assert "is a directory" in text or "permission denied" in text, text


def unexecutable_command(engine: Cri) -> None:
    text = start_failure(engine, "/etc/passwd")
    assert "permission denied" in text.lower(), text


def statistics(engine: Cri) -> None:
    container = Pod(engine).start(*SERVER)
    stats = engine.service.stats(container)
    assert stats["memory"]["working_set_bytes"]["value"] > 0, stats


CRI: dict[str, Scenario] = {
    "run": run,
    "run -it": run_terminal,
    "run, detached": run_detached,
    "exec": execute,
    "exec -i": execute_streams,
    "exec -it": execute_terminal,
    "attach": attach,
    "exec: 126, 127": execute_failures,
    "exec probe that times out": probe_timeout,
    "stop": stop,
    "kill": kill,
    "restart": restart,
    "limits": limits,
    "update of limits": update,
    "out of memory": out_of_memory,
    "read-only root": read_only_root,
    "volumes": volumes,
    "users": users,
    "capabilities": capabilities,
    "privileged": privileged,
    "no new privileges": no_new_privileges,
    "seccomp, default profile": seccomp,
    "pod's network (CNI)": pod_network,
    "another container's namespaces": shared_pid_namespace,
    "the host's namespaces": namespaces_of_the_host,
    "devices": devices,
    "working directory is made": working_directory,
    "sysctl, hostname": sysctl_and_hostname,
    "runtime handler (RuntimeClass)": runtime_class,
    "exit codes, 125": exit_codes,
    "missing command: 127": missing_command,
    "directory as command: 126": directory_as_command,
    "file that is not executable: 126": unexecutable_command,
    "stats": statistics,
}
