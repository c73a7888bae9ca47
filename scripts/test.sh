#!/usr/bin/env bash
# Everything that CI checks: format, lint, strict types, tests. Arguments go to pytest.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

install_project test '' --group "$root/pyproject.toml:dev" --constraint "$root/constraints.txt"
cd "$root"
run() { say '== %s' "$*"; "$(bin)/python" -m "$@"; }
run ruff format --check .
run ruff check .
run mypy
# A file at a time, so that its servers are started once; the short unit tests come last.
run pytest --numprocesses auto --dist loadfile --no-loadscope-reorder "$@"
