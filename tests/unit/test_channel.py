"""The channel between two processes of naja."""

from __future__ import annotations

import os
import signal

from naja.linux.channel import Channel

MESSAGES = 3000


def test_two_speak_at_once() -> None:
    """A stage that has given birth says so while the init may already say what went wrong."""
    ours, theirs = Channel.pair()
    begin, gate = os.pipe()
    speakers = []
    for name in ("stage", "init"):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)  # Nobody listens any more where the test has failed.
            os.close(gate)
            os.read(begin, 1)
            for number in range(MESSAGES):
                theirs.send((name, number))
            os._exit(0)
        speakers.append(pid)
    os.close(gate)
    os.close(begin)
    heard: dict[str, int] = {}
    for _ in range(2 * MESSAGES):
        (name, number), _ = ours.receive()
        assert heard.setdefault(name, 0) == number
        heard[name] += 1
    ours.close()
    assert [os.waitpid(pid, 0)[1] for pid in speakers] == [0, 0]


def test_a_large_message_with_a_descriptor() -> None:
    ours, theirs = Channel.pair()
    pid = os.fork()
    if pid == 0:
        theirs.send(b"x" * (4 << 20), [1])
        os._exit(0)
    message, descriptors = ours.receive()
    assert (len(message), len(descriptors)) == (4 << 20, 1)
    os.close(descriptors[0])
    assert os.waitpid(pid, 0)[1] == 0


def test_more_descriptors_than_the_kernel_takes_at_once() -> None:
    """As for the sources of very many mounts with mapped ids."""
    here, there = Channel.pair()
    read, write = os.pipe()
    descriptors: list[int] = []
    try:
        here.send("message", [read, write] * 300)
        message, descriptors = there.receive()
        assert (message, len(descriptors)) == ("message", 600)
        kinds = [os.fstat(descriptor).st_ino for descriptor in descriptors]
        assert kinds == [os.fstat(read).st_ino] * 600
        assert [os.write(descriptors[-1], b"x"), os.read(descriptors[0], 1)] == [1, b"x"]
    finally:
        here.close()
        there.close()
        for descriptor in (read, write, *descriptors):
            os.close(descriptor)
