"""Servers that count tokens as other kinds do: `python -m tests.fakes.foreign --kind llama-server|vllm`."""

from __future__ import annotations

import argparse
from typing import Any, ClassVar

from tests.fakes.server import Handler, Play, both, serve, tokens

N_CTX = 512
MODEL = "big"
"""The only one that the fake vLLM has."""


class LlamaServer(Handler):
    health: ClassVar[dict[str, Any]] = {"status": "ok"}

    def do_GET(self) -> None:
        if self.path == "/props":
            self.json(200, {"default_generation_settings": {"n_ctx": N_CTX}, "total_slots": 1})
        else:
            super().do_GET()

    def reply(self, body: dict[str, Any]) -> None:
        if self.path == "/apply-template":
            self.json(200, {"prompt": "t" * tokens(body)})
        elif self.path == "/tokenize":
            self.json(200, {"tokens": [ord(letter) for letter in body["content"]]})
        elif self.path.endswith("/chat/completions"):
            super().reply(body)
        else:
            self.json(404, {"error": {"message": "File Not Found", "type": "not_found_error"}})


class Vllm(Handler):
    """As vLLM's documentation shows its answers: it checks the model's name, and `/health` is empty."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/v1/models":
            card = {"id": MODEL, "object": "model", "created": 1705334400, "owned_by": "vllm", "root": MODEL}
            self.json(200, {"object": "list", "data": [{**card, "parent": None, "max_model_len": N_CTX}]})
        else:
            super().do_GET()

    def reply(self, body: dict[str, Any]) -> None:
        asked = tokens(body)
        if self.path not in ("/tokenize", "/v1/chat/completions"):
            self.json(404, {"detail": "Not Found"})
        elif body["model"] != MODEL:
            self.refuse(404, "NotFoundError", f"The model `{body['model']}` does not exist.")
        elif self.path == "/tokenize":
            self.json(200, {"count": asked, "max_model_len": N_CTX, "tokens": [0] * asked})
        elif asked >= N_CTX:
            length = f"This model's maximum context length is {N_CTX} tokens"
            self.refuse(400, "BadRequestError", f"{length}. However, your request has {asked} input tokens.")
        elif body.get("stream"):
            super().reply(body)
        else:
            self.whole(body)

    def refuse(self, status: int, kind: str, message: str) -> None:
        self.json(status, {"error": {"message": message, "type": kind, "param": None, "code": status}})

    def whole(self, body: dict[str, Any]) -> None:
        chunks = list(self._scene(body["messages"][-1]["content"], body))
        said = "".join(c["delta"].get("content", "") for chunk in chunks for c in chunk["choices"])
        message: dict[str, Any] = {"role": "assistant", "content": said, "tool_calls": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": tokens(body), "completion_tokens": 7, "total_tokens": tokens(body) + 7}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": MODEL}
        self.json(200, {**head, "choices": [choice], "usage": usage})

    def _scene(self, asked: str, body: dict[str, Any]) -> Play:
        return both('{"n": 7}')() if "response_format" in body else super()._scene(asked, body)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--kind", choices=["llama-server", "vllm"], required=True)
    args = parser.parse_args()
    serve(Vllm if args.kind == "vllm" else LlamaServer, args.port)


if __name__ == "__main__":
    main()
