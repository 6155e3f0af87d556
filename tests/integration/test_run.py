"""`run`: exit codes, standard streams, signals, and terminals (attached, detached, resized)."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.terminal import ConsoleSocket, OnTerminal, Screen, set_size
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


@pytest.mark.parametrize("option", ["--pid-file", "--pidfd-socket"])
def test_nothing_runs_before_the_caller_knows_its_pid(naja: Runtime, bundle: Bundle, option: str) -> None:
    bundle.shell("echo ran > /ran")
    refused = naja.run_attached(bundle, option, "/no/such/place", check=False)
    assert refused.status == 1
    assert "/no/such/place: No such file or directory" in refused.stderr
    assert not os.path.exists(os.path.join(bundle.rootfs, "ran"))


@pytest.mark.parametrize("program", ["/bin/true", "/no/such/program"])
def test_a_caller_that_ignores_the_ends_of_children(naja: Runtime, bundle: Bundle, program: str) -> None:
    """Inherited, that would leave nobody to ask how they ended (wait(2))."""

    def ignore() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    missing = "no such file or directory" if "such" in program else ""
    done = naja.run_detached(bundle.args(program), check=False, preexec_fn=ignore)
    assert (done.status, missing in done.stderr) == (int(bool(missing)), True)
    assert naja.ids() == ([] if missing else [bundle.id])


def test_a_filter_that_kills_before_the_program_runs(naja: Runtime, bundle: Bundle) -> None:
    """In the last step before it, where naja drops what it took to load the filter."""
    bundle.process["noNewPrivileges"] = False
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_KILL_PROCESS"}
    killed = naja.run_attached(bundle.save(), check=False)
    assert (killed.status, killed.stderr) == (128 + signal.SIGSYS, "")


def test_a_signal_after_the_end(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """There is nobody left to forward it to, and the container is removed all the same."""
    ended = str(tmp_path / "ended")
    bundle.config["hooks"] = {
        "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"touch {ended}; sleep 0.3"]}]
    }
    bundle.shell("exit 7")
    attached = subprocess.Popen(naja.command("run", "--bundle", bundle.path, bundle.id))
    wait_until(lambda: os.path.exists(ended))
    attached.send_signal(signal.SIGTERM)
    assert attached.wait(timeout=20) == 7


@pytest.mark.parametrize("size", [512, 1024, 2048, 16384])
def test_a_small_stack(naja: Runtime, bundle: Bundle, size: int) -> None:
    """Where there is no room for two on it, the init has a memory of its own."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (size << 10, resource.RLIM_INFINITY))

    assert naja.run_attached(bundle.shell("exit 7"), check=False, preexec_fn=limit).status == 7


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_code(naja: Runtime, bundle: Bundle, code: int) -> None:
    assert naja.run_attached(bundle.shell(f"exit {code}"), check=False).status == code
    assert naja.ids() == []


def test_exit_code_of_a_signal(naja: Runtime, bundle: Bundle) -> None:
    bundle.args("/bin/sleep", "1000")
    attached = subprocess.Popen(naja.command("run", "--bundle", bundle.path, bundle.id))
    wait_until(lambda: bundle.id in naja.ids() and naja.run("state", bundle.id, check=False).status == 0)
    wait_until(lambda: naja.status(bundle) == "running")
    naja.kill(bundle, "KILL")
    assert attached.wait(timeout=20) == 128 + signal.SIGKILL
    assert naja.ids() == []


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["/no/such/program"], ["no such file or directory", "No such file or directory"]),
        (["no-such-program"], ['exec: "no-such-program": executable file not found in $PATH']),
        (["/etc"], ["is a directory"]),
        (["/etc/passwd"], ["permission denied", "Permission denied"]),
    ],
)
def test_a_program_that_cannot_be_run(
    naja: Runtime, bundle: Bundle, words: list[str], texts: list[str]
) -> None:
    """The texts are those that Docker and Podman turn into the exit codes 126 and 127."""
    bundle.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)
    refused = naja.run_attached(bundle.args(*words), check=False)
    assert refused.status in (1, 126, 127)
    assert any(text in refused.stderr for text in texts), refused
    assert len(refused.stderr.strip().splitlines()) == 1
    assert naja.ids() == []


def test_streams_are_passed_on(naja: Runtime, bundle: Bundle) -> None:
    result = naja.run_attached(bundle.shell("cat; echo problem >&2"), input="to stdin")
    assert result.stdout == "to stdin"
    assert result.stderr == "problem\n"


def test_much_data_goes_through_unharmed(naja: Runtime, bundle: Bundle) -> None:
    data = os.urandom(3 << 20)
    argv = naja.command("run", "--bundle", bundle.args("/bin/cat").path, bundle.id)
    assert subprocess.run(argv, input=data, capture_output=True, check=True, timeout=30).stdout == data


