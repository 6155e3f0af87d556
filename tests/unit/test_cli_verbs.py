"""What the verbs make of their options, and of what they print."""

from __future__ import annotations

from typing import Any

import pytest

from naja.cli.options import VERBS
from naja.cli.parser import parse_verb
from naja.cli.verbs import execute, listing, resources, watching
from naja.config import check_resources
from naja.errors import NajaError, Unsupported


def options(name: str, *words: str) -> dict[str, Any]:
    return parse_verb({}, [name, *words, "c"]).options


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--memory", "64m"], {"memory": {"limit": 64 << 20}}),
        (["--memory=-1"], {"memory": {"limit": -1, "swap": -1}}),
        (["--memory=-1", "--memory-swap=1g"], {"memory": {"limit": -1, "swap": 1 << 30}}),
        (["--memory-reservation", "1k"], {"memory": {"reservation": 1024}}),
        (["--kernel-memory=5", "--kernel-memory-tcp=6"], {"memory": {"kernel": 5, "kernelTCP": 6}}),
        (["--cpu-quota", "-1", "--cpu-period", "1000"], {"cpu": {"quota": -1, "period": 1000}}),
        (
            ["--cpu-share", "512", "--cpu-idle", "0", "--cpu-burst=7"],
            {"cpu": {"shares": 512, "idle": 0, "burst": 7}},
        ),
        (["--cpu-rt-period=9", "--cpu-rt-runtime=8"], {"cpu": {"realtimePeriod": 9, "realtimeRuntime": 8}}),
        (["--cpuset-cpus", "0-1", "--cpuset-mems", "0"], {"cpu": {"cpus": "0-1", "mems": "0"}}),
        (["--pids-limit", "0"], {"pids": {"limit": 0}}),
        (["--blkio-weight", "500"], {"blockIO": {"weight": 500}}),
    ],
)
def test_update_options(words: list[str], expected: dict[str, Any]) -> None:
    found = resources.from_options(options("update", *words))
    assert found == expected
    check_resources(found)


def test_every_option_of_update_counts() -> None:
    elsewhere = {"resources", "blkio-weight", "l3-cache-schema", "mem-bw-schema"}
    assert set(resources._LIMITS) | elsewhere == {option.name for option in VERBS["update"].options}


@pytest.mark.parametrize("option", ["--l3-cache-schema", "--mem-bw-schema"])
def test_what_update_cannot_change_is_refused(option: str) -> None:
    with pytest.raises(Unsupported, match=option):
        resources.from_options(options("update", option, "x"))


PROCESS = {
    "args": ["sh"],
    "cwd": "/",
    "env": ["PATH=/bin"],
    "terminal": True,
    "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
    "capabilities": {
        name: ["CAP_KILL"] for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
    },
}


def test_exec_changes_what_it_is_told_to() -> None:
    words = ["--cwd=/tmp", "-e", "A=1", "-e=B=2", "-u", "1:2", "-g", "8", "--no-new-privs", "--apparmor=p"]
    found = execute._from_options(PROCESS, ["ls"], options("exec", *words, "--process-label=l"))
    assert found["args"] == ["ls"]
    assert found["cwd"] == "/tmp"
    assert found["env"] == ["PATH=/bin", "A=1", "B=2"]
    assert found["terminal"] is False
    assert found["user"] == {"uid": 1, "gid": 2, "additionalGids": [7, 8]}
    assert found["noNewPrivileges"] is True
    assert found["apparmorProfile"] == "p"
    assert found["selinuxLabel"] == "l"
    assert found["capabilities"] == PROCESS["capabilities"]
    assert PROCESS["env"] == ["PATH=/bin"], "the container's own process stays as it is"


def test_exec_keeps_the_group_where_only_the_user_is_given() -> None:
    found = execute._from_options(PROCESS, ["ls"], options("exec", "-u", "0", "-t"))
    assert found["user"] == {"uid": 0, "gid": 6, "additionalGids": [7]}
    assert found["terminal"] is True


def test_exec_adds_no_inheritable_capability() -> None:
    sets = execute._from_options(PROCESS, ["ls"], options("exec", "--cap", "CAP_CHOWN", "--cap=CAP_KILL"))[
        "capabilities"
    ]
    for name in ("bounding", "effective", "permitted"):
        assert sets[name] == ["CAP_KILL", "CAP_CHOWN"]
    for name in ("inheritable", "ambient"):
        assert sets[name] == ["CAP_KILL"]


def test_exec_needs_a_command() -> None:
    with pytest.raises(NajaError, match="process args cannot be empty"):
        execute._from_options(PROCESS, [], options("exec"))


@pytest.mark.parametrize(
    ("texts", "paths"),
    [
        ((), {}),
        (("a",), {"": "a"}),
        (("cpu:/a", "memory,pids:b"), {"cpu": "/a", "memory": "b", "pids": "b"}),
    ],
)
def test_exec_cgroups(texts: tuple[str, ...], paths: dict[str, str]) -> None:
    assert execute._cgroups(texts) == paths


@pytest.mark.parametrize("texts", [("a", "b"), ("cpu:a", "cpu:b"), ("cpu:a", "b")])
def test_exec_cgroups_that_contradict(texts: tuple[str, ...]) -> None:
    with pytest.raises(NajaError, match="--cgroup"):
        execute._cgroups(texts)


def test_a_table_is_laid_out_as_runc_does() -> None:
    rows = [["ID", "BUNDLE", "OWNER"], ["a-long-container-id", "/b", "root"]]
    assert listing.table(rows) == (
        "ID                    BUNDLE      OWNER\na-long-container-id   /b          root\n"
    )


def test_ps_keeps_the_lines_of_the_container() -> None:
    output = "UID   PID  CMD\nroot    1  init\nroot   12  sh\n\nroot  120  12\n"
    assert listing._ps_lines(output, [12]) == "UID   PID  CMD\nroot   12  sh\n"
    with pytest.raises(NajaError, match="PID"):
        listing._ps_lines("USER CMD\n", [12])


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 << 40, "5120.0 GiB"),
        (2**63 - 4096, "-"),
    ],
)
def test_bytes_for_people(count: int | None, text: str) -> None:
    assert watching._bytes(count) == text


def test_usage() -> None:
    before = {"cpu": {"usage": {"total": 10**9}}}
    now = {
        "cpu": {"usage": {"total": 2 * 10**9}},
        "memory": {"usage": {"usage": 1 << 20, "limit": 1 << 30}},
        "pids": {"current": 3},
    }
    row = ["c", "3", "50.0 %", "1.0 MiB", "1.0 GiB"]
    assert watching._usage("c", before, now, 2.0) == [*row, "-", "-"]
    moved = [{"op": "Read", "value": 2048}, {"op": "Read", "value": 1024}, {"op": "Write", "value": 5}]
    now["blkio"] = {"ioServiceBytesRecursive": moved}
    assert watching._usage("c", before, now, 2.0) == [*row, "3.0 KiB", "5 B"]
    assert watching._usage("c", {}, {}, 2.0) == ["c", "-", "-", "-", "-", "-", "-"]
