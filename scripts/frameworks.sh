#!/usr/bin/env bash
# Run the cases of tests/frameworks: Python's frameworks in a venv of their own, since they want other versions than we do,
# and with node also JavaScript's. Arguments go to pytest. LLAMACHAT_FRAMEWORKS_DIR keeps what was installed.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

install_project test '' --group "$root/pyproject.toml:dev" --constraint "$root/constraints.txt"
folder=${LLAMACHAT_FRAMEWORKS_DIR:-$root/.venv/frameworks}
mkdir -p "$folder/node"
[ -d "$folder/python" ] || "$(bin)/python" -m venv "$folder/python"
export LLAMACHAT_FRAMEWORKS=$folder/python/bin/python
"$LLAMACHAT_FRAMEWORKS" -m pip install --quiet --upgrade 'pip>=25.1'
"$LLAMACHAT_FRAMEWORKS" -m pip install --quiet --group "$root/pyproject.toml:frameworks"
if command -v npm >/dev/null; then
    export LLAMACHAT_NODE_FRAMEWORKS=$folder/node
    packages=$(sed -n 's/^NODE_PACKAGES = "\(.*\)"$/\1/p' "$root/tests/frameworks/test_frameworks.py")
    # shellcheck disable=SC2086
    (cd "$folder/node" && npm install --silent --no-audit --no-fund --no-package-lock --no-save $packages)
fi
cd "$root"
"$(bin)/python" -m pytest tests/frameworks "$@"
