"""Properties of config.json's process, each seen by the process itself."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from naja.linux import capabilities
from tests.support.needs import need_command
from tests.support.seen import refused, shown

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

#: Positions in /proc/PID/stat behind the command (proc_pid_stat(5)).
NICE, RT_PRIORITY, POLICY = 16, 37, 38


def status(naja: Runtime, bundle: Bundle) -> dict[str, str]:
    """Return what /proc/self/status says inside, by name."""
    lines = naja.run_attached(bundle.args("cat", "/proc/self/status")).stdout.splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def scheduling(naja: Runtime, bundle: Bundle) -> tuple[int, int, int]:
    """Return the policy, the nice value and the real-time priority of the container's process."""
    stat = naja.run_attached(bundle.args("cat", "/proc/self/stat")).stdout.rpartition(") ")[2].split()
    return int(stat[POLICY]), int(stat[NICE]), int(stat[RT_PRIORITY])


def test_cwd(naja: Runtime, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/usr"
    assert shown(naja, bundle, "pwd") == "/usr"
    bundle.process["cwd"] = "/made/for/it"
    assert shown(naja, bundle, "pwd") == "/made/for/it"
    bundle.process["cwd"] = "usr"
    assert "/process/cwd" in refused(naja, bundle)


def test_env(naja: Runtime, bundle: Bundle) -> None:
    bundle.process["env"] = ["PATH=/bin", "NAME=a=b c", "EMPTY=", "TWICE=1", "TWICE=2"]
    assert shown(naja, bundle, 'echo "$NAME|$EMPTY|$TWICE|$HOME"') == "a=b c||2|/root"
    bundle.process["env"] = ["PATH=/bin", "nothing"]
    assert "/process/env/1" in refused(naja, bundle)


def test_args(naja: Runtime, bundle: Bundle) -> None:
    bundle.args("sh", "-c", 'printf "%s|" "$0" "$@"', "a", "", "b c", "*")
    assert naja.run_attached(bundle).stdout == "a||b c|*|"
    bundle.process["args"] = []
    assert "/process/args" in refused(naja, bundle)
    bundle.process["args"] = ["no-such-program"]
    assert 'exec: "no-such-program": executable file not found in $PATH' in refused(naja, bundle)


def test_command_line(naja: Runtime, bundle: Bundle) -> None:
    """commandLine is for Windows: beside args it is nothing to Linux, and does not replace it."""
    bundle.process["commandLine"] = "cmd /c dir"
    assert shown(naja, bundle, "echo runs") == "runs"
    del bundle.process["args"]
    assert "/process" in refused(naja, bundle)


def test_user(naja: Runtime, bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 20], "umask": 0o027}
    lines = status(naja, bundle)
    assert lines["Uid"].split() == ["1000"] * 4
    assert lines["Gid"].split() == ["1001"] * 4
    assert lines["Groups"].split() == ["5", "20"]
    assert lines["Umask"] == "0027"


def test_user_username(naja: Runtime, bundle: Bundle) -> None:
    """username is for Windows: on Linux the numbers decide."""
    bundle.process["user"] = {"uid": 1000, "gid": 0, "username": "root"}
    assert shown(naja, bundle, "id -u") == "1000"


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        *[("bounding", "CapBnd"), ("permitted", "CapPrm"), ("effective", "CapEff")],
        *[("inheritable", "CapInh"), ("ambient", "CapAmb")],
    ],
)
def test_capabilities(naja: Runtime, bundle: Bundle, kind: str, line: str) -> None:
    names = ["CAP_CHOWN", "CAP_KILL"]
    sets = {"bounding": names, "permitted": names, "inheritable": names}
    bundle.process["capabilities"] = {**sets, "effective": names, "ambient": names}
    # The program of root gains what is bounding or inheritable by execve(2); another user's does not.
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    assert int(status(naja, bundle)[line], 16) == capabilities.mask(names)
    bundle.process["capabilities"] = {**sets, kind: ["CAP_KILL"]}
    smaller = {"permitted": {"inheritable": ["CAP_KILL"]}, "inheritable": {}, "bounding": {}}
    bundle.process["capabilities"].update(smaller.get(kind, {}))
    assert int(status(naja, bundle)[line], 16) in (capabilities.mask(["CAP_KILL"]), 0)


def test_capabilities_that_cannot_be_granted(naja: Runtime, bundle: Bundle) -> None:
    """They are left out with a warning, and nothing fails (config.md, Linux Process)."""
    known = (1 << len(capabilities.NAMES)) - 1
    missing = ~capabilities.bounded(known) & known
    if not missing:
        pytest.skip("the caller has every capability there is")
    name = capabilities.names(missing)[0]
    bundle.process["capabilities"] = {kind: [name] for kind in ("bounding", "permitted", "effective")}
    done = naja.run_attached(bundle.shell("grep CapEff /proc/self/status"))
    assert done.stdout.split()[1] == "0" * 16
    assert name in done.stderr


