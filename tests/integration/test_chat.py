"""The chat with the real server and the real small model."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.pty_chat import Chat
from tests.support import DEADLINE, ServerProcess


@pytest.mark.skipif(sys.platform == "win32", reason="a pty")
def test_a_real_answer_in_colour_in_a_terminal(serve: ServerProcess, env: dict[str, str]) -> None:
    arguments = ["--base-url", serve.base_url, "--max-tokens", "24", "--stats"]
    chat = Chat(arguments, {**env, "TERM": "xterm-256color"}, columns=120)
    try:
        chat.until(lambda: chat.text.count("wrote ") == 1, "the introduction")
        chat.ask("Say hello.")
        chat.until(lambda: chat.text.count("wrote ") == 2, "an answer")
        chat.prompt()
        assert b"\x1b[92;1m" in chat.raw
        assert "from the cache" in chat.text
        chat.enter("bye")
        assert chat.wait() == 0
    finally:
        chat.kill()


def test_a_real_answer_in_a_pipe(serve: ServerProcess, env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "llamachat", "chat", "--base-url", serve.base_url, "--max-tokens", "16"]
    done = subprocess.run(
        command, env=env, input=b"Say hello.\n", capture_output=True, timeout=DEADLINE, check=True
    )
    assert done.stdout.strip()
    assert b"\x1b" not in done.stdout
