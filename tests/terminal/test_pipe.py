"""Without a terminal: a message or lines in, answers out, and an exit status that tells of failure."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.server import MARKDOWN
from tests.pty_chat import PATIENCE
from tests.support import free_port, wait_for
from tests.terminal.conftest import FakeServer, fake_server


def chat(
    env: dict[str, str], url: str, *arguments: str, stdin: bytes = b"", **more: str
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "llamachat", "chat", "--base-url", url, *arguments]
    return subprocess.run(command, env={**env, **more}, input=stdin, capture_output=True, timeout=PATIENCE)


def test_a_pipe_is_one_message_whatever_is_in_it(env: dict[str, str], fake: FakeServer) -> None:
    for text in ("/* code */\n\nbye\n  你好", '"""Doc."""\nx = 1', "bye", "// a comment"):
        done = chat(env, fake.url, stdin=f"{text}\n".encode())
        assert done.stdout.decode() == f"you said {len(text)}: {text}\n"
        assert done.returncode == 0 and done.stderr == b""
    refused = chat(env, fake.url, stdin=b"empty\n")
    assert refused.returncode == 5 and b"/clear" not in refused.stderr


def test_a_pipe_is_not_the_conversation_to_continue(env: dict[str, str], fake: FakeServer) -> None:
    none = chat(env, fake.url, "--continue", stdin=b"hello\n")
    chat(env, fake.url, stdin=b"from a pipe\n")
    again = chat(env, fake.url, "--continue", stdin=b"request\n")
    assert none.returncode == again.returncode == 8
    kept = chat(env, fake.url, "--resume", "1", stdin=b"request\n")
    assert b"from a pipe" in kept.stdout


def test_with_lines_each_is_a_message_or_a_command_or_begins_a_block(
    env: dict[str, str], fake: FakeServer
) -> None:
    lines = 'hello\n\n你好\n/model other\n"""\na block\n\nof lines\n"""\nbye\nnever\n'
    done = chat(env, fake.url, "--lines", stdin=lines.encode())
    assert done.stdout.decode() == (
        "you said 5: hello\nyou said 2: 你好\nother\nyou said 17: a block\n\nof lines\n"
    )
    assert done.stderr == b""
    assert done.returncode == 0


def test_an_answer_in_a_pipe_is_raw_and_without_colour(env: dict[str, str], fake: FakeServer) -> None:
    done = chat(env, fake.url, stdin=b"markdown\n")
    assert done.stdout == MARKDOWN.encode()
    for wanted in ("--color", "always"), ("--markdown", "always"):
        other = chat(env, fake.url, *wanted, stdin=b"markdown\n")
        assert other.stdout != done.stdout and other.returncode == 0
    coloured = chat(env, fake.url, "--color", "always", stdin=b"hello\n")
    assert coloured.stdout == b"\x1b[92;1myou said 5: hello\n\x1b[0m"


def test_numbers_and_errors_go_to_stderr_and_a_failure_into_the_status(
    env: dict[str, str], fake: FakeServer
) -> None:
    done = chat(env, fake.url, "--stats", "--lines", stdin=b"error\nhello\n")
    assert done.stdout == b"you said 5: hello\n"
    first, second = done.stderr.decode().splitlines()
    assert first == "The server answered with an error: the model fell over."
    assert second.startswith("read 100 (90 from the cache)")
    assert done.returncode == 5


def test_what_the_user_got_wrong_is_one_line_each(env: dict[str, str], fake: FakeServer) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    with fake_server("--key", "right") as locked:
        for arguments, said, status in (
            ((nobody,), "No server answers at", 5),
            (("http://no.such.host.invalid/v1",), "is not known", 5),
            (("localhost:8000",), "not an address like", 2),
            ((fake.url, "--temperature", "hot"), "--temperature", 2),
            ((fake.url.replace("/v1", "/v2"), "--model", "missing"), "The server has no model 'missing'", 3),
            ((locked.url, "--api-key", "wrong"), "The server refused the key.", 6),
        ):
            done = chat(env, *arguments, stdin=b"hello\n")
            assert done.returncode == status, done
            assert len(done.stderr.decode().splitlines()) == 1
            assert said in done.stderr.decode()
            assert done.stdout == b""
        assert chat(env, locked.url, stdin=b"hello\n", LLAMACHAT_API_KEY="right").returncode == 0


def test_the_system_message_can_come_from_a_file(
    env: dict[str, str], fake: FakeServer, tmp_path: Path
) -> None:
    file = tmp_path / "system.txt"
    file.write_text("You are a pirate.\n")
    request = json.loads(chat(env, fake.url, "--system-file", str(file), stdin=b"request\n").stdout)
    assert request["messages"][0] == {"role": "system", "content": "You are a pirate."}
    for arguments, said in (
        (("--system-file", str(tmp_path / "none")), "none can't be read: No such file or directory."),
        (("--system", "x", "--system-file", str(file)), "--system and --system-file exclude each other."),
    ):
        done = chat(env, fake.url, *arguments, stdin=b"hello\n")
        assert done.returncode == 2 and said in done.stderr.decode()


def test_the_hint_for_a_server_that_is_not_there_names_serve(env: dict[str, str]) -> None:
    done = chat(env, f"http://127.0.0.1:{free_port()}/v1")
    assert b"`llamachat serve`" in done.stderr


def test_it_waits_for_a_server_that_comes_later(env: dict[str, str]) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    command = [sys.executable, "-m", "llamachat", "chat", "--base-url", url, "--wait", "60"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=pipe) as waiting:
        assert waiting.stderr and b"Waiting for it" in waiting.stderr.readline()
        with fake_server("--port", str(port)):
            out, _ = waiting.communicate(b"hello\n", timeout=PATIENCE)
        assert out == b"you said 5: hello\n"
        assert waiting.returncode == 0


def test_stray_variables_and_proxies_do_not_reach_a_local_server(
    env: dict[str, str], fake: FakeServer
) -> None:
    stray = {
        "OPENAI_API_KEY": "sk-secret",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "OPENAI_ORG_ID": "org-secret",
        "OPENAI_PROJECT_ID": "proj-secret",
        "OPENAI_CUSTOM_HEADERS": "X-Stray: secret",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }
    done = chat(env, fake.url, stdin=b"request\n", **stray)
    assert done.returncode == 0, done
    assert b"secret" not in done.stdout
    assert json.loads(done.stdout)["headers"]["authorization"] == "Bearer not-needed"


def test_the_request_is_the_articles(env: dict[str, str], fake: FakeServer) -> None:
    request = json.loads(chat(env, fake.url, stdin=b"request\n").stdout)
    assert request["model"] == "local-model"
    assert request["temperature"] == 0.7
    assert request["stream"] is True
    assert request["messages"] == [
        {"role": "system", "content": "你是一个智能助理，你的回答总是正确的、有用的和内容非常精简."},
        {"role": "user", "content": "request"},
    ]


def test_a_broken_pipe_ends_the_chat_without_a_complaint(env: dict[str, str], fake: FakeServer) -> None:
    command = [sys.executable, "-m", "llamachat", "chat", "--base-url", fake.url, "--lines"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=pipe) as writing:
        assert writing.stdin and writing.stdout and writing.stderr
        writing.stdin.write(b"endless\n")
        writing.stdin.flush()
        assert writing.stdout.read(5) == b"word0"
        writing.stdout.close()
        assert writing.wait(PATIENCE) == 1
        assert writing.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_disk_ends_the_chat_in_one_line(env: dict[str, str], fake: FakeServer) -> None:
    command = [sys.executable, "-m", "llamachat", "chat", "--base-url", fake.url]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command, env=env, input=b"hello\n", stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE
        )
    assert done.returncode == 1
    assert done.stderr == b"llamachat: No space left on device.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_is_an_empty_one(env: dict[str, str], fake: FakeServer, closed: str) -> None:
    line = f"exec {shlex.quote(sys.executable)} -m llamachat chat --base-url {fake.url} {closed}"
    done = subprocess.run(
        ["sh", "-c", line], env=env, input=b"hello\n", capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 0
    assert done.stdout == (b"you said 5: hello\n" if closed == "2>&-" else b"")
    assert done.stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_in_a_pipe_stops_the_answer(env: dict[str, str], fake: FakeServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "llamachat", "chat", "--base-url", fake.url, "--lines"]
    pipe = subprocess.PIPE
    out = tmp_path / "out"
    with (
        out.open("wb") as file,
        subprocess.Popen(command, env=env, stdin=pipe, stdout=file, stderr=pipe) as writing,
    ):
        assert writing.stdin
        writing.stdin.write(b"endless\n")
        writing.stdin.flush()
        wait_for(lambda: b"word3 " in out.read_bytes(), "some of the answer")
        writing.send_signal(signal.SIGINT)
        _, said = writing.communicate(b"hello\n", timeout=PATIENCE)
    assert b"[stopped" in said
    assert out.read_bytes().endswith(b"\nyou said 5: hello\n")
