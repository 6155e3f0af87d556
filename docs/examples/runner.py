"""Runs lines of shell, each in a container of its own, several at a time: a small CI on one asyncio loop.

    python runner.py [--at-once 8] [--timeout 60] < jobs

A job is a line; what it wrote is shown when it is done, and the exit status is 1 where one has failed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import naja
from naja import aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


class Job:
    """A line of shell, and what came of it: ``returncode`` is None where it took too long."""

    def __init__(self, number: int, line: str) -> None:
        self.number = number
        self.line = line
        self.returncode: int | None = None
        self.output = ""


async def perform(job: Job, directory: Path, timeout: float) -> Job:
    """Run a job in a container. Raises naja.NajaError."""
    bundle = naja.Bundle.from_host("/bin/sh", "-ec", job.line).limit(memory="256m", pids=64)
    path = bundle.write(directory / str(job.number))
    try:
        done = await aio.run(
            None,
            path,
            stdin=naja.DEVNULL,
            stdout=naja.PIPE,
            stderr=naja.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
        )
        job.returncode, job.output = done.returncode, done.stdout
    except naja.TimeoutExpired as error:
        job.output = error.stdout or ""
    return job


async def run_all(lines: Iterable[str], *, at_once: int, timeout: float) -> AsyncIterator[Job]:
    """Yield jobs as they are done. Where one cannot be run, or the caller leaves, the others are ended."""
    room = asyncio.Semaphore(at_once)

    async def one(job: Job) -> Job:
        async with room:
            return await perform(job, Path(directory), timeout)

    with tempfile.TemporaryDirectory() as directory:
        tasks = [asyncio.create_task(one(Job(number, line))) for number, line in enumerate(lines, 1)]
        try:
            for task in asyncio.as_completed(tasks):
                yield await task
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def main() -> int:
    """Run the jobs on standard input; return an exit status."""
    parser = argparse.ArgumentParser(description="Run lines of shell, each in a container of its own.")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--timeout", type=float, default=60.0)
    options = parser.parse_args()
    status = 0
    lines = [line.strip() for line in sys.stdin if line.strip()]
    async for job in run_all(lines, at_once=options.at_once, timeout=options.timeout):
        how = "took too long" if job.returncode is None else f"exit status {job.returncode}"
        print(f"[{job.number}] {job.line}: {how}\n{job.output}", end="", flush=True)
        status = status or int(job.returncode != 0)
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
