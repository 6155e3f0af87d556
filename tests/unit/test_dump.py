"""An interpreter that goes on from a dump (native/dump.c), and what it finds out anew in each process."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from naja.startup import dump, launcher, precompile, precompiled

_SAY = """
import posix, sys
def say(*values):
    posix.write(1, (" ".join(map(str, values)) + "\\n").encode())
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    precompile.build()
    python = os.path.realpath(sys.executable)
    made = launcher.interpreter(python, "/nowhere", dumps=True)
    if made is None and launcher.interpreter(python, "/nowhere") is None:
        pytest.skip("needs a C compiler, Python's headers and its static archive (python3-dev)")
    assert made, "where an interpreter can be linked it can be dumped"
    path = tmp_path_factory.mktemp("bin") / "warm"
    path.write_bytes(made)
    path.chmod(0o755)
    return str(path)


def run(program: str, code: str, *words: str, **options: Any) -> list[str]:
    """Return the lines of stdout; nothing may be on stderr."""
    command = [program, "-IS", "-c", f"{_SAY}{code}\nposix._exit(0)", "naja", *words]
    options = {"env": {}, **options}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)
    assert (done.returncode, done.stderr) == (0, ""), done
    lines: list[str] = done.stdout.splitlines()
    return lines


def test_naja_is_there_before_anything_is_loaded(program: str) -> None:
    code = """
names = ("container.creation", "container.running", "process.stage")
say(all(f"naja.{name}" in sys.modules for name in names))
say("_json" in sys.modules, "encodings" in sys.modules, hasattr(sys, "stdout"))
"""
    assert run(program, code) == ["True", "False False False"]


def test_a_process_has_its_own_environment_and_words(program: str) -> None:
    code = """
from naja.container.lifecycle import os
say(ascii(sys.argv), sorted(posix.environ.items()), sorted(os.environ.items()))
import subprocess
say(sorted(subprocess.os.environ.items()))
"""
    environment = {"A": "1", "B": "x=y", "EMPTY": ""}
    pairs = sorted(environment.items())
    assert run(program, code, "ä", env=environment) == [
        f"['-c', 'naja', '\\xe4'] {[(a.encode(), b.encode()) for a, b in pairs]} {pairs}",
        str(pairs),
    ]


def test_a_process_knows_which_signals_its_caller_ignores(program: str) -> None:
    code = """
import _signal
say(*[int(_signal.getsignal(n)) for n in (_signal.SIGHUP, _signal.SIGTERM, _signal.SIGUSR1)])
say(_signal.getsignal(_signal.SIGINT) is _signal.default_int_handler)
"""

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    assert run(program, code) == ["0 0 0", "True"]
    assert run(program, code, preexec_fn=ignore) == ["1 0 0", "False"]


def test_an_interrupt_is_one(program: str) -> None:
    code = """
import _signal
try:
    posix.kill(posix.getpid(), _signal.SIGINT)
    while True:
        pass
except KeyboardInterrupt:
    say("interrupted")
"""
    assert run(program, code) == ["interrupted"]


def test_who_asks_for_more_gets_all_of_it(program: str) -> None:
    code = """
import subprocess, json, threading
thread = threading.Thread(target=lambda: say("thread"))
thread.start()
thread.join()
say(threading.current_thread() is threading.main_thread(), sys.stdout.encoding)
say(subprocess.run(["/bin/echo", "more"], capture_output=True).stdout.decode().strip())
"""
    assert run(program, code) == ["thread", "True utf-8", "more"]


def test_its_children_and_its_threads_are_like_anybody_s(program: str) -> None:
    code = """
import _thread
pid = posix.fork()
if not pid:
    posix._exit(0 if _thread.get_ident() else 1)
say(posix.waitpid(pid, 0)[1])
"""
    assert run(program, code) == ["0"]


def test_it_starts_wherever_the_kernel_puts_the_rest(program: str) -> None:
    """Stack, heap and libraries lie elsewhere in each process."""
    code = "say(len(str([str(n) * 100 for n in range(5000)])))"
    assert {tuple(run(program, code)) for _ in range(60)} == {
        (str(len(str([str(n) * 100 for n in range(5000)]))),)
    }


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="its headers cannot be included")
def test_c_may_call_back(program: str) -> None:
    """What does so asks for the thread's state (PyGILState_Ensure), and would wait for ever without one."""
    code = """
import ctypes
ctypes.PYFUNCTYPE(None)(lambda: say("called"))()
"""
    assert run(program, code) == ["called"]