def test_capability_that_nobody_knows(naja: Runtime, bundle: Bundle) -> None:
    bundle.process["capabilities"] = {"bounding": ["CAP_KILL", "CAP_FLY"]}
    done = naja.run_attached(bundle.shell("grep CapBnd /proc/self/status"))
    assert int(done.stdout.split()[1], 16) == capabilities.mask(["CAP_KILL"])
    assert "warning" in done.stderr
    assert "CAP_FLY" in done.stderr


def test_ambient_capabilities_without_inheritable_ones(naja: Runtime, bundle: Bundle) -> None:
    """As most configs have them: they are not granted, and nobody is told of it."""
    bundle.process["capabilities"]["ambient"] = bundle.process["capabilities"]["permitted"]
    done = naja.run_attached(bundle.shell("grep CapAmb /proc/self/status"))
    assert (int(done.stdout.split()[1], 16), done.stderr) == (0, "")
    added = naja.detached("run", "-d", "-b", bundle.args("sleep", "1000").path, bundle.id)
    assert added.stderr + naja.exec(bundle, "true").stderr == ""


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize("program", ["/bin/true", "/no/such/program"])
def test_warnings_with_a_log(
    naja: Runtime, bundle: Bundle, tmp_path: Path, format: str, program: str
) -> None:
    """They are in the log, and not in what the container says; also of a command that fails."""
    bundle.process["capabilities"]["bounding"] = ["CAP_KILL", "CAP_FLY"]
    log = tmp_path / "log"
    command = ("--log", str(log), "--log-format", format, "run", "-b", bundle.args(program).path, bundle.id)
    done = naja.run(*command, check=False)
    assert "CAP_FLY" in log.read_text()
    assert "CAP_FLY" not in done.stderr
    assert done.stderr.count("\n") == done.status == int(program != "/bin/true")


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        *[("RLIMIT_AS", "Max address space"), ("RLIMIT_CORE", "Max core file size")],
        *[("RLIMIT_CPU", "Max cpu time"), ("RLIMIT_DATA", "Max data size")],
        *[("RLIMIT_FSIZE", "Max file size"), ("RLIMIT_LOCKS", "Max file locks")],
        *[("RLIMIT_MEMLOCK", "Max locked memory"), ("RLIMIT_MSGQUEUE", "Max msgqueue size")],
        *[("RLIMIT_NICE", "Max nice priority"), ("RLIMIT_NOFILE", "Max open files")],
        *[("RLIMIT_NPROC", "Max processes"), ("RLIMIT_RSS", "Max resident set")],
        *[("RLIMIT_RTPRIO", "Max realtime priority"), ("RLIMIT_RTTIME", "Max realtime timeout")],
        *[("RLIMIT_SIGPENDING", "Max pending signals"), ("RLIMIT_STACK", "Max stack size")],
    ],
)
def test_rlimits(naja: Runtime, bundle: Bundle, kind: str, line: str) -> None:
    soft, hard = (0, 0) if kind in ("RLIMIT_NICE", "RLIMIT_RTPRIO") else (1 << 25, 1 << 26)
    if kind in ("RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE", "RLIMIT_NOFILE", "RLIMIT_SIGPENDING", "RLIMIT_NPROC"):
        soft, hard = 77, 78
    bundle.process["rlimits"] = [{"type": kind, "soft": soft, "hard": hard}]
    limits = shown(naja, bundle, "cat /proc/self/limits").splitlines()
    found = next(text.removeprefix(line).split() for text in limits if text.startswith(line))
    assert found[:2] == [str(soft), str(hard)]


