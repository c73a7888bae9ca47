"""Servers that count tokens as other kinds do: `python -m tests.fakes.foreign --kind llama-server|vllm`."""

from __future__ import annotations

import argparse
from typing import Any, ClassVar

from tests.fakes.server import Handler, serve, tokens

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
    health: ClassVar[dict[str, Any]] = {}

    def reply(self, body: dict[str, Any]) -> None:
        if body["model"] != MODEL:
            self.json(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        elif self.path == "/tokenize":
            self.json(200, {"count": tokens(body), "max_model_len": N_CTX, "tokens": []})
        elif self.path.endswith("/chat/completions"):
            super().reply(body)
        else:
            self.json(404, {"detail": "Not Found"})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--kind", choices=["llama-server", "vllm"], required=True)
    args = parser.parse_args()
    serve(Vllm if args.kind == "vllm" else LlamaServer, args.port)


if __name__ == "__main__":
    main()
