"""Chats in a real pty, and the server they talk to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes import server as scenes
from tests.pty_chat import Chat
from tests.support import clean_env

if sys.platform == "win32":
    collect_ignore_glob = ["test_*_on_screen.py", "test_input.py", "test_leaving.py"]

ROOT = Path(__file__).parents[2]


class FakeServer:
    """tests.fakes.server as a process, which can be killed and started again on its port."""

    def __init__(self, *arguments: str, module: str = scenes.__name__) -> None:
        self._arguments = arguments
        self._module = module
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", self._module, "--port", str(self.port), *self._arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


@contextmanager
def fake_server(*arguments: str, module: str = scenes.__name__) -> Iterator[FakeServer]:
    server = FakeServer(*arguments, module=module)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeServer]:
    """Shared; a test that lets it die starts it again."""
    with fake_server() as server:
        yield server


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {**clean_env(tmp_path / "home"), "TERM": "xterm-256color", "LANG": "C.UTF-8"}


@pytest.fixture
def chat(env: dict[str, str], fake: FakeServer) -> Iterator[Callable[..., Chat]]:
    """Opens chats with the fake server, without the introduction, and ends them after the test."""
    opened: list[Chat] = []

    def open_chat(*arguments: str, columns: int = 80, rows: int = 24, **more: str) -> Chat:
        given = ["--base-url", fake.url, "--no-intro", *arguments]
        opened.append(Chat(given, {**env, **more}, columns, rows))
        return opened[-1]

    yield open_chat
    for one in opened:
        one.kill()