def test_who_gives_back_the_program_s_text_goes_on(program: str) -> None:
    code = """
from naja.linux import process
def rss():
    text = b""
    file = posix.open("/proc/self/smaps", posix.O_RDONLY)
    while part := posix.read(file, 1 << 16):
        text += part
    entry = text.partition(b"%08x-" % process.text[0])[2]
    return int(entry.partition(b"Rss:")[2].split()[0])
before = rss()
process.drop_text()
say(0 < rss() < before)
"""
    assert run(program, code) == ["True"]


#: Who looks at objects writes to their pages, which are then as before.
_PAGES = """
import gc
from naja.startup import pages
def own():
    text = b""
    file = posix.open("/proc/self/smaps_rollup", posix.O_RDONLY)
    while part := posix.read(file, 1 << 16):
        text += part
    posix.close(file)
    return int(text.partition(b"Private_Dirty:")[2].split()[0])
def look():
    found = [value for module in list(sys.modules.values()) for value in vars(module).values()]
    found += [value.__code__ for value in found if hasattr(value, "__code__")]
    found += [value for code in found if hasattr(code, "co_consts") for value in code.co_consts]
    return len(found)
"""


def test_what_is_again_as_in_the_program_is_given_back(program: str) -> None:
    code = f"""{_PAGES}
for turn in range(3):
    sizes = []
    for each in (lambda: None, lambda: look(), pages.give_back):
        each()
        sizes.append(own())
    say(sizes[2] <= sizes[1] - 200, look() > 1000)
import subprocess
say(subprocess.run(["/bin/echo", "more"], capture_output=True).stdout.decode().strip())
"""
    assert run(program, code) == ["True True"] * 3 + ["more"]


def test_a_fork_goes_back_to_what_it_shares(program: str) -> None:
    code = f"""{_PAGES}
texts = {{str(number): [number] for number in range(20000)}}
pages.share()
say(len(pages._parts) > 0, sum(map(len, texts.values())))
pid = posix.fork()
if not pid:
    for turn in range(3):
        look()
        texts["7"].append(turn)
        before = own()
        pages.give_back()
        say(own() < before - 500, texts["7"], all(texts[str(n)][0] == n for n in range(20000)))
    try:
        open("/proc/self/nothing", "rb")
    except OSError as error:
        say(error.errno)
    posix._exit(0)
say(posix.waitpid(pid, 0)[1], texts["7"])
texts.clear()
gc.collect()
pages.give_back()
say(len([str(number) for number in range(100000)]), look() > 1000)
"""
    assert run(program, code) == [
        "True 20000",
        "True [7, 0] True",
        "True [7, 0, 1] True",
        "True [7, 0, 1, 2] True",
        "2",
        "0 [7]",
        "100000 True",
    ]


def test_a_handler_s_write_is_not_lost(program: str) -> None:
    """A signal that comes while pages are given back is handled."""
    code = f"""{_PAGES}
import _signal
pages.share()
heard = []
_signal.signal(_signal.SIGALRM, lambda *_: heard.append(1))
for turn in range(200):
    _signal.setitimer(_signal.ITIMER_REAL, 0.0001 + turn * 0.00001)
    pages.give_back()
    while len(heard) == turn:
        pass
say(len(heard))
"""
    assert run(program, code) == ["200"]


def test_a_launcher_of_another_time_starts_it_as_well(program: str) -> None:
    """One that was written for other packages, say: its words are not those that are compiled in."""
    body = (
        f"{precompiled.boot()}from naja.container.state import os\nposix.write(1, os.environ['A'].encode())"
    )
    command = [program, "-IS", "-c", body, "naja"]
    assert subprocess.run(command, env={"A": "1"}, capture_output=True, check=True).stdout == b"1"


def test_memory_that_points_to_a_library_is_no_dump() -> None:
    told = "7f0000000010\n00400000-00500000 r-xp 0 0 0 /program\n7f0000000000-7f0000001000 r-xp 0 0 0 /lib\n"
    inside, library, thread, elsewhere = 0x400100, 0x7F0000000100, 0x7F0000000010, 0x7F0000002000
    for word, refused in ((inside, False), (library, True), (thread, False), (elsewhere, False)):
        memory = bytes(64) + word.to_bytes(8, "little") + bytes(64)
        assert dump._points_out(memory, 0x400000, told) is refused


