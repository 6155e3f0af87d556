"""Workers of a resident naja, and the ends of what they leave behind. Each test in a process of its own."""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from naja.errors import Unsupported
from naja.linux import process
from naja.resident import warmer, workers
from naja.resident.ends import End, Ends
from naja.resident.loop import Loop
from naja.resident.workers import Answer, Report, Workers, wait_for_word
from tests.support.child import in_child


class Core:
    """A loop with ends and workers."""

    def __init__(self) -> None:
        gc.disable()
        self.said: list[str] = []
        self.loop = Loop(self.said.append)
        self.ends = Ends(self.loop)
        self.workers = Workers(self.loop, self.ends)

    def run(self, seconds: float = 20) -> None:
        """Run until somebody stops the loop. Raises TimeoutError."""

        def give_up() -> None:
            self.said.append("timed out")
            self.loop.stop()

        timer = self.loop.later(seconds, give_up)
        self.loop.run()
        timer.cancel()
        if self.said:
            raise AssertionError(self.said)

    def ask(self, work: Callable[[Report], Any], **options: Any) -> Answer:
        answers: list[Answer] = []

        def done(answer: Answer) -> None:
            answers.append(answer)
            self.loop.stop()

        self.workers.call(work, done, name="test", **options)
        self.run()
        return answers[0]


def told(answer: Answer) -> tuple[Any, ...]:
    error = answer.error
    assert error
    return type(error).__name__, str(error), list(getattr(error, "__notes__", ())), answer.killed


def failing(error: BaseException) -> Callable[[Report], None]:
    def work(_report: Report) -> None:
        raise error

    return work


def answered(work: Callable[[Report], Any], **options: Any) -> Any:
    """Return value and warnings of an answer."""

    def ask() -> Any:
        answer = Core().ask(work, **options)
        return (answer.value, answer.warnings) if answer.error is None else told(answer)

    return in_child(ask)


def test_a_value_and_warnings_come_back() -> None:
    def work(report: Report) -> Any:
        report.warn("careful")
        return {"pid": 7}

    assert answered(work) == ({"pid": 7}, ["careful"])


def test_a_long_answer_comes_back() -> None:
    assert answered(lambda report: "x" * 3_000_000) == ("x" * 3_000_000, [])


def test_an_error_keeps_its_class_its_words_and_what_followed_from_it() -> None:
    error = Unsupported("mount", errno=22, why="so", origin="/mounts/3")
    error.add_note("and then this")
    expected = ("Unsupported", str(error), ["and then this"], False)
    assert answered(failing(error)) == expected


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "out of memory"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "/x: No such file or directory (ENOENT)"),
        (ValueError("so"), "internal error: ValueError: so"),
        (KeyboardInterrupt(15), "test: interrupted"),
    ],
)
def test_any_error_comes_back_in_words(error: BaseException, text: str) -> None:
    kind, words, _, killed = answered(failing(error))
    assert (kind, killed) == ("NajaError", False)
    assert text in words


def test_descriptors_come_back() -> None:
    def work(report: Report) -> None:
        reader, writer = os.pipe()
        os.write(writer, b"here")
        report.descriptors.append(reader)

    def ask() -> Any:
        core = Core()
        before = len(os.listdir("/proc/self/fd"))
        answer = core.ask(work)
        text = os.read(answer.descriptors[0], 10)
        inherited = os.get_inheritable(answer.descriptors[0])
        os.close(answer.descriptors[0])
        return text, inherited, len(os.listdir("/proc/self/fd")) - before

    assert in_child(ask) == (b"here", False, 0)


def _numbers(_report: Report) -> list[int]:
    # One is that of the directory.
    return sorted(map(int, os.listdir("/proc/self/fd")))[:-1]


def test_a_worker_has_no_descriptors_but_those_that_it_is_given() -> None:
    def ask(streams: Sequence[int] = (), preserved: Sequence[int] = ()) -> Any:
        for _ in range(5):
            os.pipe()
        answer = Core().ask(_numbers, streams=streams, preserved=preserved)
        return answer.value

    # 0, 1, 2 and the channel.
    assert in_child(ask) == [0, 1, 2, 3]
    assert in_child(lambda: ask(preserved=os.pipe())) == [0, 1, 2, 3, 4, 5]


def test_streams_and_preserved_descriptors_are_put_where_they_belong_whatever_their_numbers() -> None:
    def work(_report: Report) -> Any:
        return [os.read(number, 10) for number in (0, 1, 2, 3, 4)], os.get_inheritable(4)

    def ask() -> Any:
        readers = []
        for number in range(5):
            reader, writer = os.pipe()
            os.write(writer, b"%d" % number)
            readers.append(reader)
        # In the reverse order of the places that they are to have.
        for place, reader in zip((9, 8, 7, 6, 5), readers, strict=True):
            if reader != place:
                os.dup2(reader, place + 50)
        places = [place + 50 for place in (9, 8, 7, 6, 5)]
        for to, source in zip((4, 3, 2, 1, 0), places, strict=True):
            os.dup2(source, to)
        answer = Core().ask(work, streams=(4, 3, 2), preserved=(1, 0))
        return answer.value

    assert in_child(ask) == ([b"0", b"1", b"2", b"3", b"4"], True)


