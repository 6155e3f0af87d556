"""Two commands about one container at the same time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.commands import BUNDLE, COMMANDS, ID, Command
from tests.faults.trial import Outcome, aftermath, is_spoilt, wording
from tests.faults.workshop import BOUND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.faults.workshop import Workshop

_CREATE = ("create", "--bundle", BUNDLE, ID)
_DETACH = ("run", "--detach", "--bundle", BUNDLE, ID)

#: What may be there when the race begins.
SITUATIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "nothing": (),
    "created": (_CREATE,),
    "running": (_DETACH,),
    "paused": (_DETACH, ("pause", ID)),
    "stopped": (_DETACH, ("kill", ID, "KILL")),
}

RACERS = [name for name, command in COMMANDS.items() if "@" not in name and command.words[0] != "run"]
RACERS.append("run-detached")

#: How long two commands may take before it is looked at whether the container is paused.
_PATIENCE = 5.0
#: How much later the second command begins, at most, in seconds.
_LONGEST = 0.06


@dataclass(frozen=True)
class Race:
    """Two commands, what they find, and the start of the second, in seconds after that of the first."""

    first: str
    second: str
    situation: str
    offset: float

    def __str__(self) -> str:
        return f"race/{self.first}/{self.second}/{self.situation}/{self.offset:.5f}"

    @staticmethod
    def parse(text: str) -> Race:
        """Read what ``str`` has written. Raises ValueError."""
        _, first, second, situation, offset = text.split("/")
        return Race(first, second, situation, float(offset))


def races(random: Random, number: int, verb: str = "") -> Iterator[Race]:
    """Return so many races: of all pairs in turn, or of those with ``verb``."""
    pairs = [pair for pair in itertools.product(RACERS, repeat=2) if not verb or verb in pair]
    random.shuffle(pairs)
    for first, second in itertools.islice(itertools.cycle(pairs), number):
        fitting = [name for name in SITUATIONS if _fits(name, first) or _fits(name, second)]
        yield Race(first, second, random.choice(fitting), random.uniform(0, _LONGEST))


def _fits(situation: str, command: str) -> bool:
    """Tell whether a command may succeed in a situation."""
    verb = COMMANDS[command].words[0]
    fitting = {"create": "nothing", "run": "nothing", "start": "created", "resume": "paused"}
    return situation == fitting[verb] if verb in fitting else situation != "nothing"


def run_race(workshop: Workshop, race: Race) -> Outcome:
    """Run one."""
    bench = workshop.bench(Command(words=()))
    supervisor = bench.supervisor
    try:
        bench.prepare(SITUATIONS[race.situation])
        first = supervisor.start(bench.argv(COMMANDS[race.first].words))
        supervisor.wait(lambda: False, race.offset)
        second = supervisor.start(bench.argv(COMMANDS[race.second].words))
        ended = supervisor.wait(lambda: None not in (first.status, second.status), _PATIENCE)
        if not ended and "pause" in (race.first, race.second):
            bench.command(COMMANDS["resume"].words)  # Whoever had entered the container was paused with it.
        supervisor.wait(lambda: None not in (first.status, second.status), BOUND)
        complaints = [
            f"{name}: {text}"
            for name, session in ((race.first, first), (race.second, second))
            for text in wording(session.result(), raced=True)
            if not is_spoilt(text)
        ]
        if None in (first.status, second.status):
            supervisor.end()
        return Outcome(str(race), complaints=complaints + aftermath(bench))
    finally:
        bench.clean()
