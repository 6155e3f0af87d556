"""Help: click commands made from the declarations in ``options``.

Only help loads click, which costs more than running a container does; command lines are always read by
``parser``. A test holds that both read alike.
"""

from __future__ import annotations

from typing import Any

from ..errors import package_missing
from .guide import ABOUT, EXAMPLES
from .options import DURATION, FLAG, GLOBAL_OPTIONS, HELP, NUMBER, TEXTS, VERBS, Option, Verb
from .parser import UsageError
from .suggest import for_command
from .words import described, helped, placeholder

try:
    import click
except ImportError as error:
    raise package_missing("help", "click", error) from None

__all__ = ["commands", "show_help"]

_END = "'naja help COMMAND' tells more of one command, 'naja completion SHELL' makes a shell complete words."


class _Option(click.Option):
    """An option that also exists with a single dash, which the help need not repeat."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        declared, self.opts = self.opts, [name for name in self.opts if _is_usual(name)]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = declared


def _is_usual(name: str) -> bool:
    return name.startswith("--") or len(name) == 2


def _option(option: Option) -> click.Option:
    """Return the click option for a declaration; its value is that of ``parser``."""
    names = [f"{dashes}{name}" for name in option.names for dashes in ("--", "-")]
    names = [name for name in names if len(name.lstrip("-")) > 1 or not name.startswith("--")]
    parameter = option.name.replace("-", "_")
    if option.kind == FLAG:
        # As it is, or else click would make a truth value of a default that is none.
        value: Any = {"flag_value": True, "default": option.default, "type": click.UNPROCESSED}
        return _Option([*names, parameter], is_flag=True, help=helped(option), **value)
    return _Option(
        [*names, parameter],
        help=helped(option),
        default=None if option.kind == TEXTS else option.default,
        multiple=option.kind == TEXTS,
        type=float if option.kind == DURATION else int if option.kind == NUMBER else str,
        metavar=placeholder(option),
    )


def _command(name: str, verb: Verb) -> click.Command:
    arguments = click.Argument(["arguments"], nargs=-1, metavar=verb.arguments)
    return click.Command(
        name,
        params=[arguments, *map(_option, (*verb.options, HELP))],
        help=described(name),
        short_help=verb.summary,
        epilog=_examples(name),
        add_help_option=False,
        context_settings=_settings(not verb.greedy),
    )


def _examples(name: str) -> str:
    """Return the examples of a command; click leaves alone what follows its \\b."""
    lines = ["\b", "Examples:"]
    for command, meaning in EXAMPLES.get(name, ()):
        lines += [f"  {command}", f"      {meaning}"]
    return "\n".join(lines)


def _settings(interspersed: bool) -> dict[str, Any]:
    return {"allow_interspersed_args": interspersed, "max_content_width": 100}


def commands() -> click.Group:
    """Return all commands as click knows them; they cannot be invoked."""
    group = click.Group(
        "naja",
        help=ABOUT,
        epilog=f"{_examples('')}\n\n{_END}",
        params=list(map(_option, GLOBAL_OPTIONS)),
        add_help_option=False,
        context_settings=_settings(False),
    )
    for name, verb in VERBS.items():
        group.add_command(_command(name, verb))
    return group


def show_help(program: str, name: str = "") -> int:
    """Print the help of naja or of one verb. Returns 0. Raises UsageError."""
    group = commands()
    context = group.make_context(program, [], resilient_parsing=True)
    if name:
        command = group.commands.get(name)
        if command is None:
            raise UsageError(f"no such command: {name!r}{for_command(name)}")
        context = click.Context(command, parent=context, info_name=name, **command.context_settings)
    click.echo(context.get_help())
    return 0
