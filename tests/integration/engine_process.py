"""A real engine on the real small model, as the launcher would start it, and plain HTTP to talk to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamachat.core.engine_options import ENVIRONMENT_VARIABLE, EngineOptions
from llamachat.hub.local_models import bundled_model
from tests.support import DEADLINE, clean_env, free_port, wait_for

JSON = {"Content-Type": "application/json"}


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
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        with contextlib.closing(connection):
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, JSON | dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def chat(self, text: str, **more: Any) -> Answer:
        return self.ask("POST", "/v1/chat/completions", question(text, **more))

    def open_stream(
        self,
        body: Mapping[str, Any],
        path: str = "/v1/chat/completions",
        headers: Mapping[str, str] | None = None,
    ) -> Stream:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        connection.request("POST", path, json.dumps({**body, "stream": True}), JSON | dict(headers or {}))
        return Stream(connection)

    def ask_and_leave(
        self,
        body: Mapping[str, Any],
        path: str = "/v1/chat/completions",
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPConnection:
        """A connection on which the question is asked and no answer read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        connection.request("POST", path, json.dumps(body), JSON | dict(headers or {}))
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
    model = bundled_model()
    assert model is not None, "the demo extra is not installed"
    return str(model.path)


@contextlib.contextmanager
def running(
    log: Path,
    options: EngineOptions | None = None,
    *,
    n_ctx: int = 2048,
    api_key: str | None = None,
    **more: str,
) -> Iterator[Engine]:
    port = free_port()
    options = options or EngineOptions(model_name="small", bundled=True)
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
        **more,
    }
    argv = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    key = {"API_KEY": api_key} if api_key else {}
    env = clean_env(log.parent, **{ENVIRONMENT_VARIABLE: options.to_json()}, **key)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "llamachat.engine", *argv], env=env, stdout=output, stderr=output
        )
        engine = Engine(port, process, log)
        try:
            wait_for(lambda: _is_ready(engine), "the engine is ready")
            yield engine
        finally:
            process.kill()
            process.wait()


def _is_ready(engine: Engine) -> bool:
    assert engine.process.poll() is None, engine.log.read_text()
    with contextlib.suppress(OSError):
        return bool(engine.health()["status"] == "ok")
    return False
