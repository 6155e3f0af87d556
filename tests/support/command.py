"""Running the runtime under test as a command, as an engine would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.wait import wait_until

if TYPE_CHECKING:
    from tests.support.bundle import Bundle

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def runtime_command() -> list[str]:
    """Return the runtime under test: $NAJA split at blanks, else the installed ``naja``, else the module."""
    named = os.environ.get("NAJA", "").split()
    if named:
        return named
    installed = os.path.join(os.path.dirname(sys.executable), "naja")
    if os.access(installed, os.X_OK):
        return [installed]
    return [sys.executable, "-m", "naja"]


@dataclass
class Result:
    """How a command ended."""

    argv: list[str]
    status: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"{' '.join(self.argv)} → {self.status}\nstdout: {self.stdout}\nstderr: {self.stderr}"


class Runtime:
    """The runtime under test with a state directory of its own (``--root``)."""

    def __init__(self, root: str, argv: list[str] | None = None) -> None:
        self.argv = argv or runtime_command()
        self.root = root
        self.name = os.path.basename(self.argv[0])

    def command(self, *words: str) -> list[str]:
        """Return the whole command line for a verb and its arguments."""
        return [*self.argv, "--root", self.root, *words]

    def run(
        self,
        *words: str,
        check: bool = True,
        timeout: float = 30,
        input: str | None = None,
        **options: Any,
    ) -> Result:
        """Run a verb to its end with pipes for output; ``options`` go to subprocess.run.

        Raises AssertionError where it fails (with ``check``), shows a traceback, or takes too long.
        A detached container must not inherit these pipes: use ``detached`` for create and run -d.
        """
        if input is None:
            options.setdefault("stdin", subprocess.DEVNULL)
        argv = self.command(*words)
        done = subprocess.run(
            argv,
            timeout=timeout,
            input=input,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            **options,
        )
        return self.judge(Result(argv, done.returncode, done.stdout, done.stderr), check)

    def detached(
        self, *words: str, check: bool = True, timeout: float = 30, output: int | None = None, **options: Any
    ) -> Result:
        """Run create (or run -d, exec -d), whose output a container goes on holding.

        The output goes to the descriptor ``output``, else to a file in the state directory's place.
        """
        argv = self.command(*words)
        os.makedirs(self.root, exist_ok=True)
        with (
            open(self.root + ".stdout", "w+b") as out,
            open(self.root + ".stderr", "w+b") as err,
        ):
            status = subprocess.run(
                argv,
                timeout=timeout,
                stdin=options.pop("stdin", subprocess.DEVNULL),
                stdout=out if output is None else output,
                stderr=err,
                check=False,
                **options,
            ).returncode
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="surrogateescape"))
        return self.judge(Result(argv, status, *texts), check)

    def judge(self, result: Result, check: bool) -> Result:
        """Return the result. Raises AssertionError on a traceback, and with ``check`` on a failure."""
        assert "Traceback (most recent call last)" not in result.stdout + result.stderr, str(result)
        assert not check or result.status == 0, str(result)
        return result

    def create(self, bundle: Bundle, *flags: str, check: bool = True, **options: Any) -> Result:
        return self.detached("create", "--bundle", bundle.path, *flags, bundle.id, check=check, **options)

    def start(self, bundle: Bundle, *, check: bool = True) -> Result:
        return self.run("start", bundle.id, check=check)

    def run_attached(self, bundle: Bundle, *flags: str, check: bool = True, **options: Any) -> Result:
        """Run the bundle's container to its end; the status is the container's."""
        return self.run("run", "--bundle", bundle.path, *flags, bundle.id, check=check, **options)

    def run_detached(self, bundle: Bundle, *flags: str, check: bool = True, **options: Any) -> Result:
        return self.detached(
            "run", "--detach", "--bundle", bundle.path, *flags, bundle.id, check=check, **options
        )

    def exec(self, bundle: Bundle, *words: str, check: bool = True, **options: Any) -> Result:
        """Run a command in the container; ``words`` are flags (before the ID: give none) and the command."""
        return self.run("exec", bundle.id, *words, check=check, **options)

    def state(self, bundle: Bundle) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.run("state", bundle.id).stdout)
        return state

    def status(self, bundle: Bundle) -> str:
        return str(self.state(bundle)["status"])

    def wait_for(self, bundle: Bundle, status: str, timeout: float = 10) -> None:
        """Wait until the container has this status."""
        wait_until(lambda: self.status(bundle) == status, timeout=timeout, what=f"status {status}")

    def kill(self, bundle: Bundle, signal: str = "KILL", *, check: bool = True) -> Result:
        return self.run("kill", bundle.id, signal, check=check)

    def delete(self, bundle: Bundle, *flags: str, check: bool = True) -> Result:
        return self.run("delete", *flags, bundle.id, check=check)

    def ids(self) -> list[str]:
        """Return the IDs that have anything in the state directory."""
        return sorted(os.listdir(self.root)) if os.path.isdir(self.root) else []