def test_rlimits_that_are_wrong(naja: Runtime, bundle: Bundle) -> None:
    for entry in (
        {"type": "RLIMIT_FUN", "soft": 1, "hard": 1},
        {"type": "RLIMIT_CORE", "soft": 2, "hard": 1},
    ):
        bundle.process["rlimits"] = [entry]
        assert "/process/rlimits/0" in refused(naja, bundle)
    bundle.process["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2
    assert "/process/rlimits/1" in refused(naja, bundle)


@pytest.mark.parametrize(
    ("name", "value", "module", "sign"),
    [
        ("apparmorProfile", "a-profile", "AppArmor", "/sys/module/apparmor/parameters/enabled"),
        ("selinuxLabel", "system_u:system_r:container_t:s0", "SELinux", "/sys/fs/selinux/enforce"),
    ],
)
def test_labels_that_nobody_would_enforce(
    naja: Runtime, bundle: Bundle, name: str, value: str, module: str, sign: str
) -> None:
    if os.path.exists(sign):
        pytest.skip(f"this kernel has {module}")
    bundle.process[name] = value
    text = refused(naja, bundle)
    assert module in text
    assert f"/process/{name}" in text


def test_no_new_privileges(naja: Runtime, bundle: Bundle) -> None:
    for wanted in (True, False):
        bundle.process["noNewPrivileges"] = wanted
        assert status(naja, bundle)["NoNewPrivs"] == str(int(wanted))


def test_oom_score_adj(naja: Runtime, bundle: Bundle) -> None:
    bundle.process["oomScoreAdj"] = 345
    assert shown(naja, bundle, "cat /proc/self/oom_score_adj") == "345"
    del bundle.process["oomScoreAdj"]
    with open("/proc/self/oom_score_adj") as file:
        assert shown(naja, bundle, "cat /proc/self/oom_score_adj") == file.read().strip()


@pytest.mark.parametrize(
    ("kind", "priority", "seen"),
    [
        ("IOPRIO_CLASS_RT", 3, "realtime: prio 3"),
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
    ],
)
def test_io_priority(naja: Runtime, bundle: Bundle, kind: str, priority: int, seen: str) -> None:
    bundle.process["ioPriority"] = {"class": kind, "priority": priority}
    assert shown(naja, bundle, "ionice -p $$").startswith(seen)


#: What is left as the caller has it: only two of the policies have a nice value.
OWN_NICE = os.nice(0)

SCHEDULERS: list[tuple[dict[str, Any], tuple[int, int, int]]] = [
    ({"policy": "SCHED_OTHER", "nice": 7}, (0, 7, 0)),
    ({"policy": "SCHED_FIFO", "priority": 5}, (1, OWN_NICE, 5)),
    ({"policy": "SCHED_RR", "priority": 9}, (2, OWN_NICE, 9)),
    ({"policy": "SCHED_BATCH", "nice": -3}, (3, -3, 0)),
    ({"policy": "SCHED_IDLE"}, (5, OWN_NICE, 0)),
]


@pytest.mark.parametrize(("scheduler", "seen"), SCHEDULERS)
def test_scheduler(
    naja: Runtime, bundle: Bundle, scheduler: dict[str, Any], seen: tuple[int, int, int]
) -> None:
    bundle.process["scheduler"] = scheduler
    if os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"):
        # A new v1 cgroup has no time for real-time processes, where the kernel shares it out.
        bundle.linux["resources"]["cpu"] = {"realtimeRuntime": 1000, "realtimePeriod": 1000000}
    assert scheduling(naja, bundle) == seen


def test_scheduler_deadline(naja: Runtime, bundle: Bundle) -> None:
    times = {"runtime": 10_000_000, "deadline": 20_000_000, "period": 30_000_000}
    # cat reads once and ends: a deadline process must not fork without RESET_ON_FORK (sched(7)).
    bundle.process["scheduler"] = {
        "policy": "SCHED_DEADLINE", **times, "flags": ["SCHED_FLAG_RESET_ON_FORK"]
    }  # fmt: skip
    done = naja.run_attached(bundle.args("cat", "/proc/self/sched"), check=False)
    if "EPERM" in done.stderr or "EBUSY" in done.stderr:
        pytest.skip(f"no bandwidth for deadline processes here: {done.stderr}")
    lines = dict(line.split(":") for line in done.stdout.splitlines() if line.count(":") == 1)
    found = {name.strip(): value.strip() for name, value in lines.items()}
    assert found["policy"] == "6"


def test_scheduler_flags(naja: Runtime, bundle: Bundle) -> None:
    bundle.process["scheduler"] = {
        "policy": "SCHED_BATCH", "nice": -5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]
    }  # fmt: skip
    # What the shell forks has no nice value below 0 any more (sched(7)).
    script = "cut -d ' ' -f 19,41 < /proc/$$/stat; cut -d ' ' -f 19,41 /proc/self/stat"
    assert shown(naja, bundle, script).splitlines() == ["-5 3", "0 3"]


def test_scheduler_that_is_none(naja: Runtime, bundle: Bundle) -> None:
    bundle.process["scheduler"] = {"policy": "SCHED_ISO"}
    assert "/process/scheduler" in refused(naja, bundle)
    bundle.process["scheduler"] = {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_FUN"]}
    assert "/process/scheduler/flags/0" in refused(naja, bundle)


def test_exec_cpu_affinity(naja: Runtime, bundle: Bundle, tmp_path: os.PathLike[str]) -> None:
    """``initial`` holds until the process is in the cgroup, ``final`` from then on (config.md)."""
    need_command("strace")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
    bundle.process["execCPUAffinity"] = {"initial": "0", "final": "1"}
    naja.run_detached(bundle.args("sleep", "1000"))
    trace = os.path.join(tmp_path, "trace")
    strace = [shutil.which("strace") or "", "-f", "-e", "trace=sched_setaffinity,execve", "-o", trace]
    traced = type(naja)(naja.root, [*strace, *naja.argv])
    shown = traced.exec(bundle, "grep", "Cpus_allowed_list", "/proc/self/status").stdout
    assert shown.split() == ["Cpus_allowed_list:", "1"]
    with open(trace) as file:
        masks = [line.rpartition("[")[2][0] for line in file if "sched_setaffinity(" in line]
    assert masks == ["0", "1"]


def test_exec_cpu_affinity_that_is_none(naja: Runtime, bundle: Bundle) -> None:
    bundle.process["execCPUAffinity"] = {"initial": "0-"}
    assert "/process/execCPUAffinity/initial" in refused(naja, bundle)
