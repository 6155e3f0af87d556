# zsh's own line editor completes the line $1 in a terminal of its own; what it was offered is printed.
zmodload zsh/zpty zsh/zselect
cat > setup.zsh <<'SETUP'
PROMPT=
fpath=($PWD/functions $fpath)
autoload -Uz compinit
compinit -D -u
compadd() {
    # With these, words are not offered but put into arrays.
    if (( ! $argv[(I)-[OAD]*] )); then
        local -a hits
        builtin compadd -O hits "$@"
        print -rl -- $hits >> offered
    fi
    builtin compadd "$@"
}
offer() {
    _main_complete
    print done > finished
}
zle -C offer complete-word offer
bindkey '^G' offer
print ready > ready
SETUP
rm -f ready finished offered

until-there() {
    local output
    repeat 1000; do
        zpty -r -t terminal output
        [[ -s $1 ]] && return
        zselect -t 2
    done
    print -u2 "$1 does not come"
    exit 1
}

zpty terminal zsh -f -i
zpty -w terminal 'source ./setup.zsh'
until-there ready
zpty -w -n terminal "$1"$'\C-G'
until-there finished
zpty -d terminal
[[ ! -e offered ]] || grep . offered | sort -u
