"""From argv to an exit status: what is printed where, and the log that engines read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from naja.cli import main
from naja.cli.output import Log

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def naja(*words: str) -> subprocess.CompletedProcess[str]:
    """Run naja from this checkout, with as little environment as Podman gives."""
    return subprocess.run(
        [sys.executable, "-m", "naja", *words],
        capture_output=True,
        text=True,
        env={},
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )


def test_an_error_is_one_line_on_stderr(tmp_path: Path) -> None:
    result = naja("--root", str(tmp_path), "state", "nosuch")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "naja: container does not exist: nosuch\n"


def test_the_json_log_holds_one_object(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    result = naja("--log", str(log), "--log-format", "json", "--root", str(tmp_path), "start", "nosuch")
    assert result.returncode == 1
    assert result.stderr == "naja: container does not exist: nosuch\n"
    entry = json.loads(log.read_text())
    assert list(entry) == ["level", "msg", "time"]
    assert entry["level"] == "error"
    assert entry["msg"] == "container does not exist: nosuch"
    assert _TIME.fullmatch(entry["time"])
    assert log.stat().st_mode & 0o777 == 0o644


def test_the_log_is_appended_to(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    naja("--log", str(log), "state", "a/b")
    before, line = log.read_text().splitlines()
    assert before == "before"
    assert re.fullmatch(
        r'time="[^"]+" level=error msg="invalid container ID format: \'a/b\': letters, [^"]+"', line
    )


def test_json_on_stderr_where_there_is_no_file(tmp_path: Path) -> None:
    for extra in ([], ["--log", "/dev/stderr"]):
        result = naja("--log-format", "json", *extra, "--root", str(tmp_path), "state", "nosuch")
        assert json.loads(result.stderr)["msg"] == "container does not exist: nosuch"


def logged(path: Path, format: str, error: str = "") -> None:
    """Warn twice and end, with an error where one is given."""
    log = Log("naja", str(path), format)
    log.warning("first")
    log.warning("second")
    if error:
        log.error(error)
    log.close()


def test_warnings_are_in_the_log_and_not_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Which is the container's; an error is there as well, as engines look in both places for it."""
    logged(tmp_path / "json", "json")
    lines = [json.loads(line) for line in (tmp_path / "json").read_text().splitlines()]
    assert [(line["level"], line["msg"]) for line in lines] == [("warning", "first"), ("warning", "second")]
    logged(tmp_path / "failed", "json", "broken")
    entry = json.loads((tmp_path / "failed").read_text())
    assert (entry["level"], entry["msg"], entry["warnings"]) == ("error", "broken", ["first", "second"])
    logged(tmp_path / "text", "text", "broken")
    told = [line.partition(" level=")[2] for line in (tmp_path / "text").read_text().splitlines()]
    assert told == ['warning msg="first"', 'warning msg="second"', 'error msg="broken"']
    assert capfd.readouterr() == ("", "naja: broken\n" * 2)


def test_warnings_that_the_log_does_not_take(capfd: pytest.CaptureFixture[str]) -> None:
    """They are told on stderr, after why."""
    logged(Path("/dev/full"), "text", "broken")
    reason, *lines = capfd.readouterr().err.splitlines()[1:]
    assert reason == "naja: write the log file /dev/full: No space left on device (ENOSPC)"
    assert lines == ["naja: warning: first", "naja: warning: second"]


def test_bytes_that_are_no_text_stay_out_of_the_json_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    naja("--log", str(log), "--log-format", "json", os.fsdecode(b"state\xff"))
    assert "no such command" in json.loads(log.read_bytes().decode())["msg"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--log-format", "xml", "list"], "invalid log-format: xml"),
        (["--log", "/nonexistent/log", "list"], "open the log file /nonexistent/log"),
        (["create", "--bundle"], "flag needs an argument: -bundle"),
        (["exec"], "requires a minimum of 1"),
        (["nosuchverb\nx"], "no such command"),
        (["list", "--format", "yaml"], "invalid format option: yaml"),
        (["kill", "c", "FOO"], "unknown signal 'FOO'"),
    ],
)
def test_failures_have_status_1_and_one_line(words: list[str], text: str) -> None:
    result = naja(*words)
    assert result.returncode == 1
    assert text in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_failure_of_exec_has_status_255(tmp_path: Path) -> None:
    result = naja("--root", str(tmp_path), "exec", "nosuch", "true")
    assert result.returncode == 255
    assert result.stderr == "naja: container does not exist: nosuch\n"