def test_a_program_that_fails_is_no_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, bytes, bytes]] = []
    monkeypatch.setattr(dump, "ran", lambda *_, **__: told.pop())
    memory = b"1\n00400000-00500000 r-xp 0 0 0 /program\n\0" + bytes(64)
    for answer in ((1, memory, b""), (0, b"", b""), (0, memory, b"lost"), (-1, b"", b"")):
        told.append(answer)
        assert dump.dumped(b"\x7fELF\2\1" + bytes(64), "") is None
        assert not told
    assert dump.dumped(b"\x7fELF\1\1 of another machine", "") is None


def test_where_nothing_may_be_run_there_is_no_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError("the directory for temporary files is mounted noexec")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", denied)
        assert dump.ran(b"#!/bin/sh\n", environment={}) == (-1, b"", b"")
    monkeypatch.setattr(dump, "_SECONDS", 0.1)
    assert dump.ran(b"#!/bin/sh\nexec sleep 5\n", environment={}) == (-1, b"", b"")


def test_it_is_used_while_no_module_has_changed(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one in its place is the interpreter without a dump: it looks at each module."""
    monkeypatch.setattr(launcher, "_MAIN", "posix.write(1, posix.readlink('/proc/self/exe').encode())\n")
    modules = precompile.build()
    python = os.path.realpath(sys.executable)
    early = launcher.interpreter(python, "/nowhere")
    assert early is not None
    for attribute, content in (("_EARLY", early), ("_WARM", Path(program).read_bytes())):
        path = tmp_path / attribute
        path.write_bytes(content)
        path.chmod(0o755)
        monkeypatch.setattr(launcher, attribute, str(path))
    command = tmp_path / "naja"

    def used(modules: dict[str, tuple[str, int, int, int, int]] | None) -> str:
        made = launcher.program(python, "/nowhere", modules)
        assert made is not None
        command.write_bytes(made)
        command.chmod(0o755)
        return os.path.basename(subprocess.check_output([command, "state"], env={}, text=True))

    assert used(modules) == "_WARM"
    assert used(None) == "_EARLY"
    name, size, changed, place, length = modules["naja.errors"]
    for entry in ((name, size + 1, changed), (name, size, changed + 1), (f"{name}x", size, changed)):
        assert used({**modules, "naja.errors": (*entry, place, length)}) == "_EARLY"
    (tmp_path / "_WARM").chmod(0o757)
    assert used(modules) == "_EARLY"


def _random(source: random.Random, depth: int = 0) -> Any:
    kind = source.randrange(9 if depth < 4 else 6)
    if kind == 0:
        return source.choice([None, True, False, 0, -1, 10**17, -(10**18), 10**30, 0.5, -2e300])
    if kind < 4:
        return "".join(source.choices('ab/{}[]:, \t"\\\n\u00e9\u20ac\U0001f600', k=source.randrange(8)))
    if kind < 6:
        return source.randrange(-1000, 1000)
    members = [_random(source, depth + 1) for _ in range(source.randrange(4))]
    return members if kind == 6 else {_random_name(source): member for member in members}


def _random_name(source: random.Random) -> str:
    return "".join(source.choices("abc\u00e9", k=source.randrange(3)))


def test_json_is_read_as_python_reads_it(program: str) -> None:
    """What native/json.c reads, and what it leaves to _json; whole texts and broken ones."""
    source = random.Random(1128)
    texts = [json.dumps(_random(source), ensure_ascii=source.random() < 0.5) for _ in range(1500)]
    texts += [
        "[" * 99 + "]" * 99,
        "[" * 200 + "]" * 200,
        "01",
        "-",
        "1.",
        "[1,]",
        '{"a":1,}',
        '{"a" 1}',
        "tru",
        "",
    ]
    for text in list(texts):
        broken = list(text or " ")
        broken[source.randrange(len(broken))] = source.choice('{}[]",:\\0-e.tn \x01\u20ac')
        texts += ["".join(broken), text[: source.randrange(len(text) + 1)], f" {text}\n"]
    code = """
from naja.config import json
from naja.errors import NajaError
text = b""
while part := posix.read(0, 1 << 20):
    text += part
for line in text.split(b"\\0"):
    try:
        say(ascii(json.loads(line)))
    except NajaError as error:
        say("error", ascii(str(error)))
"""
    given = "\0".join(texts).encode()
    command = [program, "-IS", "-c", f"{_SAY}{code}\nposix._exit(0)", "naja"]
    got = subprocess.run(command, input=given, env={}, capture_output=True, check=True, timeout=60).stdout
    from naja.config import json as ours

    wanted = []
    for text in texts:
        try:
            wanted.append(ascii(ours.loads(text.encode())))
        except Exception as error:
            wanted.append(f"error {str(error)!a}")
    assert got.decode().splitlines() == wanted
