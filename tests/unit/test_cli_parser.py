"""The command line is read as runc's is, and as the help says; what was mistyped is guessed."""

from __future__ import annotations

from typing import Any

import click
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from naja.cli import help as cli_help
from naja.cli.options import DURATION, FLAG, GLOBAL_OPTIONS, NUMBER, TEXTS, VERBS, Option
from naja.cli.parser import Command, UsageError, parse_globals, parse_verb


def parse(*words: str) -> Command:
    globals, rest = parse_globals(words)
    return parse_verb(globals, rest)


@pytest.mark.parametrize(
    "words",
    [
        ["--bundle", "/b", "c"],
        ["--bundle=/b", "c"],
        ["-bundle", "/b", "c"],
        ["-bundle=/b", "c"],
        ["-b", "/b", "c"],
        ["-b=/b", "c"],
        ["--b", "/b", "c"],
        ["c", "--bundle", "/b"],
        ["--bundle", "/a", "--bundle", "/b", "--", "c"],
    ],
)
def test_all_ways_to_give_an_option(words: list[str]) -> None:
    command = parse("create", *words)
    assert command.options["bundle"] == "/b"
    assert command.id == "c"


def test_global_options_come_before_the_verb() -> None:
    command = parse("--root", "relative", "-log=l", "--log-format", "json", "--systemd-cgroup", "state", "c")
    assert command.root is not None
    assert command.root.endswith("/relative")
    assert command.globals["log"] == "l"
    assert command.globals["log-format"] == "json"
    assert command.globals["systemd-cgroup"] is True
    with pytest.raises(UsageError, match="flag provided but not defined: -root"):
        parse("state", "--root", "x", "c")


@pytest.mark.parametrize(("text", "value"), [("true", True), ("auto", None), ("0", False), ("", None)])
def test_rootless_has_three_values(text: str, value: bool | None) -> None:
    assert parse(f"--rootless={text}", "list").rootless is value
    assert parse("--rootless", text, "list").rootless is value


def test_rootless_has_no_fourth_value() -> None:
    with pytest.raises(UsageError, match="--rootless"):
        _ = parse("--rootless=maybe", "list").rootless


@pytest.mark.parametrize(
    ("word", "value"),
    [("-f", True), ("--force", True), ("--force=true", True), ("-f=0", False), ("-force=F", False)],
)
def test_flags(word: str, value: bool) -> None:
    assert parse("delete", word, "c").options["force"] is value


def test_repeated_options_are_kept_whole() -> None:
    command = parse("exec", "-e", "A=1,2", "--env=B=3", "--cap", "CAP_KILL,CAP_CHOWN", "c", "ls")
    assert command.options["env"] == ("A=1,2", "B=3")
    assert command.options["cap"] == ("CAP_KILL,CAP_CHOWN",)


def test_what_follows_the_container_belongs_to_another_program() -> None:
    assert parse("exec", "-t", "c", "ls", "-t", "--", "-l").arguments == ["c", "ls", "-t", "--", "-l"]
    assert parse("ps", "c", "-ef", "--format", "json").arguments == ["c", "-ef", "--format", "json"]
    assert parse("kill", "c", "KILL", "--all").options["all"] is True


def test_a_single_dash_is_an_argument() -> None:
    assert parse("update", "--resources", "-", "c").options["resources"] == "-"
    assert parse("update", "--resources=-", "c").options["resources"] == "-"
    assert parse("kill", "c", "-").arguments == ["c", "-"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["state", "--foo", "c"], "flag provided but not defined: -foo"),
        (["--foo"], "flag provided but not defined: -foo"),
        (["create", "--bun", "/b", "c"], "flag provided but not defined: -bun (did you mean --bundle?)"),
        (["create", "--bundel=/b", "c"], "flag provided but not defined: -bundel (did you mean --bundle?)"),
        (["create", "--root=/r", "c"], "flag provided but not defined: -root (it stands before the command)"),
        (["--bundle", "/b", "run"], "flag provided but not defined: -bundle (it stands after the command)"),
        (["exec", "-td", "c", "ls"], "flag provided but not defined: -td (did you mean -t -d?)"),
        (["exec", "-tx", "c", "ls"], "flag provided but not defined: -tx"),
        (["create", "c", "--bundle"], "flag needs an argument: -bundle"),
        (["restore", "--lsm-mount-context"], "flag needs an argument: -lsm-mount-context"),
        (["--log"], "flag needs an argument: -log"),
        (["delete", "--force=maybe", "c"], 'invalid boolean value "maybe" for -force'),
        (["create", "--preserve-fds", "x", "c"], 'invalid value "x" for flag -preserve-fds'),
        (["events", "--interval", "5", "c"], 'invalid value "5" for flag -interval'),
        (["delete", "---force", "c"], "bad flag syntax: ---force"),
        (["delete", "-=x", "c"], "bad flag syntax: -=x"),
        (["frobnicate"], "no such command: 'frobnicate'"),
        (["strat", "c"], "no such command: 'strat' (did you mean 'start'?)"),
        (["stat", "c"], "no such command: 'stat' (did you mean 'state'?)"),
        (["rm", "c"], "no such command: 'rm'"),
        (["restor", "c"], "no such command: 'restor' (did you mean 'restore'?)"),
        (["lsit"], "no such command: 'lsit' (did you mean 'list'?)"),
        (["state"], '"state" requires exactly 1 argument(s)'),
        (["state", "a", "b"], '"state" requires exactly 1 argument(s)'),
        (["kill", "a", "9", "c"], '"kill" requires a maximum of 2 argument(s)'),
        (["exec"], '"exec" requires a minimum of 1 argument(s)'),
        (["list", "c"], '"list" requires exactly 0 argument(s)'),
    ],
)
def test_wrong_usage(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*words)
    assert str(caught.value) == message


