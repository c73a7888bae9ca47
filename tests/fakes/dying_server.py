"""A server that dies on purpose: `dying_server.py PORT load|first-token|refuse|linger|slow`."""

from __future__ import annotations

import http.server
import os
import signal
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    mode = ""

    def do_POST(self) -> None:
        if self.mode == "first-token":
            os.kill(os.getpid(), signal.SIGSEGV)
        self.send_response(500 if self.mode == "refuse" else 200)
        self.end_headers()
        self.wfile.write(b"no such thing")


def main(port: str, mode: str) -> None:
    if mode == "load":
        print("llama_model_load: error loading model: it is too strange", file=sys.stderr)  # noqa: T201
        raise SystemExit(1)
    if mode == "linger":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "slow":
        time.sleep(600)
    Handler.mode = mode
    http.server.HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
