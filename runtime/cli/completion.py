"""Completion for bash, zsh and fish, made from the declarations in ``options``.

All words are in the scripts: to start Python and load click for each key would take a hundred milliseconds.
Only for the IDs of containers a shell asks naja, by the hidden command ``ids``.
"""

from __future__ import annotations

import _signal

from ..linux import capabilities
from .options import CAPABILITY, DIRECTORY, FILE, FLAG, GLOBAL_OPTIONS, HELP, VERBS
from .words import spelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Option

__all__ = ["SHELLS", "bash", "fish", "zsh"]

_HEAD = "# {shell} completion for naja, made from its declarations by `naja completion {shell}`.\n"

#: What an argument is, by its name in the usage of a command.
_KINDS = {"bundle": "directory", "source": "file", "bash|zsh|fish": "bash zsh fish"}
#: Commands whose container is yet to be made.
_NEW = ("create", "restore", "run")


def _signals() -> list[str]:
    """Return the names of signals, without SIG."""
    names = [name[3:] for name in dir(_signal) if name.startswith("SIG") and name[3:].isalnum()]
    return sorted(name for name in names if name not in ("RTMIN", "RTMAX"))


def _words(option: Option) -> list[str]:
    """Return the words that may be an option's value; none where that is a path, or cannot be known."""
    if option.takes == CAPABILITY:
        return list(capabilities.NAMES)
    return [] if option.takes in (FILE, DIRECTORY) else option.takes.split()


def _arguments() -> dict[str, list[str]]:
    """Return by command what its arguments are: "id", "directory", "file", words that may stand there, ""."""
    found: dict[str, list[str]] = {"help": [" ".join(VERBS)]}
    for name, verb in VERBS.items():
        kinds = {**_KINDS, "container-id": "" if name in _NEW else "id", "signal": " ".join(_signals())}
        found[name] = [kinds.get(word.strip("[]<>"), "") for word in verb.arguments.split(" | ")[0].split()]
    return found


def _everywhere() -> dict[str, tuple[Option, ...]]:
    """Return the options by command, "" for those that stand before it."""
    return {"": GLOBAL_OPTIONS, **{name: (*verb.options, HELP) for name, verb in VERBS.items()}}


# --- bash ---------------------------------------------------------------------------------------

_BASH = """\
# What the value of an option is: sets `kind`, and `words` where these are known. Fails where it has none.
_naja_takes()
{{
    local name=${{2#-}}
    name=${{name#-}}
    kind='' words=''
    case $1:$name in
{takes}
        *) return 1 ;;
    esac
}}

_naja()
{{
    local cur=$2 prev=$3 verb='' kind words options='' ended='' word place count=0
    local -a root=()
    # bash takes an equals sign for a word of its own.
    if [[ $cur == = ]]; then
        cur=''
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for ((place = 1; place < COMP_CWORD; place++)); do
        word=${{COMP_WORDS[place]}}
        if [[ $ended || $word != -?* ]]; then
            if [[ ! $verb ]]; then
                verb=$word
            else
                ((count++))
                case $verb in {greedy}) ended=1 ;; esac
            fi
        elif [[ $word == -- ]]; then
            ended=1
        elif _naja_takes "$verb" "$word"; then
            [[ ${{COMP_WORDS[place + 1]}} != = ]] || ((place++))
            ((place++))
            if [[ ! $verb && $word == -*root ]] && ((place < COMP_CWORD)); then
                root=(--root "${{COMP_WORDS[place]}}")
            fi
        fi
    done
    COMPREPLY=()
    if [[ ! $ended && $prev == -?* ]] && _naja_takes "$verb" "$prev"; then
        _naja_offer "$kind" "$words"
        return
    fi
    case $verb in
{options}
    esac
    if [[ ! $ended && $cur == -* ]]; then
        _naja_offer '' "$options"
        return
    fi
    case $verb:$count in
        :*) _naja_offer '' '{verbs} help' ;;
{arguments}
    esac
}}

# Offer paths, IDs or words to what was typed.
_naja_offer()
{{
    case $1 in
        file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        directory) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        id)
            words=$("${{COMP_WORDS[0]/#\\~/$HOME}}" "${{root[@]}}" ids 2> /dev/null)
            mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
            ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$2" -- "$cur") ;;
    esac
}}

complete -F _naja naja
"""


