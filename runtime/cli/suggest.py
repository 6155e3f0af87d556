"""What somebody meant who mistyped a command or an option. Loaded for a refusal only."""

from __future__ import annotations

from .options import FLAG, GLOBAL_OPTIONS, VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .options import Option

__all__ = ["for_command", "for_option", "near"]


def for_command(word: str) -> str:
    """Return a hint to follow the refusal of a command; "" where nothing is near."""
    found = near(word, VERBS)
    return f" (did you mean {found!r}?)" if found else ""


def for_option(name: str, known: Mapping[str, Option]) -> str:
    """Return a hint to follow the refusal of an option, where those in ``known`` may stand; or ""."""
    if name in _names(GLOBAL_OPTIONS):
        return " (it stands before the command)"
    if "root" in known and any(name in _names(verb.options) for verb in VERBS.values()):
        return " (it stands after the command)"
    if all(letter in known and known[letter].kind == FLAG for letter in name):
        return f" (did you mean {' '.join(f'-{letter}' for letter in name)}?)"
    found = near(name, (long for long in known if len(long) > 1))
    return f" (did you mean --{found}?)" if found else ""


def _names(options: Iterable[Option]) -> set[str]:
    return {name for option in options for name in option.names}


def near(word: str, known: Iterable[str]) -> str:
    """Return the known word that is nearest to ``word``, or goes on after it; "" where none is near."""
    most = max(1, len(word) // 3)
    ranked = [
        (0 if len(word) > 1 and each.startswith(word) else _distance(word, each, most), each)
        for each in known
    ]
    least, found = min(ranked, default=(most + 1, ""))
    return found if least <= most else ""


def _distance(one: str, other: str, most: int) -> int:
    """Return how many letters are wrong, missing, too many, or changed places; ``most`` + 1 for more."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one):
        last, before, row = before, row, [place + 1]
        for column, opposite in enumerate(other):
            steps = [before[column] + (letter != opposite), before[column + 1] + 1, row[column] + 1]
            if place and column and letter == other[column - 1] and opposite == one[place - 1]:
                steps.append(last[column - 1] + 1)
            row.append(min(steps))
    return row[-1]
