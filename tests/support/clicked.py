"""The command line as click reads it, made from the same declarations: a referee for naja's own parser."""

from __future__ import annotations

from typing import Any

import click

from naja.cli.options import DURATION, FLAG, GLOBAL_OPTIONS, HELP, NUMBER, TEXTS, VERBS, Option, Verb


def _option(option: Option) -> click.Option:
    names = [f"{dashes}{name}" for name in option.names for dashes in ("--", "-")]
    names = [name for name in names if len(name.lstrip("-")) > 1 or not name.startswith("--")]
    parameter = option.name.replace("-", "_")
    if option.kind == FLAG:
        if option.default is False:
            return click.Option([*names, parameter], is_flag=True)
        # What is found out where it is not given is neither true nor false.
        undecided: dict[str, Any] = {"default": option.default, "type": click.UNPROCESSED}
        return click.Option([*names, parameter], is_flag=True, flag_value=True, **undecided)
    return click.Option(
        [*names, parameter],
        default=None if option.kind == TEXTS else option.default,
        multiple=option.kind == TEXTS,
        type=float if option.kind == DURATION else int if option.kind == NUMBER else str,
    )


def _command(name: str, verb: Verb) -> click.Command:
    arguments = click.Argument(["arguments"], nargs=-1)
    return click.Command(
        name,
        params=[arguments, *map(_option, (*verb.options, HELP))],
        add_help_option=False,
        context_settings={"allow_interspersed_args": not verb.greedy},
    )


def _commands() -> click.Group:
    settings: dict[str, Any] = {"allow_interspersed_args": False}
    group = click.Group(
        "naja", params=list(map(_option, GLOBAL_OPTIONS)), add_help_option=False, context_settings=settings
    )
    for name, verb in VERBS.items():
        group.add_command(_command(name, verb))
    return group


def as_click_reads(words: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of the global options, and those of the command's with its ``arguments``."""
    group = _commands()
    context = group.make_context("naja", list(words))
    protected: list[str] = getattr(context, "_protected_args", [])  # click 9 has them in args.
    name, *rest = [*protected, *context.args]
    command = group.commands[name]
    return context.params, command.make_context(name, rest, parent=context).params
