"""CRIU's messages: their bytes, and their numbers as CRIU's own file has them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naja.criu import messages
from naja.criu.service import last_errors
from naja.errors import NajaError
from tests.support.needs import requires_path

_PROTO = "/usr/include/criu/rpc.proto"

#: What CRIU 3.17.1 answers to a request for its version.
_VERSION = b"\x08\x0a\x10\x01R\x06\x08\x03\x10\x11\x20\x01"


def test_request() -> None:
    assert messages.encode(messages.REQUEST, {"type": messages.VERSION}) == b"\x08\x0a"


def test_answer() -> None:
    answer = messages.decode(messages.RESPONSE, _VERSION)
    assert (answer["type"], answer["success"]) == (messages.VERSION, 1)
    version = messages.decode(messages.VERSION_ANSWER, answer["version"])
    assert version == {"major_number": 3, "minor_number": 17, "sublevel": 1}


def test_values() -> None:
    options = {"leave_running": True, "pid": 300, "external": ["a", "b"], "log_level": -1}
    encoded = messages.encode(messages.OPTIONS, options)
    assert encoded == b"\x18\x01\x10\xac\x02\xaa\x02\x01a\xaa\x02\x01b\x48" + b"\xff" * 9 + b"\x01"


def test_nested_and_not_utf8() -> None:
    root = messages.encode(messages.CGROUP_ROOT, {"ctrl": "", "path": "/\udcff"})
    assert root == b"\x0a\x00\x12\x02/\xff"
    assert messages.encode(messages.OPTIONS, {"cg_root": [root]}) == b"\xca\x01\x06" + root


@given(st.integers(min_value=0, max_value=2**64 - 1), st.binary(max_size=300))
def test_there_and_back(number: int, content: bytes) -> None:
    table = {"number": 1, "content": 63}
    encoded = messages.encode(table, {"number": number, "content": content})
    assert messages.decode(table, encoded) == {"number": number, "content": content}


@pytest.mark.parametrize("cut", [b"\x08", b"\x80", b"\x09\x00"])
def test_nonsense(cut: bytes) -> None:
    with pytest.raises(NajaError, match="makes no sense"):
        messages.decode(messages.RESPONSE, cut)


@given(st.binary(max_size=64))
def test_any_bytes(message: bytes) -> None:
    try:
        messages.decode(messages.RESPONSE, message)
    except NajaError:
        pass


@requires_path(_PROTO, "CRIU's headers")
@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("criu_opts", messages.OPTIONS),
        ("criu_req", messages.REQUEST),
        ("criu_resp", messages.RESPONSE),
        ("criu_notify", messages.NOTIFICATION),
        ("criu_features", messages.FEATURES),
        ("criu_version", messages.VERSION_ANSWER),
        ("criu_page_server_info", messages.PAGE_SERVER),
        ("cgroup_root", messages.CGROUP_ROOT),
        ("inherit_fd", messages.INHERITED),
        ("join_namespace", messages.JOINED),
    ],
)
def test_numbers(kind: str, table: dict[str, int]) -> None:
    with open(_PROTO) as file:
        text = file.read()
    body = re.search(rf"message {kind} {{(.*?)\n}}", text, re.DOTALL)
    assert body
    numbers = {name: int(number) for name, number in re.findall(r"(\w+)\s*=\s*(\d+)", body[1])}
    assert table.items() <= numbers.items()


def test_errors_of_a_log(tmp_path_factory: pytest.TempPathFactory) -> None:
    log = tmp_path_factory.mktemp("work") / "dump.log"
    log.write_text(
        "(00.000001) Found mmap_min_addr 0x10000\n"
        "(00.000002)      1: Error (criu/mount.c:1088): mnt: Mount 7 ./x is strange\n"
        "(00.000003) Error (criu/util.c:642): exited, status=1\n"
        "(00.000004) Error (criu/cr-dump.c:1780): Dumping FAILED.\n"
    )
    assert last_errors(str(log)) == f"mnt: Mount 7 ./x is strange (log file {log})"
    log.write_text("(00.000004) Error (criu/cr-dump.c:1780): Dumping FAILED.\n")
    assert last_errors(str(log)) == f"Dumping FAILED. (log file {log})"
    log.write_text("")
    assert last_errors(str(log)) == f"CRIU does not say why (log file {log})"
    log.unlink()
    assert last_errors(str(log)) == f"CRIU wrote no log file {log}: No such file or directory"