def test_help_needs_no_arguments() -> None:
    for name in VERBS:
        assert parse(name, "--help").options["help"] is True


def test_names_are_unique() -> None:
    for options in (GLOBAL_OPTIONS, *(verb.options for verb in VERBS.values())):
        names = [name for option in options for name in option.names]
        assert len(names) == len(set(names))


# --- click, which prints the help, reads the same -----------------------------------------------

_TEXT = st.text(alphabet="ab=, /", max_size=5)


def _values(option: Option) -> st.SearchStrategy[str]:
    if option.kind == NUMBER:
        return st.integers(-5, 5000).map(str)
    return _TEXT


@st.composite
def _option_words(draw: st.DrawFn, options: tuple[Option, ...]) -> list[str]:
    """Some options, each in one of the ways that both parsers are to take."""
    words = []
    usable = [
        option for option in options if option.kind != DURATION and option.name not in ("help", "version")
    ]
    for option in draw(st.lists(st.sampled_from(usable), max_size=4)) if usable else []:
        name = draw(st.sampled_from(option.names))
        dashes = "-" if len(name) == 1 else draw(st.sampled_from(["-", "--"]))
        if option.kind == FLAG:
            words.append(dashes + name)
        elif len(name) > 1 and draw(st.booleans()):
            words.append(f"{dashes}{name}={draw(_values(option))}")
        else:
            words += [dashes + name, draw(_values(option))]
    return words


@st.composite
def _command_lines(draw: st.DrawFn) -> tuple[list[str], str, list[str]]:
    name = draw(st.sampled_from(sorted(VERBS)))
    verb = VERBS[name]
    most = verb.most if verb.most >= 0 else verb.least + 2
    count = draw(st.integers(verb.least, most))
    arguments = ["c", "TERM", "x"][:count]
    options = draw(_option_words(verb.options))
    separator = draw(st.sampled_from([[], ["--"]]))
    return draw(_option_words(GLOBAL_OPTIONS)), name, [*options, *separator, *arguments]


def _as_click_reads(words: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    group = cli_help.commands()
    context = group.make_context("naja", list(words))
    protected: list[str] = getattr(context, "_protected_args", [])  # click 9 has them in args.
    name, *rest = [*protected, *context.args]
    command = group.commands[name]
    return context.params, command.make_context(name, rest, parent=context).params


def _comparable(options: tuple[Option, ...], values: dict[str, Any]) -> dict[str, Any]:
    names = {option.name: option.name.replace("-", "_") for option in options if option.name != "help"}
    return {name: values[name] if name in values else values[parameter] for name, parameter in names.items()}


@settings(deadline=None)
@given(_command_lines())
@example(([], "spec", []))
@example(([], "spec", ["--rootless"]))
def test_the_help_is_true(line: tuple[list[str], str, list[str]]) -> None:
    before, name, after = line
    words = [*before, name, *after]
    command = parse(*words)
    globals, options = _as_click_reads(words)
    assert _comparable(GLOBAL_OPTIONS, globals) == _comparable(GLOBAL_OPTIONS, command.globals)
    assert _comparable(command.verb.options, options) == _comparable(command.verb.options, command.options)
    assert list(options["arguments"]) == command.arguments


def test_click_has_all_verbs_and_options() -> None:
    group = cli_help.commands()
    assert list(group.commands) == list(VERBS)
    for name, verb in VERBS.items():
        names = {text.lstrip("-") for parameter in group.commands[name].params for text in parameter.opts}
        assert names - {"arguments"} == {alias for option in verb.options for alias in option.names} | {
            "help",
            "h",
        }
        assert isinstance(group.commands[name], click.Command)


# --- whatever is typed, there is an answer -------------------------------------------------------

_WORDS = st.one_of(
    st.sampled_from([*VERBS, "--", "-", "", "=", "-=", "--=x", "---"]),
    st.sampled_from(
        [
            dash + name
            for verb in VERBS.values()
            for o in verb.options
            for name in o.names
            for dash in ("-", "--")
        ]
    ),
    st.text(max_size=4).map(lambda text: "--" + text),
    st.text(max_size=6),
)


@settings(deadline=None)
@given(st.lists(_WORDS, max_size=6))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    try:
        globals, rest = parse_globals(words)
        command = parse_verb(globals, rest) if rest else None
    except UsageError:
        return
    if command is not None:
        for option in command.verb.options:
            value = command.options[option.name]
            assert value == option.default or isinstance(
                value, {FLAG: bool, NUMBER: int, TEXTS: tuple, DURATION: float}.get(option.kind, str)
            )
