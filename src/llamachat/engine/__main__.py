"""`python -m llamachat.engine ARGV`: install the guards, then be `python -m llama_cpp.server ARGV`."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable

from llamachat.core.engine_options import ENVIRONMENT_VARIABLE, EngineOptions
from llamachat.engine import (
    amx,
    counting,
    doors,
    facts,
    failing,
    kv_memory,
    literals,
    parent,
    pieces,
    prefill,
    reading,
    requests,
    room,
    stream,
    thread,
)
from llamachat.errors import LlamachatError

# Installed in this order, each around those before it: `reading` watches what `kv_memory` reads. A guard that
# misses the hook it needs raises ServerError, which stops the start.
GUARDS: tuple[Callable[[EngineOptions], None], ...] = (
    parent.watch,
    amx.install,
    kv_memory.install,
    pieces.install,
    reading.install,
    literals.install,
    prefill.install,
    room.install,
    thread.install,
    failing.install,
    counting.install,
    stream.install,
    facts.install,
    requests.install,
    doors.install,
)


def main() -> int:
    options = EngineOptions.from_json(os.environ.pop(ENVIRONMENT_VARIABLE, "{}"))
    try:
        for install in GUARDS:
            install(options)
    except LlamachatError as error:
        print(f"llamachat: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    runpy.run_module("llama_cpp.server", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
