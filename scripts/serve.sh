#!/usr/bin/env bash
# From a clean clone to a running model: `scripts/serve.sh --chat`. Every argument goes to `llamachat serve`, but
# --engine auto|cpu|cuda|vulkan|metal, for which processor the engine is built.
set -euo pipefail
self=${BASH_SOURCE[0]}
if [ -L "$self" ]; then self=$(readlink -f -- "$self"); fi
. "$(dirname -- "$self")/lib.sh"

hide_key "$@"
engine='' arguments=()
while [ $# -gt 0 ]; do
    case $1 in
        --engine=*) engine=${1#*=} ;;
        --engine)
            if [ $# -lt 2 ]; then fail '--engine needs a name, one of: %s.' "$engines"; fi
            engine=$2 && shift
            ;;
        --) break ;;
        *) arguments+=("$1") ;;
    esac
    shift
done
if [ -n "$engine" ]; then check_engine "$engine"; fi
set -- ${arguments[@]+"${arguments[@]}"} "$@"

if [ -z "$engine" ] && [ ! -e "$venv" ] && installed=$(command -v llamachat) && "$installed" --version >/dev/null 2>&1
then
    exec "$installed" serve "$@"
fi
install_project serve "$engine"
exec "$(bin)/python" -m llamachat serve "$@"