def bash() -> str:
    """Return the script for bash."""
    takes: dict[tuple[str, str], list[str]] = {}
    options = []
    for verb, known in _everywhere().items():
        names = [name for option in known for name in spelled(option)]
        options.append(f"        {verb or _quoted('')}) options={_quoted(' '.join(names))} ;;")
        for option in known:
            if option.kind == FLAG:
                continue
            kind = {FILE: "file", DIRECTORY: "directory"}.get(option.takes, "")
            places = takes.setdefault((kind, " ".join(_words(option))), [])
            places += [f"{verb}:{name}" for name in option.names]
    arguments = [
        f"        {verb}:{place}) {_bash_offer(what)} ;;"
        for verb, kinds in _arguments().items()
        for place, what in enumerate(kinds)
        if what
    ]
    return _HEAD.format(shell="bash") + _BASH.format(
        takes="\n".join(
            f"        {'|'.join(places)}) kind={_quoted(kind)} words={_quoted(words)} ;;"
            for (kind, words), places in takes.items()
        ),
        greedy="|".join(name for name, verb in VERBS.items() if verb.greedy),
        options="\n".join(options),
        verbs=" ".join(VERBS),
        arguments="\n".join(arguments),
    )


def _bash_offer(what: str) -> str:
    known = what in ("id", "directory", "file")
    return f"_naja_offer {what} ''" if known else f"_naja_offer '' {_quoted(what)}"


def _quoted(text: str) -> str:
    """Return a word of a shell: nothing in it is special."""
    return "'" + text.replace("'", "'\\''") + "'"


# --- zsh ----------------------------------------------------------------------------------------

_ZSH = """\
_naja_ids()
{{
    local -a root ids
    (( ${{+naja_root}} )) && root=(--root $naja_root)
    ids=(${{(f)"$($naja_command $root ids 2> /dev/null)"}})
    _describe container ids
}}

_naja()
{{
    local curcontext=$curcontext state line naja_command=${{~words[1]}}
    typeset -A opt_args
    _arguments -C -S : \\
{options}
        '1: :->command' '*:: :->rest' && return
    [[ -z $opt_args[--root] ]] || local naja_root=$opt_args[--root]
    case $state in
        command)
            local -a commands=(
{verbs}
                'help:tell of a command'
            )
            _describe command commands
            ;;
        rest)
            curcontext=${{curcontext%:*}}-$words[1]:
            case $words[1] in
{cases}
            esac
            ;;
    esac
}}

if [[ $funcstack[1] == _naja ]]; then
    _naja "$@"
else
    compdef _naja naja
fi
"""


def zsh() -> str:
    """Return the script for zsh, which is a function as well when zsh loads it."""
    arguments = _arguments()
    cases = []
    for name, options in _everywhere().items():
        if not name:
            continue
        verb = VERBS[name]
        words = ["_arguments -s -S" + (" -A '-*'" if verb.greedy else "") + " :"]
        words += _zsh_options(options)
        places = [f"{place}:{_zsh_kind(what)}" for place, what in enumerate(arguments[name], 1)]
        if verb.most < 0:
            places.append("*: :_default")
        words += [_quoted(each) for each in places]
        cases.append(f"                {name}) " + " \\\n                    ".join(words) + " ;;")
    helped = _quoted(f"1:{_zsh_kind(' '.join(VERBS))}")
    cases.append(f"                help) _arguments : {helped} ;;")
    rows = [f"{name}:{verb.summary}" for name, verb in VERBS.items()]
    return (
        "#compdef naja\n"
        + _HEAD.format(shell="zsh")
        + _ZSH.format(
            options="".join(f"        {each} \\\n" for each in _zsh_options(GLOBAL_OPTIONS)).rstrip("\n"),
            verbs="\n".join(f"                {_quoted(row)}" for row in rows),
            cases="\n".join(cases),
        )
    )


def _zsh_options(options: tuple[Option, ...]) -> list[str]:
    return [each for option in options for each in _zsh_option(option)]


