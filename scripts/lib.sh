# Shared by serve.sh and test.sh: make .venv if it is missing, and install the project into it.
# shellcheck shell=bash

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
log=$venv/setup.log

# Whether the user reads Chinese, as llamachat.language decides.
is_chinese() {
    local chosen=${LLAMACHAT_LANG:-auto} name=${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}
    case $chosen:$name in
        [aA][uU][tT][oO]:) case $OSTYPE in darwin*) name=$(defaults read -g AppleLanguages 2>/dev/null) ;; esac ;;
        [aA][uU][tT][oO]:C* | [aA][uU][tT][oO]:POSIX*) ;;
        [aA][uU][tT][oO]:*) name=${LANGUAGE:-$name} ;;
        *) name=$chosen ;;
    esac
    case ${name//[(\" $'\n']/} in [zZ][hH]* | [cC]hinese*) ;; *) return 1 ;; esac
}
messages=/dev/null
if is_chinese; then messages=$root/scripts/messages.zh; fi

# words FORMAT [ARGUMENT…]: printf in the user's language. messages.zh has each FORMAT, its translation, and a blank line.
words() {
    local format=$1 english chinese
    shift
    while IFS= read -r english && IFS= read -r chinese; do
        if [ "$english" = "$format" ]; then format=$chinese && break; fi
        IFS= read -r english || break
    done <"$messages"
    # shellcheck disable=SC2059
    printf -- "$format\n" "$@"
}
say() { words "$@" >&2; }
fail() { say "$@"; exit 1; }

# hide_key [ARGUMENT…]: become the same command with the value of --api-key in the environment. An installation
# takes minutes, and `ps` shows command lines to everybody.
hide_key() {
    local key='' others=()
    while [ $# -gt 0 ]; do
        case $1 in
            --api-key=* | --api_key=*) key=${1#*=} ;;
            --api-key | --api_key) if [ $# -gt 1 ]; then key=$2 && shift; else return 0; fi ;;
            *) others+=("$1") ;;
        esac
        shift
    done
    [ -n "$key" ] || return 0
    LLAMACHAT_API_KEY=$key exec "$BASH" "$0" ${others[@]+"${others[@]}"}
}

# The folder of the venv's programs: Windows has its own name for it.
bin() { if [ -d "$venv/Scripts" ]; then echo "$venv/Scripts"; else echo "$venv/bin"; fi; }

find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} python3 python python3.13 python3.12 python3.11 python3.10; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# progress SECONDS: how far the compiler is, by the last `[n/m]` that its build tool wrote.
progress() {
    local step n m filled full='####################' empty='....................'
    step=$(tail -c 100000 "$log" | grep -oE '\[[0-9]+/[0-9]+\]' | tail -n 1) || step=
    if [ -z "$step" ]; then
        words 'Installing, %s s' "$1" && return
    fi
    step=${step//[\[\]]/}
    n=${step%/*} m=${step#*/}
    filled=$((20 * n / m))
    words 'Compiling llama.cpp, once: %s %s of %s, %s s' "${full:0:filled}${empty:filled}" "$n" "$m" "$1"
}

# Run a long command with its output in the log, and tell how far it is. Its exit status is the command's.
run_logged() {
    local pid status=0 started=$SECONDS next=30 every=30
    if [ -t 2 ]; then next=1 every=1; fi
    set -m # its own process group, so that Ctrl-C ends the compilers too
    "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    set +m
    trap 'kill -- "-$pid" 2>/dev/null; exit 130' INT TERM HUP
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.5
        if [ $((SECONDS - started)) -lt "$next" ]; then continue; fi
        next=$((SECONDS - started + every))
        if [ -t 2 ]; then
            printf '\r\033[K  %s' "$(progress $((SECONDS - started)))" >&2
        else
            printf '  %s\n' "$(progress $((SECONDS - started)))" >&2
        fi
    done
    trap - INT TERM HUP
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
    wait "$pid" || status=$?
    return "$status"
}

installation_failed() {
    tail -n 25 "$log" >&2
    say ''
    say 'The installation failed; the last lines of %s are above. Run this again to try again.' "$log"
    if ! c++ --version >/dev/null 2>&1 && ! command -v cl >/dev/null; then # a Mac has a c++ that only says so
        say 'There is no C++ compiler: install build-essential (Debian, Ubuntu), gcc-c++ (Fedora), the command line'
        say 'tools of Xcode (xcode-select --install), or the Build Tools for Visual Studio, and run this again.'
        say 'docs/install.md says how to install without a compiler.'
    fi
    exit 1
}

# Whether the venv has a Python that is new enough and can install. One whose making was cut short has no pip, and
# neither has one that uv made; both can be given it.
has_venv() {
    "$(bin)/python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || return 1
    command -v uv >/dev/null || "$(bin)/python" -m pip --version >/dev/null 2>&1 ||
        "$(bin)/python" -m ensurepip >/dev/null 2>&1
}

make_venv() {
    local python clear=
    if has_venv; then return; fi
    python=$(find_python) || python=
    if command -v uv >/dev/null; then
        say 'Making %s with %s.' "$venv" uv
        if [ -e "$venv" ]; then clear=--clear; fi # which uv before 0.8 does not know
        uv venv --quiet ${clear:+"$clear"} ${python:+--python "$python"} "$venv" || fail '%s could not make %s.' uv "$venv"
        return
    fi
    [ -n "$python" ] || fail 'Python 3.10 or newer is needed. Install it, or set PYTHON to it.'
    say 'Making %s with %s.' "$venv" "$python"
    "$python" -m venv --clear "$venv" ||
        fail '%s could not make %s. On Debian and Ubuntu: %s' "$python" "$venv" 'sudo apt install python3-venv'
}

# pip, or uv where it is: both know the options that are used here.
pip() {
    local command=$1
    shift
    if command -v uv >/dev/null; then
        uv pip "$command" --python "$(bin)/python" "$@"
    else
        "$(bin)/python" -m pip "$command" "$@"
    fi
}

# What an installation was made of; another state of these files asks for another one.
state() { echo "$root $(cat "$root/pyproject.toml" "$root/constraints.txt" "$root/scripts/lib.sh" | cksum)"; }
remember_install() { state >"$venv/.installed-for-$1"; }
is_installed() {
    { [ -x "$venv/bin/python" ] || [ -x "$venv/Scripts/python.exe" ]; } &&
        [ "$(cat "$venv/.installed-for-$1" 2>/dev/null)" = "$(state)" ]
}

# install_project FOR ENGINE [OPTION…]: install the project with the bundled model, and what the options name.
# ENGINE is one of engine.sh's, or empty for the one that is there.
install_project() {
    local purpose=$1 engine=$2
    shift 2
    if is_installed "$purpose" && has_engine "$engine"; then return; fi
    make_venv
    say 'Installing llamachat and its model; the log is %s.' "$log"
    : >"$log"
    if ! command -v uv >/dev/null && [ $# -gt 0 ]; then
        run_logged pip install --upgrade 'pip>=25.1' || installation_failed # the first that knows --group
    fi
    install_engine "$engine" "$@"
    run_logged pip install "$@" --editable "${root}[demo]" || installation_failed
    remember_install serve # all that it needs is part of what the tests need
    remember_install "$purpose"
    say 'Installed in %s s.' "$SECONDS"
}

# shellcheck source=scripts/engine.sh
. "$root/scripts/engine.sh"
