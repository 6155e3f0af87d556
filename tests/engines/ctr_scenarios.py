"""What is done with containerd through `ctr`. A scenario gets the engine, and raises AssertionError."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engines.containerd import Ctr

    Scenario = Callable[[Ctr], None]

#: Obeys SIGTERM, which the first process of a PID namespace does not do by itself.
SERVER = ("sh", "-c", "trap 'exit 0' TERM; touch /up; while :; do sleep 0.1; done")


def run(engine: Ctr) -> None:
    done = engine.run("sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n"), done


def run_terminal(engine: Ctr) -> None:
    with engine.on_terminal(*engine.run_words("once", ("sh",), ("--rm", "--tty"))) as terminal:
        terminal.screen.expect("# ")
        terminal.screen.send("tty; exit 4\n")
        terminal.screen.expect("/dev/pts/0")
        assert terminal.wait() == 4, terminal.screen.seen


def run_detached(engine: Ctr) -> None:
    engine.start("box", *SERVER)
    assert engine.status("box") == "RUNNING"


def execute(engine: Ctr) -> None:
    engine.start("box", *SERVER)
    done = engine.exec("box", "sh", "-c", "pwd; exit 3", flags=("--cwd", "/tmp"), check=False)
    assert (done.stdout, done.returncode) == ("/tmp\n", 3), done
    assert engine.exec("box", "id", "-u", flags=("--user", "1000:1000")).stdout == "1000\n"


def execute_terminal(engine: Ctr) -> None:
    engine.start("box", *SERVER)
    words = ("tasks", "exec", "--exec-id", "e1", "--tty", "box", "sh")
    with engine.on_terminal(*words) as terminal:
        terminal.screen.expect("# ")
        terminal.screen.send("tty; exit 6\n")
        terminal.screen.expect("/dev/pts/")
        assert terminal.wait() == 6, terminal.screen.seen


def execute_failures(engine: Ctr) -> None:
    engine.start("box", *SERVER)
    missing = engine.exec("box", "no-such-program", check=False)
    assert 'exec: "no-such-program": executable file not found in $PATH' in missing.stderr.replace("\\", "")
    assert engine.exec("box", "/etc", check=False).returncode != 0


def stop(engine: Ctr) -> None:
    engine.start("box", *SERVER)
    wait_until(lambda: engine.exec("box", "test", "-e", "/up", check=False).returncode == 0)
    engine.call("tasks", "kill", "--signal", "SIGTERM", "box")
    wait_until(lambda: engine.status("box") == "STOPPED")


def kill(engine: Ctr) -> None:
    engine.start("box", "sleep", "1000")
    engine.call("tasks", "kill", "--signal", "SIGKILL", "box")
    wait_until(lambda: engine.status("box") == "STOPPED")
    engine.call("tasks", "delete", "box", check=False)  # its exit code is the container's
    assert engine.status("box") == ""


def kill_all(engine: Ctr) -> None:
    engine.start("box", "sh", "-c", "sleep 1000 & sleep 1000 & wait")
    engine.call("tasks", "kill", "--all", "--signal", "SIGKILL", "box")
    wait_until(lambda: engine.status("box") == "STOPPED")


def pause(engine: Ctr) -> None:
    engine.start("box", "sh", "-c", "while :; do echo . >> /count; sleep 0.05; done")
    count = f"/proc/{engine.pid('box')}/root/count"
    engine.call("tasks", "pause", "box")
    assert engine.status("box") == "PAUSED"
    before = engine.sandbox.run(["cat", count]).stdout
    time.sleep(0.4)
    assert engine.sandbox.run(["cat", count]).stdout == before, "it goes on while it is paused"
    engine.call("tasks", "resume", "box")
    wait_until(lambda: engine.sandbox.run(["cat", count]).stdout != before)


def restart(engine: Ctr) -> None:
    engine.start("box", "sleep", "1000")
    engine.call("tasks", "delete", "--force", "box", check=False)
    engine.call("tasks", "start", "--detach", "box")
    assert engine.status("box") == "RUNNING"


def limits(engine: Ctr) -> None:
    engine.start("box", *SERVER, flags=("--memory-limit", str(64 << 20), "--cpus", "0.5"))
    pid = engine.pid("box")
    script = f"""cd /proc/{pid}; for place in memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us; do
        hierarchy=${{place%%/*}}
        cat /sys/fs/cgroup/$hierarchy$(sed -n "s/^[0-9]*:$hierarchy://p" cgroup)/${{place##*/}}; done"""
    assert engine.sandbox.run(["sh", "-c", script]).stdout.split() == [str(64 << 20), "50000"]


def out_of_memory(engine: Ctr) -> None:
    done = engine.run("sh", "-c", "tail /dev/zero", flags=("--memory-limit", str(20 << 20)), check=False)
    assert done.returncode == 137, done


def read_only_root(engine: Ctr) -> None:
    done = engine.run("touch", "/file", flags=("--read-only",), check=False)
    assert done.returncode == 1, done
    assert "Read-only file system" in done.stderr


def tmpfs(engine: Ctr) -> None:
    mount = "type=tmpfs,src=tmpfs,dst=/scratch,options=size=1m:mode=1700:noexec"
    done = engine.run("sh", "-c", "mount | grep ' /scratch '", flags=("--mount", mount))
    for word in ("tmpfs", "size=1024k", "mode=1700", "noexec"):
        assert word in done.stdout, done.stdout


def volumes(engine: Ctr) -> None:
    shared = os.path.join(engine.sandbox.directory, "shared")
    os.makedirs(shared, exist_ok=True)
    mount = f"type=bind,src={shared},dst=/data,options=rbind:"
    engine.run("sh", "-c", "echo hello > /data/file", flags=("--mount", mount + "rw"))
    assert engine.run("cat", "/data/file", flags=("--mount", mount + "ro")).stdout == "hello\n"
    assert engine.run("touch", "/data/x", flags=("--mount", mount + "ro"), check=False).returncode == 1


def user_namespace(engine: Ctr) -> None:
    flags = ("--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536")
    done = engine.run("sh", "-c", "id -u; cat /proc/self/uid_map", flags=flags)
    assert done.stdout.split() == ["0", "0", "100000", "65536"], done


def no_new_privileges(engine: Ctr) -> None:
    """The default of ctr."""
    words = ("grep", "NoNewPrivs", "/proc/self/status")
    assert engine.run(*words).stdout.split()[1] == "1"
    assert engine.run(*words, flags=("--allow-new-privs",)).stdout.split()[1] == "0"


def devices(engine: Ctr) -> None:
    assert engine.run("ls", "/dev/fuse", check=False).returncode == 1
    if os.path.exists("/dev/fuse"):
        engine.run("sh", "-c", "exec 3<>/dev/fuse", flags=("--device", "/dev/fuse"))


def no_pivot(engine: Ctr) -> None:
    assert engine.run("ls", "/etc/passwd", flags=("--no-pivot",)).stdout == "/etc/passwd\n"


def working_directory(engine: Ctr) -> None:
    assert engine.run("pwd", flags=("--cwd", "/made/on/the/way")).stdout == "/made/on/the/way\n"


def shared_namespaces(engine: Ctr) -> None:
    engine.start("box", *SERVER)
    place = f"/proc/{engine.pid('box')}/ns"
    flags = ("--with-ns", f"pid:{place}/pid", "--with-ns", f"network:{place}/net")
    done = engine.run("sh", "-c", "cat /proc/1/cmdline; readlink /proc/self/ns/net", flags=flags)
    assert "trap" in done.stdout
    assert done.stdout.endswith(engine.sandbox.run(["readlink", f"{place}/net"]).stdout), done


def capabilities(engine: Ctr) -> None:
    def effective(*flags: str) -> int:
        return int(engine.run("sed", "-n", "s/^CapEff://p", "/proc/self/status", flags=flags).stdout, 16)

    assert effective() & 1
    assert effective("--cap-add", "CAP_NET_ADMIN") & 1 << 12
    assert not effective("--cap-drop", "CAP_CHOWN") & 1


def privileged(engine: Ctr) -> None:
    done = engine.run("sed", "-n", "s/^CapEff://p", "/proc/self/status", flags=("--privileged",))
    assert int(done.stdout, 16) & 1 << 21, "no CAP_SYS_ADMIN"


def seccomp(engine: Ctr) -> None:
    done = engine.run("grep", "Seccomp:", "/proc/self/status", flags=("--seccomp",))
    assert done.stdout.split() == ["Seccomp:", "2"]


def namespaces_of_the_host(engine: Ctr) -> None:
    own = engine.sandbox.run(["readlink", "/proc/self/ns/net"]).stdout
    assert engine.run("readlink", "/proc/self/ns/net", flags=("--net-host",)).stdout == own
    assert engine.run("readlink", "/proc/self/ns/net").stdout != own


def exit_codes(engine: Ctr) -> None:
    assert engine.run("sh", "-c", "exit 42", check=False).returncode == 42


def missing_command(engine: Ctr) -> None:
    done = engine.run("no-such-program", check=False)
    assert done.returncode != 0
    assert 'exec: "no-such-program": executable file not found in $PATH' in done.stderr.replace("\\", ""), (
        done
    )


def directory_as_command(engine: Ctr) -> None:
    done = engine.run("/etc", check=False)
    assert done.returncode != 0
    assert "is a directory" in done.stderr or "permission denied" in done.stderr, done


def unexecutable_command(engine: Ctr) -> None:
    done = engine.run("/etc/passwd", check=False)
    assert "permission denied" in done.stderr.lower(), done


def processes(engine: Ctr) -> None:
    engine.start("box", *SERVER)
    assert str(engine.pid("box")) in engine.call("tasks", "ps", "box").stdout


def statistics(engine: Ctr) -> None:
    engine.start("box", *SERVER)
    assert "memory.usage_in_bytes" in engine.call("tasks", "metrics", "box").stdout


CTR: dict[str, Scenario] = {
    "run": run,
    "run -it": run_terminal,
    "run, detached": run_detached,
    "exec": execute,
    "exec -it": execute_terminal,
    "exec: 126, 127": execute_failures,
    "stop": stop,
    "kill": kill,
    "kill --all": kill_all,
    "pause, unpause": pause,
    "restart": restart,
    "limits": limits,
    "out of memory": out_of_memory,
    "read-only root": read_only_root,
    "tmpfs": tmpfs,
    "volumes": volumes,
    "user namespace": user_namespace,
    "no new privileges": no_new_privileges,
    "devices": devices,
    "no pivot_root": no_pivot,
    "working directory is made": working_directory,
    "another container's namespaces": shared_namespaces,
    "capabilities": capabilities,
    "privileged": privileged,
    "seccomp, default profile": seccomp,
    "the host's namespaces": namespaces_of_the_host,
    "exit codes, 125": exit_codes,
    "missing command: 127": missing_command,
    "directory as command: 126": directory_as_command,
    "file that is not executable: 126": unexecutable_command,
    "top": processes,
    "stats": statistics,
}
