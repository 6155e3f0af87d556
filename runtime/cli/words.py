"""What help, man pages and completion say of the declarations in ``options``."""

from __future__ import annotations

from .guide import MORE
from .options import CAPABILITY, DIRECTORY, DURATION, FILE, FLAG, NUMBER, VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Option

__all__ = ["described", "helped", "placeholder", "spelled", "usage"]

_PLACEHOLDERS = {FILE: "FILE", DIRECTORY: "DIRECTORY", CAPABILITY: "CAPABILITY"}


def usage(program: str, name: str) -> str:
    """Return the form of a command line."""
    if not name:
        return f"{program} [global options] COMMAND [options] [arguments]"
    return f"{program} [global options] {name} [options] {VERBS[name].arguments}".rstrip()


def described(name: str) -> str:
    """Return what a command does, in sentences."""
    summary = VERBS[name].summary
    return " ".join(filter(None, (summary[0].upper() + summary[1:] + ".", MORE.get(name))))


def spelled(option: Option) -> list[str]:
    """Return the usual spellings of an option, the short one first."""
    return [f"-{name}" if len(name) == 1 else f"--{name}" for name in sorted(option.names, key=len)]


def placeholder(option: Option) -> str:
    """Return what stands for an option's value; "" for a flag."""
    if option.kind == FLAG:
        return ""
    usual = {NUMBER: "N", DURATION: "TIME"}.get(option.kind, "VALUE")
    return _PLACEHOLDERS.get(option.takes) or option.takes.replace(" ", "|") or usual


def helped(option: Option) -> str:
    """Return what an option does, and what is meant where it is not given."""
    default = "" if option.default in (False, "", 0, ()) else f" (default: {option.default})"
    return option.help + default