def test_one_that_hangs_holds_nobody_up() -> None:
    def work() -> Any:
        core = Core()
        hanging = core.workers.call(lambda report: time.sleep(100), lambda answer: None, name="hang")
        answers: list[Any] = []

        def done(answer: Answer) -> None:
            answers.append(answer.value)
            if len(answers) == 10:
                core.loop.stop()

        for number in range(10):
            core.workers.call(lambda report, number=number: number, done, name="n")  # type: ignore[misc]
        core.run()
        assert hanging
        os.kill(hanging.pid, signal.SIGKILL)
        return sorted(answers)

    assert in_child(work) == list(range(10))


def test_one_that_is_killed_is_an_error_in_words() -> None:
    def work(_report: Report) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    assert answered(work) == ("NajaError", "test: the worker died: killed by signal 9", [], True)


def test_one_that_is_killed_while_it_answers_is_an_error_and_leaks_no_descriptor() -> None:
    def work(_report: Report) -> Any:
        process.prctl(1, 0)
        return "x" * 50_000_000

    def ask() -> Any:
        core = Core()
        before = len(os.listdir("/proc/self/fd"))
        answers: list[Answer] = []

        def done(answer: Answer) -> None:
            answers.append(answer)
            core.loop.stop()

        call = core.workers.call(work, done, name="test")
        assert call

        # A part of it is there, and the rest waits for room: it is killed before anybody reads.
        assert select.select([call.channel], [], [], 30)[0]
        os.kill(call.pid, signal.SIGKILL)
        core.run()
        return *told(answers[0]), len(os.listdir("/proc/self/fd")) - before

    assert in_child(ask) == ("NajaError", "test: the worker died: killed by signal 9", [], True, 0)


def test_cancelled_it_undoes_what_it_had_begun(tmp_path: Any) -> None:
    mark = tmp_path / "mark"

    def work(_report: Report) -> None:
        try:
            mark.write_text("begun")
            time.sleep(100)
        finally:
            mark.unlink()

    def ask() -> Any:
        core = Core()
        answers: list[Answer] = []

        def done(answer: Answer) -> None:
            answers.append(answer)
            core.loop.stop()

        call = core.workers.call(work, done, name="test")

        def cancel() -> None:
            if mark.exists():
                core.workers.cancel(call)
            else:
                core.loop.later(0.01, cancel)

        cancel()
        core.run()
        return told(answers[0])

    assert in_child(ask) == ("NajaError", "test: interrupted", [], False)
    assert not mark.exists()


def test_workers_die_with_their_process(tmp_path: Any) -> None:
    note = tmp_path / "pid"

    def work(_report: Report) -> None:
        note.write_text(str(os.getpid()))
        time.sleep(100)

    def ask() -> None:
        core = Core()
        core.workers.call(work, lambda answer: None, name="test")
        while not note.exists() or not note.read_text():
            time.sleep(0.01)
        os._exit(0)

    with pytest.raises(Exception, match="status 0"):
        in_child(ask)
    end = time.monotonic() + 10
    while process.start_time(int(note.read_text())):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_no_process_to_be_had_is_an_error_in_words() -> None:
    def ask() -> Any:
        import resource

        os.setuid(12345)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        return told(Core().ask(lambda report: None))

    if os.geteuid() != 0:
        pytest.skip("needs root: the limit is another user's")
    kind, words, _, _ = in_child(ask)
    assert (kind, words.partition(":")[0]) == ("NajaError", "test")
    assert "raise the limit of processes" in words


def _leave_a_child(code: int, seconds: float = 0.0) -> Callable[[Report], int]:
    def work(_report: Report) -> int:
        pid = os.fork()
        if not pid:
            time.sleep(seconds)
            os._exit(code)
        if not seconds:
            # It ends before anybody can have heard of it.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid

    return work


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_the_end_of_what_a_worker_leaves_is_told_once(seconds: float) -> None:
    """Also where it comes before its birth was heard of."""

    def ask() -> Any:
        core = Core()
        ends: list[End] = []
        began = time.time_ns()

        def note(end: End) -> None:
            ends.append(end)
            core.loop.later(0.05, core.loop.stop)

        core.workers.call(_leave_a_child(7, seconds), lambda a: core.ends.watch(a.value, note), name="test")
        core.run()
        return [end.code for end in ends], began <= ends[0].time <= time.time_ns()

    assert in_child(ask) == ([7], True)


def test_many_ends_at_once_reach_those_who_watch_them() -> None:
    def ask() -> Any:
        core = Core()
        codes: list[int] = []

        def note(number: int, end: End) -> None:
            codes.append((end.code or 0) - number)
            if len(codes) == 100:
                core.loop.stop()

        for number in range(100):
            core.workers.call(
                _leave_a_child(number),
                lambda a, n=number: core.ends.watch(a.value, lambda end: note(n, end)),  # type: ignore[misc]
                name="test",
            )
        core.run(60)
        return codes, core.workers.is_idle()

    codes, idle = in_child(ask)
    assert codes == [0] * 100
    assert idle


