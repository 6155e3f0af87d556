"""All tests, in less time than one after the other: ``make test``.

    python -m tests.all [OPTION OF PYTEST ...]

With AGAIN=N in the environment up to N tests that fail are run once more, alone (see again.py).

Unit and integration tests run in two processes, each file in one of them. Engines, which mostly wait, run
beside them, in a process of their own: gRPC leaves threads behind, and a raw clone of a process with threads
cannot even change its user. The faults come last and alone, as they use all processors by themselves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from typing import Any

_MOST = ["-n", "2", "--dist", "loadfile", "tests/unit", "tests/integration", "tests/vm"]
#: pytest's statuses where it was interrupted, and where an option has left no test over.
_INTERRUPTED, _NONE = 2, 5


def main(options: list[str]) -> int:
    """Run them, whatever fails; returns the worst of pytest's exit statuses."""
    # Who interrupts this interrupts pytest as well, which cleans up.
    signal.signal(signal.SIGINT, lambda *_: None)
    # At its start pytest closes its directory for temporary files to others; a test may just have opened it.
    place = os.path.join(tempfile.gettempdir(), "naja-engines-tests")
    os.makedirs(place, exist_ok=True)
    environment = {**os.environ, "PYTEST_DEBUG_TEMPROOT": place}
    with tempfile.TemporaryFile("w+") as told:
        beside = start([*options, "tests/engines"], stdout=told, stderr=subprocess.STDOUT, env=environment)
        statuses = [start([*options, *_MOST]).wait(), beside.wait()]
        told.seek(0)
        print(told.read(), flush=True)
    if _INTERRUPTED not in statuses:
        # They give second tries themselves, to single faults.
        statuses.append(subprocess.Popen([sys.executable, "-m", "pytest", *options, "tests/faults"]).wait())
    return max((status for status in statuses if status != _NONE), default=_NONE)


def start(words: list[str], **files: Any) -> subprocess.Popen[bytes]:
    """Start pytest."""
    again = ["tests.again", os.environ["AGAIN"]] if "AGAIN" in os.environ else ["pytest"]
    return subprocess.Popen([sys.executable, "-m", *again, *words], **files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
