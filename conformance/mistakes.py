"""Makes the mistakes of docs/mistakes.md with naja, runc and crun, and prints the page with their answers.

    python -m conformance.mistakes [--write]

An answer that still matches stays as it is, for … may stand in it. ``--write`` replaces the page. runc and
crun are those in PATH; one that is not there keeps its answers. On a hybrid host the v2 tree is hidden
from them, as crun 1.8 refuses it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import tempfile

from conformance.bench.place import hide_unified
from tests.support import mistakes
from tests.support.bundle import Bundle, make_rootfs
from tests.support.command import Runtime, runtime_command

_numbers = itertools.count()
#: The longest answer of others that is printed.
_LONGEST = 300


def answered(text: str, scratch: str, runtimes: dict[str, list[str]]) -> str:
    """Return a page with the answers of runtimes, by name and command line."""
    lines = text.splitlines()
    for mistake in mistakes.read(text):
        for name, argv in runtimes.items():
            number = next(_numbers)
            bundle = Bundle(f"{scratch}/{number}", f"mistake{os.getpid()}x{number}", f"{scratch}/rootfs")
            runtime = Runtime(f"{scratch}/root{number}", argv)
            os.mkdir(runtime.root)
            os.chmod(runtime.root, 0o777)
            runtime.name = name
            said = mistakes.make(mistake, bundle, runtime)
            runtime.delete(bundle, "--force", check=False)
            shutil.rmtree(bundle.path)
            _put(lines, mistake, name, said)
    return "\n".join(lines) + "\n"


def _put(lines: list[str], mistake: mistakes.Mistake, name: str, said: str) -> None:
    """Put an answer into the page, where the one that is there is another."""
    if name in mistake.answers and mistakes.matches(mistake.answers[name], said):
        return
    if len(said) > _LONGEST:
        said = f"{said[:_LONGEST]}…"
    start = lines.index(f"### {mistake.title}")
    end = next((n for n in range(start + 1, len(lines)) if lines[n].startswith("#")), len(lines))
    for number in range(start, end):
        if lines[number].startswith(f"    {name}: "):
            lines[number] = f"    {said}"
            return
    block = max(n for n in range(start, end) if lines[n].startswith("    "))
    gap = [""] if lines[block].startswith("    $") else []
    lines[block + 1 : block + 1] = [*gap, f"    {said}"]


def main() -> int:
    """Print or write the page."""
    parser = argparse.ArgumentParser(description="docs/mistakes.md with the answers of this machine")
    parser.add_argument("--write", action="store_true", help="replace the page")
    options = parser.parse_args()
    others = {name: [name] for name in mistakes.RUNTIMES[1:] if shutil.which(name)}
    with open(mistakes.PAGE) as file:
        text = file.read()
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)
        make_rootfs(os.path.join(scratch, "rootfs"))
        page = answered(text, scratch, {"naja": runtime_command()})
        hide_unified()
        page = answered(page, scratch, others)
    if options.write:
        with open(mistakes.PAGE, "w") as file:
            file.write(page)
    else:
        sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