def _zsh_option(option: Option) -> list[str]:
    """Return what tells _arguments of an option: its names exclude each other, unless it may be repeated."""
    names = spelled(option)
    help = option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    excluded = "*" if option.kind == "texts" else f"({' '.join(names)})"
    value = "" if option.kind == FLAG else f":{_zsh_kind(_zsh_takes(option))}"
    return [
        _quoted(f"{excluded}{name}{'=' if value and name.startswith('--') else ''}[{help}]{value}")
        for name in names
    ]


def _zsh_takes(option: Option) -> str:
    return {FILE: "file", DIRECTORY: "directory"}.get(option.takes) or " ".join(_words(option))


def _zsh_kind(what: str) -> str:
    known = {
        "file": "file:_files",
        "directory": "directory:_files -/",
        "id": "container:_naja_ids",
        "": "value: ",
    }
    return known.get(what) or f"value:({what})"


# --- fish ---------------------------------------------------------------------------------------

_FISH = """\
# The command among the words typed, or nothing; and the state root, where it is given.
function __naja_words
    set -l words (commandline -opc)
    set -g __naja_root
    set -l skipped
    for word in $words[2..-1]
        if test -n "$skipped"
            test "$skipped" = root; and set -g __naja_root --root $word
            set skipped
            continue
        end
        switch $word
            case {valued}
                set skipped (string trim --left --chars=- -- $word)
            case '--root=*' '-root=*'
                set -g __naja_root --root (string split -m 1 = -- $word)[2]
            case '-*'
            case '*'
                echo $word
                return
        end
    end
end

function __naja_is
    test "$argv[1]" = (__naja_words | string collect; or echo '')
end

# How many arguments follow the command, besides that which is being typed.
function __naja_count
    set -l count -1
    set -l skipped
    set -l verb (__naja_words)
    for word in (commandline -opc)[2..-1]
        if test -n "$skipped"
            set skipped
            continue
        end
        switch "$word"
            case {valued}
                set skipped 1
            case '-*'
            case '*'
                set count (math $count + 1)
        end
    end
    test $count -eq $argv[1]
end

function __naja_ids
    __naja_words > /dev/null
    set -l command (commandline -opc)[1]
    eval (string escape -- (string replace -r '^~' $HOME -- $command) $__naja_root) ids 2> /dev/null
end

complete --command naja --no-files
"""


def fish() -> str:
    """Return the script for fish."""
    lines = [
        _fish_line(f"__naja_is {_quoted(name)}", *_fish_option(option))
        for name, known in _everywhere().items()
        for option in known
    ]
    for name, verb in VERBS.items():
        words = ["--arguments", _quoted(name), "--description", _quoted(verb.summary)]
        lines.append(_fish_line("__naja_is ''", *words))
    for name, kinds in _arguments().items():
        for place, what in enumerate(kinds):
            if what:
                condition = f"__naja_is {name}; and __naja_count {place}"
                lines.append(_fish_line(condition, "--arguments", _quoted(_fish_words(what))))
    valued = [
        f"--{name}" if len(name) > 1 else f"-{name}"
        for known in _everywhere().values()
        for option in known
        if option.kind != FLAG
        for name in option.names
    ]
    names = " ".join(sorted(set(valued)))
    return _HEAD.format(shell="fish") + _FISH.format(valued=names) + "".join(lines)


def _fish_line(condition: str, *words: str) -> str:
    return " ".join(("complete --command naja --condition", _quoted(condition), *words)) + "\n"


def _fish_option(option: Option) -> list[str]:
    words = []
    for name in option.names:
        words += ["--short-option" if len(name) == 1 else "--long-option", name]
    words += ["--description", _quoted(option.help)]
    if option.kind == FLAG:
        return words
    words.append("--require-parameter")
    if option.takes == FILE:
        return [*words, "--force-files"]
    what = "directory" if option.takes == DIRECTORY else " ".join(_words(option))
    return [*words, "--arguments", _quoted(_fish_words(what))] if what else words


def _fish_words(what: str) -> str:
    functions = {"id": "naja_ids", "directory": "fish_complete_directories", "file": "fish_complete_path"}
    return f"(__{functions[what]})" if what in functions else what


#: By the name of a shell: what makes its script.
SHELLS: dict[str, Callable[[], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
