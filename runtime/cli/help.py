"""Help and shell completion: click commands made from the declarations in ``options``.

Only help and completion load click, which costs more than running a container does; command lines
are always read by ``parser``. A test holds that both read alike.
"""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from ..container import state
from .options import DURATION, FLAG, GLOBAL_OPTIONS, HELP, NUMBER, TEXTS, VERBS, Option, Verb
from .parser import UsageError

__all__ = ["commands", "show_help"]

_PURPOSE = """An OCI container runtime: turns a bundle, a directory with a config.json and a root file system,
into an isolated process. Takes the command lines of runc."""
_EPILOG = """'naja help COMMAND' tells more of one command. For completion in bash:
eval "$(_NAJA_COMPLETE=bash_source naja)" """
_METAVARS = {NUMBER: "N", DURATION: "TIME"}


class _ContainerId(click.ParamType):  # type: ignore[type-arg]
    """An argument that completes to the IDs of containers."""

    name = "container"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        del param
        root = (ctx.parent.params.get("root") if ctx.parent else "") or state.default_root()
        return [CompletionItem(id) for id in state.ids(root) if id.startswith(incomplete)]


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
    text = option.help
    if option.kind == FLAG:
        return _Option([*names, _parameter(option)], is_flag=True, help=text)
    return _Option(
        [*names, _parameter(option)],
        help=text if option.default in ("", 0, ()) else f"{text} (default: {option.default})",
        default=None if option.kind == TEXTS else option.default,
        multiple=option.kind == TEXTS,
        type=float if option.kind == DURATION else int if option.kind == NUMBER else str,
        metavar=_METAVARS.get(option.kind, "VALUE"),
    )


def _parameter(option: Option) -> str:
    """Return the name of an option as an identifier."""
    return option.name.replace("-", "_")


def _command(name: str, verb: Verb) -> click.Command:
    kind = _ContainerId() if "container" in verb.arguments else None
    arguments = click.Argument(["arguments"], nargs=-1, type=kind, metavar=verb.arguments)
    return click.Command(
        name,
        params=[arguments, *map(_option, (*verb.options, HELP))],
        help=verb.summary[0].upper() + verb.summary[1:] + ".",
        short_help=verb.summary,
        add_help_option=False,
        context_settings=_settings(not verb.greedy),
    )


def _settings(interspersed: bool) -> dict[str, Any]:
    return {"allow_interspersed_args": interspersed, "max_content_width": 100}


def commands() -> click.Group:
    """Return all commands as click knows them; they cannot be invoked."""
    group = click.Group(
        "naja",
        help=_PURPOSE,
        epilog=_EPILOG,
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
            raise UsageError(f"no such command: {name!r}")
        context = click.Context(command, parent=context, info_name=name, **command.context_settings)
    click.echo(context.get_help())
    return 0


def complete(program: str) -> int:
    """Do what a shell asks for to complete a command line. Returns 0."""
    commands().main(prog_name=program, complete_var="_NAJA_COMPLETE", standalone_mode=False)
    return 0
