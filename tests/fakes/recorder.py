"""A server that answers at once and keeps every request, for what a real model is too slow to show.

`python -m tests.fakes.recorder FILE` prints its port and appends each request's body to FILE, a line each. A
token is four characters; the answer is `answer to` and the prompt's first words, or what `--answer` says. A
prompt with the word CRASH ends the process in the middle of its answer.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

N_CTX = 2048


def tokens(text: str) -> int:
    return -(-len(text) // 4)


class Handler(BaseHTTPRequestHandler):
    record: Path
    answer: str | None
    lanes: int
    pause: float
    lock = threading.Lock()

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send({"status": "ok", "model": "recorder", "n_ctx": N_CTX, "lanes": self.lanes})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        size = sum(4 + tokens(str(m["content"])) for m in body["messages"])
        if self.path.endswith("/count"):
            self._send({"count": size})
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.lock, self.record.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**body, "headers": headers}) + "\n")
        time.sleep(self.pause)
        content = body["messages"][-1]["content"]
        prompt = content if isinstance(content, str) else content[-1]["text"]
        if "CRASH" in prompt:
            os._exit(1)
        said = self.answer if self.answer is not None else "answer to " + " ".join(prompt.split()[:4])
        cut = said[: 4 * (body.get("max_tokens") or N_CTX)]
        usage = {"prompt_tokens": size, "completion_tokens": tokens(cut)}
        reason = "stop" if cut == said else "length"
        if body.get("stream"):
            halves = (cut[: len(cut) // 2], cut[len(cut) // 2 :])
            events: list[dict[str, Any]] = [{"choices": [{"delta": {"content": half}}]} for half in halves]
            events.append({"choices": [{"delta": {}, "finish_reason": reason}], "usage": usage})
            self._write("".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n")
        else:
            choice = {"message": {"content": cut}, "finish_reason": reason}
            self._send({"model": "recorder", "choices": [choice], "usage": usage})

    def _send(self, value: Any) -> None:
        self._write(json.dumps(value))

    def _write(self, text: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("record", type=Path)
    parser.add_argument("--answer")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.0)
    args = parser.parse_args()
    Handler.record, Handler.answer = args.record, args.answer
    Handler.lanes, Handler.pause = args.lanes, args.pause
    server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
