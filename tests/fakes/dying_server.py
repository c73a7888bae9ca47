"""A server that dies on purpose: `dying_server.py PORT load|first-token|refuse|linger|slow|save`.

`save` has the engine's watchdog, and writes the file `SAVED` when it is stopped, as slowly as it may.
"""

from __future__ import annotations

import http.server
import os
import signal
import sys
import time
from types import FrameType

from llamachat.core import shutdown
from llamachat.core.engine_options import EngineOptions
from llamachat.engine import parent


class Handler(http.server.BaseHTTPRequestHandler):
    mode = ""

    def do_POST(self) -> None:
        if self.mode == "first-token":
            os.kill(os.getpid(), signal.SIGSEGV)
        self.send_response(500 if self.mode == "refuse" else 200)
        self.end_headers()
        self.wfile.write(b"no such thing")


def save(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    end = time.monotonic() + shutdown.NOTICE + shutdown.GRACE + shutdown.BUSY + shutdown.SAVE
    with open(os.environ["SAVED"], "w") as file:
        while time.monotonic() < end:
            time.sleep(0.05)
        file.write("all of it")
    raise SystemExit(0)


def main(port: str, mode: str) -> None:
    if mode == "load":
        print("llama_model_load: error loading model: it is too strange", file=sys.stderr)  # noqa: T201
        raise SystemExit(1)
    if mode == "linger":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "slow":
        time.sleep(600)
    if mode == "save":
        parent.watch(EngineOptions(parent_pid=os.getppid()))
        signal.signal(signal.SIGTERM, save)
    Handler.mode = mode
    http.server.HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
