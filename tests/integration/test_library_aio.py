"""The Python API for asyncio: hundreds of containers on one loop, and what is cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import naja
from naja import DEVNULL, PIPE, aio
from tests.support.library import resident_gone, resident_pid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


@pytest.fixture(autouse=True)
def _resident(leak_check: object) -> Iterator[None]:
    with resident_gone():
        yield


@pytest.fixture
def root(naja: Runtime) -> Path:
    return Path(naja.root)


def test_two_hundred_at_a_time(bundle: Bundle, root: Path) -> None:
    """Each gets its own output and code."""
    del bundle.linux["cgroupsPath"]
    bundle.shell("read word code; echo $word; exit $code")

    async def run(index: int) -> tuple[int, str]:
        given = f"w{index} {index % 7}\n"
        done = await aio.run(
            f"{bundle.id}n{index}", bundle.path, root=root, input=given, stdout=PIPE, text=True
        )
        return done.returncode, done.stdout

    async def main() -> list[tuple[int, str]]:
        return await asyncio.gather(*map(run, range(200)))

    assert asyncio.run(main()) == [(index % 7, f"w{index}\n") for index in range(200)]
    assert naja.list_containers(root) == []


def test_a_life(bundle: Bundle, root: Path) -> None:
    bundle.shell("read line; echo $line; exec sleep 1000")

    async def main() -> None:
        container = await aio.Container.create(bundle.id, bundle.path, root=root, stdin=PIPE, stdout=PIPE)
        async with container:
            assert container.status() == "created"
            await container.start()
            with pytest.raises(naja.WrongState):
                await container.start()
            assert container.stdin and container.stdout
            container.stdin.write(b"hello\n")
            assert await container.stdout.readline() == b"hello\n"
            await container.pause()
            await container.resume()
            await container.update(pids={"limit": 77})
            assert container.stats()["pids"]["limit"] == 77
            async for event in container.events(interval=0.1):
                assert event["type"] == "stats"
                break
            first, second = asyncio.create_task(container.wait()), asyncio.create_task(container.wait())
            await asyncio.sleep(0.05)
            first.cancel()
            await container.kill(signal.SIGKILL)
            assert await second == await container.wait() == 137
        assert naja.list_containers(root) == []

    asyncio.run(main())


def test_exec(bundle: Bundle, root: Path) -> None:
    bundle.args("/bin/sleep", "1000")

    async def echo(container: aio.Container, index: int) -> None:
        async with await container.exec(["cat"], stdin=PIPE, stdout=PIPE) as process:
            content = f"{index}".encode() * 50_000
            assert await process.communicate(content) == (content, None)

    async def main() -> None:
        async with await aio.Container.start_new(
            bundle.id, bundle.path, root=root, stdin=DEVNULL
        ) as container:
            await asyncio.gather(*(echo(container, index) for index in range(20)))
            process = await container.exec(["sleep", "1000"])
            await process.terminate()
            assert await process.wait() == 143
            process.close()

    asyncio.run(main())


def test_in_time(bundle: Bundle, root: Path) -> None:
    bundle.shell("echo begun; sleep 1000")
    with pytest.raises(naja.TimeoutExpired) as expired:
        asyncio.run(aio.run(bundle.id, bundle.path, root=root, capture_output=True, timeout=2))
    assert expired.value.stdout == b"begun\n"
    assert naja.list_containers(root) == []


@pytest.mark.parametrize("after", [0.0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.3])
def test_what_is_cancelled_is_undone(bundle: Bundle, root: Path, after: float) -> None:
    bundle.args("/bin/sleep", "1000")

    async def main() -> None:
        for make in (aio.Container.create, aio.Container.start_new):
            task = asyncio.create_task(make(bundle.id, bundle.path, root=root, stdin=DEVNULL, stdout=PIPE))
            await asyncio.sleep(after)
            if not task.cancel():
                await task.result().delete(force=True)
                task.result().close()
                continue
            with pytest.raises(asyncio.CancelledError):
                await task
            assert naja.list_containers(root) == []
        task2 = asyncio.create_task(aio.run(bundle.id, bundle.path, root=root, stdin=DEVNULL, stdout=PIPE))
        await asyncio.sleep(after)
        task2.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task2

    asyncio.run(main())
    assert naja.list_containers(root) == []


def test_a_resident_process_that_died_is_started_anew(bundle: Bundle, root: Path) -> None:
    bundle.args("/bin/true")

    async def main() -> None:
        await aio.run(None, bundle.path, root=root)
        os.kill(resident_pid(), signal.SIGKILL)
        try:
            await aio.run(None, bundle.path, root=root)
        except naja.NajaError as error:
            assert "the resident process has ended" in str(error)
        assert (await aio.run(None, bundle.path, root=root)).returncode == 0

    asyncio.run(main())