def test_a_reader_that_goes_away_ends_the_writer(naja: Runtime, bundle: Bundle) -> None:
    argv = naja.command("run", "--bundle", bundle.args("/bin/yes").path, bundle.id)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.read(10)
        process.stdout.close()
        # Busybox meets SIGPIPE, or EPIPE where that is ignored; either way it ends by itself.
        assert process.wait(timeout=20) != 0


def test_closed_streams(naja: Runtime, bundle: Bundle) -> None:
    command = " ".join(naja.command("run", "--bundle", bundle.path, bundle.id))
    assert (
        subprocess.run(["sh", "-c", f"exec {command} <&- >&- 2>&-"], check=False, timeout=30).returncode == 0
    )


def test_arguments_and_environment_are_bytes(naja: Runtime, bundle: Bundle) -> None:
    """JSON cannot hold bytes that are not UTF-8, but it can hold all characters."""
    bundle.process["env"].append("GREETING=grüß 🐍 a=b")
    result = naja.run_attached(bundle.args("/bin/sh", "-c", 'printf "%s|" "$@" "$GREETING"', "sh", "ä b", ""))
    assert result.stdout == "ä b||grüß 🐍 a=b|"


@pytest.mark.parametrize(
    "name", ["HUP", "INT", "TERM", "USR1", "USR2", "QUIT", "PIPE", "ABRT", "SEGV", "SYS", "URG", "CONT"]
)
def test_signals_are_forwarded(naja: Runtime, bundle: Bundle, tmp_path: Path, name: str) -> None:
    number = getattr(signal, f"SIG{name}")
    bundle.shell(f"trap 'echo got {name}; exit 30' {name}; echo ready; while :; do sleep 0.05; done")
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(naja.command("run", "-b", bundle.path, bundle.id), stdout=file)
    wait_until(lambda: b"ready" in output.read_bytes())
    process.send_signal(number)
    assert process.wait(timeout=20) == 30
    assert output.read_text() == f"ready\ngot {name}\n"


def test_a_broken_pipe_of_najas_own_is_not_forwarded(naja: Runtime, bundle: Bundle) -> None:
    """A hook that does not read its state, and a stderr that nobody reads."""
    bundle.config["hooks"] = {"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", "exec <&-; sleep 0.1"]}]}
    bundle.config["annotations"] = {"big": "x" * (1 << 17)}
    bundle.process["capabilities"]["bounding"] = ["CAP_FLY"]
    bundle.shell("trap 'exit 30' PIPE; i=0; while [ $i -lt 10 ]; do sleep 0.05; i=$((i+1)); done; exit 31")
    reader, writer = os.pipe()
    os.close(reader)
    command = naja.command("run", "-b", bundle.path, bundle.id)
    assert subprocess.run(command, stderr=writer, timeout=30, check=False).returncode == 31
    os.close(writer)