def test_a_signal_is_told_as_shells_do() -> None:
    def ask() -> Any:
        core = Core()
        ends: list[End] = []
        pid = os.fork()
        if not pid:
            time.sleep(100)

        def note(end: End) -> None:
            ends.append(end)
            core.loop.stop()

        core.ends.watch(pid, note)
        os.kill(pid, signal.SIGTERM)
        core.run()
        return [(end.pid == pid, end.code) for end in ends]

    assert in_child(ask) == [(True, 128 + 15)]


def test_orphans_that_nobody_knows_are_reaped() -> None:
    def leave(_report: Report) -> None:
        if not os.fork():
            os._exit(3)

    def ask() -> Any:
        core = Core()
        core.ask(leave)
        core.loop.later(0.2, core.loop.stop)
        core.run()
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return "none"
        return "some"

    assert in_child(ask) == "none"


def test_the_end_of_anothers_child_is_followed() -> None:
    def ask() -> Any:
        keeper = os.fork()
        if not keeper:
            # Another process is the parent, and reaps it.
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                time.sleep(0.1)
                os._exit(9)
            del reader
            os.write(writer, b"x")
            os.waitpid(child, 0)
            time.sleep(100)
        children = f"/proc/{keeper}/task/{keeper}/children"
        while True:
            with open(children) as file:
                if found := file.read().split():
                    break
            time.sleep(0.005)
        core = Core()
        ends: list[End] = []

        def note(end: End) -> None:
            ends.append(end)
            core.loop.stop()

        core.ends.follow(process.pidfd_open(int(found[0])), int(found[0]), note)
        core.run()
        os.kill(keeper, signal.SIGKILL)
        return [(end.pid == int(found[0]), end.code) for end in ends]

    known, code = in_child(ask)[0]
    assert known
    # Linux tells since 6.15.
    assert code in (9, None)
    if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15):
        assert code == 9


def _begun(report: Report, value: int) -> tuple[int, int]:
    wait_for_word()
    return os.getpid(), value


def _play(core: Core, value: int) -> tuple[int, tuple[int, int]]:
    """Have a worker begin and go on; return its pid, and what it says."""
    answers: list[Answer] = []

    def done(answer: Answer) -> None:
        answers.append(answer)
        core.loop.stop()

    pid = core.workers.begin(_begun, (value,), name="test")
    assert core.workers.go_on(pid, done, name="test", streams=())
    core.run()
    assert not answers[0].error
    return pid, answers[0].value


def _settle(core: Core, seconds: float = 0.2) -> None:
    core.loop.later(seconds, core.loop.stop)
    core.loop.run()


def test_who_begins_may_have_been_born_ahead(tmp_path: Path) -> None:
    def work() -> Any:
        core = Core()
        core.workers.expect(_begun, lambda: (tmp_path / "pid").write_text(str(os.getpid())))
        _settle(core)
        rehearsed = int((tmp_path / "pid").read_text())
        pid, answer = _play(core, 5)
        later, other = _play(core, 6)
        return pid == rehearsed, answer == (pid, 5), later != pid, other == (later, 6)

    assert in_child(work) == (True, True, True, True)


def test_who_was_born_ahead_ends_where_nobody_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> Any:
        monkeypatch.setattr(workers, "_AHEAD", 0.3)
        monkeypatch.setattr(warmer, "is_needed", lambda: False)
        core = Core()
        core.workers.expect(_begun, lambda: None)
        _settle(core)
        assert Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        _settle(core, 0.5)
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text()

    assert in_child(work) == ""


def test_nobody_is_born_ahead_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> Any:
        monkeypatch.setattr(warmer, "is_needed", lambda: False)
        core = Core()
        pid = core.workers.begin(_begun, (1,), name="test")
        core.workers.expect(_begun, lambda: None)
        _settle(core)
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split() == [str(pid)]

    assert in_child(work)


def test_who_keeps_moves_cheap_is_woken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is begun anew where it has ended."""

    def work() -> None:
        told, tell = os.pipe()
        monkeypatch.setattr(warmer, "_SPAN", 0.0)
        monkeypatch.setattr(warmer, "is_needed", lambda: True)
        monkeypatch.setattr(warmer, "_open_own", lambda: os.open("/dev/null", os.O_WRONLY))
        monkeypatch.setattr(warmer, "write_repeatedly", lambda _: os.write(tell, b"%d " % os.getpid()))
        monkeypatch.setattr(process, "close_all_but", lambda _: None)
        found = warmer.Warmer()
        assert not found.ring()
        found.warm()
        first = int(os.read(told, 64))
        assert found.ring()
        assert int(os.read(told, 64)) == first
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
        assert not found.ring()
        found.warm()
        assert int(os.read(told, 64)) != first

    in_child(work)


def test_who_keeps_moves_cheap_has_nothing_else_open() -> None:
    def work() -> None:
        files = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
        process.close_all_but((files[3], files[1]))
        still = [number for number in range(files[-1] + 64) if _is_open(number)]
        os._exit(still != sorted((files[1], files[3])))

    pid = os.fork()
    if not pid:
        work()
    assert os.waitpid(pid, 0)[1] == 0


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
