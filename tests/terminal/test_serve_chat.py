"""`llamachat serve --chat`: server and chat in one terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import psutil
import pytest

from tests.support import DEADLINE, free_port, wait_for


@pytest.fixture
def chat(env: dict[str, str], tmp_path: Path) -> Iterator[pexpect.spawn]:
    """A chat at its first prompt, with its server behind it."""
    arguments = ["-m", "llamachat", "serve", "--chat", "--port", str(free_port())]
    child = pexpect.spawn(
        sys.executable,
        arguments,
        env=env | {"TERM": "xterm-256color", "LLAMACHAT_NO_INTRO": "1"},
        cwd=str(tmp_path),
        encoding="utf-8",
        timeout=DEADLINE,
        dimensions=(40, 120),
    )
    child.expect("Ready at")
    child.expect("> ")
    yield child
    child.close(force=True)


def server_of(chat: pexpect.spawn) -> psutil.Process:
    (server,) = psutil.Process(chat.pid).children()
    return server


def test_leaving_the_chat_stops_the_server(chat: pexpect.spawn) -> None:
    server = server_of(chat)
    chat.send("bye\r")
    chat.expect("BYE BYE!")
    chat.expect(pexpect.EOF)
    chat.wait()
    assert chat.exitstatus == 0
    assert not server.is_running()


def test_ctrl_c_belongs_to_the_chat(chat: pexpect.spawn) -> None:
    server = server_of(chat)
    chat.send("some words")
    chat.expect("some words")
    chat.sendintr()
    chat.expect("> ")
    chat.send("Hello!\r")
    chat.expect("\033\\[92;1m")
    assert server.is_running()


def test_a_server_that_dies_is_started_again_without_a_word_on_the_screen(chat: pexpect.spawn) -> None:
    dead = server_of(chat)
    dead.kill()
    launcher = psutil.Process(chat.pid)
    wait_for(
        lambda: any(child != dead and child.net_connections() for child in launcher.children()), "its return"
    )
    chat.send("\x15/help\r")
    chat.expect("/stats")
    assert "died" not in str(chat.before)


def test_a_polite_kill_ends_chat_and_server(chat: pexpect.spawn) -> None:
    server = server_of(chat)
    chat.kill(signal.SIGTERM)
    chat.expect(pexpect.EOF)
    chat.wait()
    assert chat.exitstatus == 0
    wait_for(lambda: not server.is_running(), "the server's end")