def test_detached(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        naja.run_detached(bundle.shell("echo hello; exec sleep 1000"), output=file.fileno())
    assert naja.status(bundle) == "running"
    wait_until(lambda: output.read_text() == "hello\n")


def test_keep(naja: Runtime, bundle: Bundle) -> None:
    naja.run_attached(bundle, "--keep")
    assert naja.status(bundle) == "stopped"
    naja.delete(bundle)


@pytest.fixture
def terminal_bundle(bundle: Bundle) -> Bundle:
    bundle.process["terminal"] = True
    return bundle.save()


def test_terminal(naja: Runtime, terminal_bundle: Bundle) -> None:
    terminal_bundle.args("/bin/sh")
    argv = naja.command("run", "--bundle", terminal_bundle.path, terminal_bundle.id)
    with OnTerminal(argv, rows=33, columns=111) as process:
        screen = process.screen
        screen.expect("# ")
        screen.send("stty size\n")
        screen.expect("33 111")
        screen.expect("# ")
        screen.send("tty; ls -l /dev/console; exit 5\n")
        screen.expect("/dev/pts/0")
        screen.expect("/dev/console")
        assert process.wait() == 5
    assert naja.ids() == []


def test_terminal_is_resized(naja: Runtime, terminal_bundle: Bundle) -> None:
    # The caller's own size may come as a change too, where the shell was quicker than naja.
    trap = 'trap \'size=$(stty size); echo $size; [ "$size" = "50 132" ] && exit 0\' WINCH'
    terminal_bundle.shell(f"{trap}; echo ready; while :; do sleep 0.05; done")
    argv = naja.command("run", "--bundle", terminal_bundle.path, terminal_bundle.id)
    with OnTerminal(argv) as process:
        process.screen.expect("ready")
        set_size(process.screen.fd, 50, 132)
        process.screen.expect("50 132")
        assert process.wait() == 0


def test_control_c_reaches_the_container_only(naja: Runtime, terminal_bundle: Bundle) -> None:
    terminal_bundle.shell("trap 'echo interrupted; exit 6' INT; echo ready; while :; do sleep 0.05; done")
    argv = naja.command("run", "--bundle", terminal_bundle.path, terminal_bundle.id)
    with OnTerminal(argv) as process:
        process.screen.expect("ready")
        process.screen.send("\x03")
        process.screen.expect("interrupted")
        assert process.wait() == 6


def test_the_callers_terminal_is_restored(naja: Runtime, terminal_bundle: Bundle) -> None:
    terminal_bundle.shell("echo in; read line; echo out")
    command = " ".join(naja.command("run", "--bundle", terminal_bundle.path, terminal_bundle.id))
    with OnTerminal(["sh", "-c", f"{command}; echo back; read line"]) as process:
        before = termios.tcgetattr(process.screen.fd)
        process.screen.expect("in")
        wait_until(lambda: not termios.tcgetattr(process.screen.fd)[3] & termios.ICANON, what="raw mode")
        process.screen.send("go\r")
        process.screen.expect("back")
        assert termios.tcgetattr(process.screen.fd) == before
        process.screen.send("\n")
        assert process.wait() == 0


def test_all_output_is_shown_before_the_end(naja: Runtime, terminal_bundle: Bundle) -> None:
    """What a container wrote last is still in the terminal when it has ended."""
    terminal_bundle.shell("seq 1 5000; exec true")
    argv = naja.command("run", "--bundle", terminal_bundle.path, terminal_bundle.id)
    with OnTerminal(argv) as process:
        process.screen.expect("\r\n5000\r\n")
        assert process.wait() == 0


@pytest.mark.parametrize("stdin", ["null", "closed", "pipe", "file"])
def test_a_terminal_for_a_caller_without_one(
    naja: Runtime, terminal_bundle: Bundle, tmp_path: Path, stdin: str
) -> None:
    """A prompt would wait for ever: it is refused, before there is anything of the container."""
    (tmp_path / "typed").write_text("exit 3\n")
    redirection = {"null": "< /dev/null", "closed": "<&-", "pipe": "", "file": f"< {tmp_path}/typed"}[stdin]
    terminal_bundle.args("/bin/sh")
    command = naja.command("run", "-b", terminal_bundle.path, terminal_bundle.id)
    terminal_bundle.process["terminal"] = False
    reader, writer = os.pipe()  # Nobody writes to it, and nobody closes it.
    for added in (False, True):
        if added:
            naja.run_detached(terminal_bundle.args("sleep", "1000"))
            command = naja.command("exec", "--tty", terminal_bundle.id, "/bin/sh")
        refused = subprocess.run(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", *command],
            stdin=reader,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert refused.returncode == (255 if added else 1)
        assert "standard input is not a terminal" in refused.stderr
        assert f"asked for by {'--tty' if added else 'config.json /process/terminal'}" in refused.stderr
        assert refused.stderr.count("\n") == 1
        assert naja.ids() == ([terminal_bundle.id] if added else [])
    os.close(reader)
    os.close(writer)


def test_output_of_a_terminal_in_a_variable(naja: Runtime, terminal_bundle: Bundle) -> None:
    """x=$(naja exec -t …): lines end as the program has it, and on the caller's terminal as that has it."""
    run = shlex.join(naja.command("run", "-b", terminal_bundle.path, terminal_bundle.id))
    terminal_bundle.shell("test -t 1 && echo hi")
    with OnTerminal(["sh", "-c", f'x=$({run}); test "$x" = hi && echo the same; {run}']) as process:
        assert process.screen.rest() == "the same\r\nhi\r\n"
        assert process.wait() == 0
    terminal_bundle.process["terminal"] = False
    naja.run_detached(terminal_bundle.args("sleep", "1000"))
    add = shlex.join(naja.command("exec", "--tty", terminal_bundle.id, "echo", "hi"))
    with OnTerminal(["sh", "-c", f'x=$({add}); test "$x" = hi && echo the same; {add}']) as process:
        assert process.screen.rest() == "the same\r\nhi\r\n"
        assert process.wait() == 0


@pytest.mark.parametrize("size", [None, (17, 71)])
def test_the_size_is_there_before_the_program(
    naja: Runtime, terminal_bundle: Bundle, tmp_path: Path, size: tuple[int, int] | None
) -> None:
    """The config's, else the caller's; also for a program that ends before naja looks at it again."""
    rows, columns = size or (33, 111)
    if size:
        terminal_bundle.process["consoleSize"] = {"height": rows, "width": columns}
    terminal_bundle.shell("stty size; sleep 0.2; stty size")
    with OnTerminal(
        naja.command("run", "-b", terminal_bundle.path, terminal_bundle.id), rows=33, columns=111
    ) as process:
        assert process.screen.rest().split("\r\n") == [f"{rows} {columns}"] * 2 + [""]
    process_file = tmp_path / "process.json"
    process_file.write_text(json.dumps({**terminal_bundle.process, "args": ["stty", "size"]}))
    terminal_bundle.process["terminal"] = False
    naja.run_detached(terminal_bundle.args("sleep", "1000"))
    words = naja.command("exec", "--process", str(process_file), terminal_bundle.id)
    with OnTerminal(words, rows=33, columns=111) as process:
        assert process.screen.rest() == f"{rows} {columns}\r\n"


def test_output_that_nobody_reads_any_more(naja: Runtime, terminal_bundle: Bundle) -> None:
    """The container's terminal is hung up then, and what is left of it is removed as ever."""
    command = shlex.join(naja.command("run", "-b", terminal_bundle.args("yes").path, terminal_bundle.id))
    with OnTerminal(["bash", "-c", f"{command} 2> /dev/tty | head -n 1"]) as process:
        assert process.screen.rest() == "y\r\n"
    assert naja.ids() == []


def test_a_callers_terminal_that_is_hung_up(naja: Runtime, terminal_bundle: Bundle, tmp_path: Path) -> None:
    """The container is told by SIGHUP, or by the end of its input, and naja does not break off."""
    status = tmp_path / "status"
    terminal_bundle.shell("trap 'exit 9' HUP; echo ready; read line; exit 9")
    command = shlex.join(naja.command("run", "-b", terminal_bundle.path, terminal_bundle.id))
    script = f"trap '' HUP; {command} 2> {tmp_path}/said; echo $? > {status}"
    with OnTerminal(["sh", "-c", script]) as process:
        process.screen.expect("ready")
        process.screen.close()
        wait_until(lambda: status.exists() and status.read_text(), what="the end")
        process.screen.fd = os.open("/dev/null", os.O_RDWR)
    assert (status.read_text(), (tmp_path / "said").read_text()) == ("9\n", "")


def test_console_socket(naja: Runtime, terminal_bundle: Bundle, tmp_path: Path) -> None:
    terminal_bundle.shell("tty; stty size; read line; echo got $line")
    with ConsoleSocket(str(tmp_path / "console")) as console:
        naja.create(terminal_bundle, "--console-socket", console.path)
        master, _ = console.receive()
    screen = Screen(master)
    set_size(master, 40, 100)
    naja.start(terminal_bundle)
    screen.expect("/dev/pts/0")
    screen.expect("40 100")
    screen.send("words\n")
    screen.expect("got words")
    screen.rest()
    screen.close()
    naja.wait_for(terminal_bundle, "stopped")
    naja.delete(terminal_bundle)


def test_console_size(naja: Runtime, terminal_bundle: Bundle, tmp_path: Path) -> None:
    terminal_bundle.process["consoleSize"] = {"height": 17, "width": 71}
    terminal_bundle.shell("stty size")
    with ConsoleSocket(str(tmp_path / "console")) as console:
        naja.run_detached(terminal_bundle, "--console-socket", console.path)
        master, _ = console.receive()
    screen = Screen(master)
    screen.expect("17 71")
    screen.rest()
    screen.close()
    naja.wait_for(terminal_bundle, "stopped")
    naja.delete(terminal_bundle)


def test_detached_terminal_needs_a_console_socket(naja: Runtime, terminal_bundle: Bundle) -> None:
    refused = naja.create(terminal_bundle, check=False)
    assert refused.status == 1
    assert "console socket" in refused.stderr
    assert naja.ids() == []


def test_console_socket_without_a_terminal_is_refused(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    with ConsoleSocket(str(tmp_path / "console")) as console:
        assert naja.create(bundle, "--console-socket", console.path, check=False).status == 1
    assert naja.ids() == []


def test_run_takes_little_time(naja: Runtime, bundle: Bundle) -> None:
    """No poll interval hides in the way of a command that ends at once."""
    naja.run_attached(bundle)
    times = []
    for _ in range(5):
        began = time.monotonic()
        naja.run_attached(bundle)
        times.append(time.monotonic() - began)
    assert min(times) < 0.25


@pytest.mark.parametrize("tree", ["unified", "pids"])
def test_what_is_no_cgroup_is_left_alone(naja: Runtime, bundle: Bundle, tmp_path: Path, tree: str) -> None:
    """Where a tree was unmounted, a peer may have left files that look like a cgroup's."""
    file = f"/sys/fs/cgroup/{tree}/cgroup.procs"
    script = f"""
        mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/{tree} && echo kept > {file}
        "$@" 2>/dev/null
        sleep 0.1
        cp {file} {tmp_path}/seen
    """
    command = naja.command("run", "--bundle", bundle.path, bundle.id)
    subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *command], check=True)
    assert (tmp_path / "seen").read_text() == "kept\n"
