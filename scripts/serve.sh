#!/usr/bin/env bash
# From a clean clone to a running model: `scripts/serve.sh --chat`. Every argument goes to `llamachat serve`.
set -euo pipefail
self=${BASH_SOURCE[0]}
if [ -L "$self" ]; then self=$(readlink -f -- "$self"); fi
. "$(dirname -- "$self")/lib.sh"

hide_key "$@"
if [ ! -e "$venv" ] && installed=$(command -v llamachat) && "$installed" --version >/dev/null 2>&1; then
    exec "$installed" serve "$@"
fi
install_project serve
exec "$(bin)/python" -m llamachat serve "$@"
