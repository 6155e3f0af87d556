"""Daemons and shims killed with SIGKILL, at random, in a load of containers and processes added to them.

    python -m conformance.kills [--engine ctr|Docker ...] [--kills N] [--runtime PROGRAM]

Prints for each engine what is left on the host afterwards, and ends with 1 where that is anything. The
runtime is naja's shim by default, which a Docker before 23 does not take.
"""

from __future__ import annotations

import argparse
import sys

from conformance.engines import shim
from tests.engines import kills
from tests.engines.catalogue import CATALOGUE, Engines


def main() -> int:
    """Kill, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="kills", description="Kill daemons and shims at random.")
    parser.add_argument("--engine", action="append", default=[], choices=("ctr", "Docker"), help="repeatable")
    parser.add_argument("--kills", type=int, default=100, help="how many, for each engine")
    parser.add_argument("--runtime", default=shim(), metavar="PROGRAM", help="naja's shim by default")
    options = parser.parse_args()
    status = 0
    for name in options.engine or ("ctr", "Docker"):
        if missing := CATALOGUE[name].missing(options.runtime):
            print(f"{name} is left out: it needs {', '.join(missing)}", file=sys.stderr)
            continue
        with Engines(options.runtime) as engines:
            added, left = kills.play(engines, name, options.kills)
        print(f"{name}: killed {options.kills} times, {added} processes added, {len(left)} things left")
        for line in left:
            print(f"- {line}")
        status |= bool(left or not added)
    return status


if __name__ == "__main__":
    sys.exit(main())
