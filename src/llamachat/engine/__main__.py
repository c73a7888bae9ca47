"""`python -m llamachat.engine ARGV`: `python -m llama_cpp.server ARGV` on the engine."""

from __future__ import annotations

import os
import runpy
import sys

from llamachat.core.engine_options import ENVIRONMENT_VARIABLE, EngineOptions
from llamachat.engine import amx, parent, surface
from llamachat.errors import LlamachatError

SWITCH_SECONDS = 0.0002
"""How long a thread keeps Python for itself while others want it. llama.cpp calls back hundreds of times a
batch: with Python's own 5 ms, a thread that reads a body or a template holds each of them up so long."""


def main() -> int:
    options = EngineOptions.from_json(os.environ.pop(ENVIRONMENT_VARIABLE, "{}"))
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        parent.watch(options)
        surface.check()
        amx.avoid()
        install(options)
        runpy.run_module("llama_cpp.server", run_name="__main__", alter_sys=True)
    except LlamachatError as error:
        print(f"llamachat: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    return 0


def install(options: EngineOptions) -> None:
    """Replace three names that `llama_cpp.server` looks up when it runs: the class, the app, the streams."""
    import llama_cpp
    import llama_cpp.server.app as server

    from llamachat.engine.engine import engine_class
    from llamachat.engine.engine_app import changing, check_routes
    from llamachat.engine.publisher import publish

    check_routes(server.router)
    setattr(llama_cpp, "Llama", engine_class(options))  # noqa: B010
    server.create_app = changing(server.create_app, options)
    server.get_event_publisher = publish


if __name__ == "__main__":
    raise SystemExit(main())