def test_debug_shows_where_it_went_wrong(tmp_path: Path) -> None:
    result = naja("--debug", "--root", str(tmp_path), "state", "nosuch")
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("naja: container does not exist: nosuch\n")


def test_delete_force_of_nothing_is_success(tmp_path: Path) -> None:
    assert naja("--root", str(tmp_path), "delete", "--force", "nosuch").returncode == 0
    assert naja("--root", str(tmp_path), "delete", "nosuch").returncode == 1
    assert naja("--root", str(tmp_path), "delete", "--force", "a/b").returncode == 1


def test_a_create_that_was_killed_can_be_deleted(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    result = naja("--root", str(tmp_path), "delete", "--force", "half")
    assert (result.returncode, result.stderr) == (0, "")
    assert not (tmp_path / "half").exists()


def test_an_empty_list(tmp_path: Path) -> None:
    root = ("--root", str(tmp_path / "none"))
    assert naja(*root, "list").stdout == "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    assert naja(*root, "list", "-f", "json").stdout == "[]\n"
    assert naja(*root, "list", "-q").stdout == ""


def test_the_version_is_what_engines_parse() -> None:
    result = naja("--version")
    assert (result.returncode, result.stderr) == (0, "")
    first, *rest = result.stdout.splitlines()
    assert re.fullmatch(r"naja version \d+\.\d+\.\d+", first)
    assert "spec: 1.3.0" in rest


@pytest.mark.parametrize("words", [[], ["help"], ["--help"], ["-h"], ["h"]])
def test_help(words: list[str]) -> None:
    result = naja(*words)
    assert (result.returncode, result.stderr) == (0, "")
    assert "checkpoint" in result.stdout
    assert "--log-format" in result.stdout


def test_help_of_a_verb() -> None:
    for words in (["checkpoint", "--help"], ["help", "checkpoint"], ["checkpoint", "c", "-h"]):
        result = naja(*words)
        assert result.returncode == 0
        assert "--image-path" in result.stdout
    assert naja("help", "nosuch").returncode == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["strat", "c"], "naja: no such command: 'strat' (did you mean 'start'?); see 'naja help'\n"),
        (
            ["create", "--bundel", "b", "c"],
            "naja: flag provided but not defined: -bundel (did you mean --bundle?); see 'naja help create'\n",
        ),
        (["--rot=x"], "naja: flag provided but not defined: -rot (did you mean --root?); see 'naja help'\n"),
        (["exec"], "naja: \"exec\" requires a minimum of 1 argument(s); see 'naja help exec'\n"),
    ],
)
def test_wrong_usage_says_where_to_read(words: list[str], line: str) -> None:
    result = naja(*words)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", line)


def test_completion_is_for_shells_that_naja_knows() -> None:
    result = naja("completion", "bash")
    assert (result.returncode, result.stderr) == (0, "")
    assert "complete -F _naja naja" in result.stdout
    result = naja("completion", "csh")
    assert result.returncode == 1
    assert result.stderr == "naja: no completion for 'csh': naja has those for bash, zsh, fish\n"


def test_nobody_reads() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "naja", "--version"],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (128 + 13, b"")


def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "naja", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr == b"naja: write to stdout: No space left on device (ENOSPC)\n"


def test_closed_streams_are_replaced() -> None:
    command = f"cd {Path(__file__).parents[2]}; exec {sys.executable} -m naja list --format x <&- >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", command], check=False).returncode == 1


def test_an_error_with_several_lines_becomes_one(tmp_path: Path) -> None:
    result = naja("--root", str(tmp_path), "state", "a\nb")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(37, "No locks available"), r"kill failed: No locks available \(ENOLCK\): \S+:\d+ \w+.*"),
        (OSError(2, "No such file", "/run/x"), r"/run/x: No such file or directory \(ENOENT\)"),
        (ImportError("libx.so: no memory", name="_x"), r"load _x: libx.so: no memory"),
        (ValueError("bug"), r"internal error: ValueError: bug"),
    ],
)
def test_an_error_that_nobody_expected_says_what_failed(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr(main, "_dispatch", fail)
    assert main.execute("naja", ["kill", "box"]) == 1
    assert re.fullmatch(f"naja: {told}\n", capfd.readouterr().err)
