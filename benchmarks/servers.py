"""Start, watch and stop the servers that are compared, and time their streams."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

READY_SECONDS = 300
STOP_SECONDS = 30
N_CTX = 2048

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Contender:
    """One of the servers: `command` makes its argv, `path` answers 200 when the model is loaded."""

    name: str
    command: Callable[[Path, int], Sequence[str]]
    path: str = "/v1/models"


@dataclass(frozen=True)
class Reply:
    """Seconds from the request to the first text and to the end, and tokens written."""

    first: float
    total: float
    tokens: int
    text: str

    @property
    def written_per_second(self) -> float:
        return (self.tokens - 1) / max(self.total - self.first, 1e-9)


def contenders() -> list[Contender]:
    python = [sys.executable, "-m"]

    def stock(model: Path, port: int) -> list[str]:
        return [
            *python,
            "llama_cpp.server",
            "--model",
            str(model),
            "--n_ctx",
            str(N_CTX),
            "--port",
            str(port),
        ]

    def ours(model: Path, port: int) -> list[str]:
        return [*python, "llamachat", "serve", str(model), "--n-ctx", str(N_CTX), "--port", str(port)]

    def native(*flags: str) -> Callable[[Path, int], list[str]]:
        return lambda model, port: [
            *("llama-server", "-m", str(model), "-c", str(N_CTX), "--port", str(port)),
            *flags,
        ]

    found = [Contender("stock", stock), Contender("llamachat", ours)]
    if shutil.which("llama-server"):
        found.append(Contender("llama-server", native(), "/health"))
        # One slot: with more, a conversation that lost its old turns is taken for another one and read anew.
        best = ("-np", "1", "-fa", "off", "--cache-reuse", "32")
        found.append(Contender("llama-server, best flags", native(*best), "/health"))
    return found


class Server:
    """A running contender and what its process tree holds."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], ready: float) -> None:
        self.url = url
        self.ready_seconds = ready
        self._process = psutil.Process(process.pid)

    def resident_mb(self) -> float:
        found = 0
        for process in [self._process, *self._process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                found += process.memory_info().rss
        return found / 1e6

    def reply(self, messages: Messages, max_tokens: int) -> Reply:
        # What chooses the next token is the same for all: their defaults differ, and a penalty takes time.
        body = {
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": 0,
            "repeat_penalty": 1.0,
            "stream": True,
            "model": "m",
        }
        text, first, chunks, reason = "", 0.0, 0, ""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{self.url}/v1/chat/completions", json.dumps(body).encode(), headers
        )
        start = time.perf_counter()
        with urllib.request.urlopen(request, timeout=900) as response:
            for choice in _choices(response):
                delta = choice["delta"].get("content")
                reason = choice.get("finish_reason") or reason
                if delta:
                    first = first or time.perf_counter() - start
                    text += delta
                    chunks += 1
        total = time.perf_counter() - start
        return Reply(first or total, total, max_tokens if reason == "length" else chunks, text)


@contextmanager
def running(contender: Contender, model: Path, home: Path) -> Iterator[Server]:
    """The contender on a free port, with its own folders under `home`, stopped in order at the end."""
    port = _free_port()
    env = {**os.environ, "XDG_CACHE_HOME": str(home / "cache"), "XDG_CONFIG_HOME": str(home / "config")}
    start = time.perf_counter()
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(
            contender.command(model, port), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(process, url + contender.path, home / "log")
        yield Server(url, process, time.perf_counter() - start)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _choices(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith(b"data: {"):
            yield from json.loads(line[6:]).get("choices", ())


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            pass
        time.sleep(0.01)
    raise SystemExit(f"{process.args!r} did not get ready:\n{log.read_text(errors='replace')[-2000:]}")
