"""A server that plays what a real one can't be asked for: the last user message names the scene.

`python -m tests.fakes.server` prints its port and serves until it is killed; `--health JSON` is what it says
about itself, `--key KEY` the only key it takes, `--takes N` the most messages, `--refuses SCENE` what becomes
of more, `--summary SCENE` and `--introduction SCENE` what becomes of a wish for one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from llamachat.core.presets import INTRODUCE

Play = Iterator[dict[str, Any]]
_ANY = 10_000
PICTURES = "you saw"
HOSTILE = (
    "\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b[31mred\x1b[0m\x9b31m\rover\x08\x7f\x00 "
    "\u202egnp.exe\u2066x\u2069 end\r\nnext"
)
MARKDOWN = (
    "# Title of it\n\nSome **bold words** and `code here`, then a [link](http://x.test/a).\n\n"
    "- first item that is long enough to be wrapped on a narrow screen of forty columns\n- 第二项是中文\n\n"
    "```python\ndef f(x):\n    return x + 1\n```\n\n| name | n |\n|---|--:|\n| one | 1 |\n| 二 | 22 |\n\n"
    "The end.\n"
)
LISTED = "1. Write:\n   ```python\n   def f():\n       return 1\n   ```\n2. And so on.\n"


def text(content: str, finish_reason: str | None = None) -> dict[str, Any]:
    delta = {"content": content} if content else {}
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "fake",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def extra(**fields: object) -> dict[str, Any]:
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "fake",
        "choices": [],
        **fields,
    }


def end(reason: str = "stop") -> Play:
    yield text("", reason)
    timings = {
        "prompt_n": 10,
        "cache_n": 90,
        "predicted_n": 7,
        "predicted_per_second": 42.0,
        "threads": 1.2,
        "threads_max": 2,
    }
    yield extra(usage={"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}, timings=timings)


def say(content: str, size: int = 7, pause: float = 0.0) -> Play:
    for start in range(0, len(content), size):
        time.sleep(pause)
        yield text(content[start : start + size])


def progress() -> Play:
    for processed in (100, 500, 900, 1100):
        yield extra(prompt_progress={"total": 1100, "cache": 100, "processed": processed, "time_ms": 10})
        time.sleep(0.3)
    yield from say("read all")
    yield from end()


def queued() -> Play:
    for position in (2, 1):
        yield extra(queue={"position": position})
        time.sleep(0.4)
    yield from say("at last")
    yield from end()


def thinking() -> Play:
    yield from say("<think>deep thoughts\nabout it</think>\n\nthe answer", 5)
    yield from end()


def reasoning() -> Play:
    for word in ("deep ", "thoughts"):
        chunk = text("")
        chunk["choices"][0]["delta"] = {"reasoning_content": word}
        yield chunk
    yield from say("the answer")
    yield from end()


def endless() -> Play:
    for number in range(10_000):
        yield text(f"word{number} ")
        time.sleep(0.02)


def silent() -> Play:
    time.sleep(60)
    yield from end()


def die() -> Play:
    yield from say("the part before death ")
    time.sleep(0.2)
    os._exit(1)


def both(content: str, reason: str = "stop") -> Callable[[], Play]:
    def play() -> Play:
        yield from say(content)
        yield from end(reason)

    return play


SCENES: dict[str, Callable[[], Play]] = {
    "cut": lambda: say("only a part"),
    "empty": lambda: iter(()),
    "blank": both(""),
    "error": lambda: iter([{"error": {"message": "the model\nfell over", "type": "x", "code": "boom"}}]),
    "context": lambda: iter(
        [
            {
                "error": {
                    "message": "This model's maximum context length is 2048 tokens. "
                    "However, you requested 3010 tokens",
                    "type": "invalid_request_error",
                    "param": "messages",
                    "code": "context_length_exceeded",
                }
            }
        ]
    ),
    "full": lambda: iter(
        [
            {
                "error": {
                    "message": "The maximum context length is 1024 tokens, but the prompt has 900 tokens",
                    "type": "invalid_request_error",
                    "code": "context_length_exceeded",
                }
            }
        ]
    ),
    "surrogate": both("half \ud83d of an emoji"),
    "length": both("as long as it may be", "length"),
    "progress": progress,
    "queued": queued,
    "thinking": thinking,
    "reasoning": reasoning,
    "endless": endless,
    "silent": silent,
    "die": die,
    "hostile": both(HOSTILE),
    "markdown": both(MARKDOWN),
    "listed": both(LISTED),
    "stutter": lambda: (c for part in (say(MARKDOWN, 3, 0.02), end()) for c in part),
}


def tokens(body: dict[str, Any]) -> int:
    return sum(8 + len(m["content"]) // 4 for m in body["messages"])


def spoken(content: Any) -> str:
    """The text of a message; with pictures it is asked back how many came."""
    if isinstance(content, str):
        return content
    seen = sum(part["type"] == "image_url" for part in content)
    return f"{PICTURES} {seen}: " + "".join(part.get("text", "") for part in content)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    health: ClassVar[dict[str, Any] | None] = None
    key = ""
    takes = _ANY
    refuses = ""
    summary = ""
    introduction = ""
    models: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/health" and self.health is not None:
            self.json(200, self.health)
        elif self.path == "/v1/models" and self.models:
            self.json(200, {"object": "list", "data": [{"id": name} for name in self.models]})
        else:
            self.json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def reply(self, body: dict[str, Any]) -> None:
        if self.key and self.headers.get("Authorization") != f"Bearer {self.key}":
            self.json(401, {"error": {"message": "Invalid API key", "type": "x", "code": None}})
        elif self.path == "/extras/chat/tokenize/count" and self.health is not None:
            self.json(200, {"count": tokens(body)})
        elif not self.path.endswith("/chat/completions"):
            self.json(404, {"detail": "Not Found"})
        elif body["model"] == "missing":
            self.json(404, {"error": {"message": "model 'missing' not found", "code": "not_found"}})
        else:
            self._stream(body)

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        asked = spoken(next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user"))
        try:
            if asked == "garbage":
                self._chunk("data: {no json\n\n")
            for chunk in self._scene(asked, body):
                if chunk.get("usage") and (self.health or self.takes < _ANY):
                    chunk["usage"]["prompt_tokens"] = tokens(body)
                self._chunk(f"data: {json.dumps(chunk)}\n\n")
            self._chunk("data: [DONE]\n\n")
            self._chunk("")
        except OSError:
            self.close_connection = True

    def _scene(self, asked: str, body: dict[str, Any]) -> Play:
        if len(body["messages"]) > self.takes:
            return SCENES[self.refuses]()
        if self.summary and asked.startswith("Summarise our conversation"):
            return SCENES[self.summary]()
        if self.introduction and asked in INTRODUCE.values():
            return SCENES[self.introduction]()
        if asked.endswith("break once"):
            return both(" and the rest")() if body.get("continue_final_message") else say("only a part")
        if asked.startswith(PICTURES):
            return both(asked)()
        scene = SCENES.get(asked)
        if scene:
            return scene()
        if asked == "request":
            said = {"headers": {k.lower(): v for k, v in self.headers.items()}, **body}
            return both(json.dumps(said, ensure_ascii=False))()
        return both(f"you said {len(asked)}: {asked}")()

    def _chunk(self, data: str) -> None:
        raw = data.encode()
        self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
        self.wfile.flush()

    def json(self, status: int, value: object) -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--health", type=json.loads)
    parser.add_argument("--key", default="")
    parser.add_argument("--takes", type=int, default=_ANY)
    parser.add_argument("--refuses", default="")
    parser.add_argument("--summary", default="")
    parser.add_argument("--introduction", default="")
    parser.add_argument("--models", nargs="*", default=[])
    args = parser.parse_args()
    Handler.health, Handler.key = args.health, args.key
    Handler.takes, Handler.refuses, Handler.summary = args.takes, args.refuses, args.summary
    Handler.introduction, Handler.models = args.introduction, args.models
    serve(Handler, args.port)


def serve(handler: type[Handler], port: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
