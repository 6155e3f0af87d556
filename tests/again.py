"""Tests that failed beside others, once more and alone.

    python -m tests.again MOST [OPTION OF PYTEST ...]

On two processors on which two of everything run some tests wait too long for something. Where at most MOST
tests fail, they are run again by themselves; those that pass then are named at the end, so that nobody takes
them for sound. tests/faults gives second tries to single faults by itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

#: pytest's status where tests have failed, and nothing else was wrong.
_FAILED = 1


def main(most: int, options: list[str]) -> int:
    """Run pytest, and again what has failed; returns pytest's exit status."""
    with tempfile.TemporaryDirectory(prefix="naja-again-") as place:
        cache = ["-o", f"cache_dir={place}"]
        status = pytest(*cache, *options)
        failed = last_failed(Path(place))
        if status != _FAILED or not 0 < len(failed) <= most:
            return status
        print(f"once more, alone: {' '.join(failed)}", flush=True)
        status = pytest("-p", "no:cacheprovider", *failed)
        verdict = "passed alone, after they had failed" if status == 0 else "failed twice"
        print(f"{verdict}: {' '.join(failed)}", flush=True)
        return status


def pytest(*words: str) -> int:
    """Run pytest and return its exit status."""
    return subprocess.run([sys.executable, "-m", "pytest", *words], check=False).returncode


def last_failed(place: Path) -> list[str]:
    """Return the tests that pytest has noted as failed in its cache directory."""
    noted = place / "v/cache/lastfailed"
    return sorted(json.loads(noted.read_text())) if noted.exists() else []


if __name__ == "__main__":
    import signal

    # Who interrupts this interrupts pytest as well, which cleans up.
    signal.signal(signal.SIGINT, lambda *_: None)
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
