"""`llamachat ask` on the real server: stdout has the answer and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from llamachat.errors import ExitStatus
from llamachat.running import running
from tests.programs.conftest import Recorder
from tests.pty_chat import Chat
from tests.support import ServerProcess, free_port, llamachat, wait_for

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16


@pytest.fixture
def ask(env: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*args: str, piped: str = "") -> subprocess.CompletedProcess[str]:
        return llamachat("ask", *args, env=env, cwd=tmp_path, piped=piped)

    return run


Ask = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def recorded(recorder: Callable[..., Recorder], env: dict[str, str]) -> Recorder:
    server = recorder()
    env["LLAMACHAT_BASE_URL"] = server.base_url
    return server


def test_the_same_question_has_the_same_answer(serve: ServerProcess, env: dict[str, str], ask: Ask) -> None:
    env["LLAMACHAT_BASE_URL"] = serve.base_url
    first, second = (ask("Name a colour.", "--json", "--max-tokens", "200") for _ in range(2))
    assert first.returncode == 0 and first.stderr == "", first.stderr
    said = json.loads(first.stdout)
    assert said["answer"] == json.loads(second.stdout)["answer"] != ""
    assert said["usage"]["prompt_tokens"] > 10 and said["model"].startswith("SmolLM2")


def test_an_answer_of_a_schema_is_valid_json(serve: ServerProcess, env: dict[str, str], ask: Ask) -> None:
    env["LLAMACHAT_BASE_URL"] = serve.base_url
    done = ask("--schema", "name, age int, city?", "Who is it?", piped="Bob is 42 and lives in Rome.")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert list(value) == ["name", "age", "city"] and type(value["age"]) is int


@pytest.mark.parametrize("room", ["1", "2", "3", "5", "8"])
def test_json_that_is_cut_is_never_printed(
    serve: ServerProcess, env: dict[str, str], ask: Ask, room: str
) -> None:
    env["LLAMACHAT_BASE_URL"] = serve.base_url
    done = ask("--schema", "first str, second str", "--max-tokens", room, "Say it.")
    if done.returncode == 0:
        assert set(json.loads(done.stdout)) == {"first", "second"}
    else:
        assert (done.returncode, done.stdout) == (ExitStatus.INCOMPLETE, "")
        assert "cut after" in done.stderr


def test_a_choice_is_one_of_the_labels(serve: ServerProcess, env: dict[str, str], ask: Ask) -> None:
    env["LLAMACHAT_BASE_URL"] = serve.base_url
    done = ask("--choices", "apple,pear,plum", "Which fruit is yellow?")
    assert done.stdout.strip() in ("apple", "pear", "plum"), done.stderr


def test_a_cut_answer_is_printed_and_said(serve: ServerProcess, env: dict[str, str], ask: Ask) -> None:
    env["LLAMACHAT_BASE_URL"] = serve.base_url
    done = ask("Count to a hundred.", "--max-tokens", "4")
    assert done.returncode == ExitStatus.INCOMPLETE and done.stdout.strip()
    (line,) = done.stderr.splitlines()
    assert "cut after 4 tokens" in line


def test_an_answer_that_fills_the_window_is_said_with_both_sizes(
    recorder: Callable[..., Recorder], env: dict[str, str], ask: Ask
) -> None:
    env["LLAMACHAT_BASE_URL"] = recorder("--answer", "word " * 2000).base_url
    done = ask("Go on.")
    assert done.returncode == ExitStatus.INCOMPLETE
    assert "cut after 2042 tokens: with the prompt's 6 they fill the window" in done.stderr


def test_the_prompt_is_what_is_piped_in_then_the_files_then_the_question(
    recorded: Recorder, ask: Ask, tmp_path: Path
) -> None:
    (tmp_path / "a file.txt").write_bytes("第一个文件".encode("gb18030"))
    (tmp_path / "b.html").write_text("<html><script>no()</script><p>Second <b>file</b></p></html>")
    done = ask("-f", "a file.txt", "-f", "b.html", "What", "is it?", piped="from the pipe\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert recorded.prompts() == ["from the pipe\n\n第一个文件\n\nSecond **file**\n\nWhat is it?"]


def test_a_template_puts_text_and_question_where_it_wants_them(recorded: Recorder, ask: Ask) -> None:
    assert ask("-t", "answer", "Who signs?", piped="Ann signs.").returncode == 0
    assert ask("-t", "translate", "-p", "to", "zh", "hello").returncode == 0
    first, second = recorded.requests()
    assert first["messages"][-1]["content"] == "Ann signs.\n\nQuestion: Who signs?"
    assert "into zh" in second["messages"][0]["content"] and second["messages"][1]["content"] == "hello"


def test_x_prints_the_first_code_block_alone(
    recorder: Callable[..., Recorder], env: dict[str, str], ask: Ask
) -> None:
    env["LLAMACHAT_BASE_URL"] = recorder("--answer", "Here:\n```python\nprint(1)\n```\nDone.").base_url
    assert ask("-x", "code").stdout == "print(1)\n"


def test_a_picture_goes_out_as_a_data_url(recorded: Recorder, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(PNG)
    (tmp_path / "t.txt").write_text("text")
    ask("-a", "p.png", "What is it?")
    picture, text = recorded.requests()[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    assert picture["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    refused = ask("-a", "t.txt", "What is it?")
    assert (refused.returncode, "t.txt is not a picture" in refused.stderr) == (ExitStatus.USAGE, True)


def test_a_text_that_does_not_fit_is_refused_before_it_is_sent(recorded: Recorder, ask: Ask) -> None:
    done = ask("Sum up.", piped="x" * 20_000)
    assert (done.returncode, done.stdout, recorded.prompts()) == (ExitStatus.INCOMPLETE, "", [])
    (line,) = done.stderr.splitlines()
    assert "5007 tokens" in line and "2032" in line and "--long" in line


def test_a_server_that_was_named_and_is_not_there_is_an_error(env: dict[str, str], ask: Ask) -> None:
    done = ask("hello", "--base-url", "http://127.0.0.1:9/v1")
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (ExitStatus.SERVER, "")
    assert "No server answers at http://127.0.0.1:9/v1" in line


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "nothing to ask"),
        (["-t", "nosuch", "x"], "no template"),
        (["-f", "nosuch.txt", "x"], "no file"),
        (["--schema", "a b c", "x"], "not a field"),
        (["--schema", "a", "--choices", "a,b", "x"], "exclude each other"),
        (["-t", "describe", "x"], "needs a picture"),
        (["-t", "describe"], "needs a picture"),
        (["--long", "x", "y"], "--long"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(ask: Ask, args: list[str], words: str) -> None:
    done = ask(*args)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout, words in line) == (ExitStatus.USAGE, "", True), line


def test_c_continues_the_last_conversation_and_no_store_leaves_nothing(recorded: Recorder, ask: Ask) -> None:
    assert ask("one").returncode == 0
    assert ask("secret", "--no-store").returncode == 0
    assert ask("-c", "aside", "--no-store").stdout.strip() == "answer to aside"
    done = ask("-c", "two")
    assert (done.returncode, done.stdout.strip()) == (0, "answer to two"), done.stderr
    sent = recorded.requests()[-1]
    assert [m["content"] for m in sent["messages"]] == ["one", "answer to one", "two"]
    assert sent["temperature"] == 0
    refused = ask("-c", "--schema", "name", "x")
    assert (refused.returncode, "-c continues" in refused.stderr) == (ExitStatus.USAGE, True)


def test_a_server_that_is_kept_is_where_the_next_question_looks_for_one(
    env: dict[str, str], tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from llamachat.programs.wiring import Server, connected\n"
        "for _ in range(2):\n"
        "    server = Server(sys.argv[1], 'not-needed', named=False, keep=True)\n"
        "    with connected(server, lambda _: print('starting')) as (asker, said):\n"
        "        print(said.model)\n"
    )
    url = f"http://127.0.0.1:{free_port()}/v1"
    command = [sys.executable, "-c", code, url]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    (kept,) = running(tmp_path / "home" / "state" / "llamachat" / "running")
    (engine,) = psutil.Process(kept.pid).children()
    engine.kill()
    # It says so, although whoever started it has left.
    wait_for(
        lambda: any(child.pid != engine.pid for child in psutil.Process(kept.pid).children()),
        "the engine to come back",
    )
    os.kill(kept.pid, signal.SIGTERM)
    assert [line.split("-")[0] for line in done.stdout.split()] == ["starting", "SmolLM2", "SmolLM2"]
    assert kept.base_url == url


@pytest.mark.skipif(sys.platform == "win32", reason="a pty")
def test_a_terminal_shows_the_whole_answer_and_no_rest_of_the_progress(
    recorder: Callable[..., Recorder], env: dict[str, str], tmp_path: Path
) -> None:
    """Progress and answer are on the same screen."""
    env["LLAMACHAT_BASE_URL"] = recorder("--answer", "part of it").base_url
    (tmp_path / "long.txt").write_text("One more sentence of a long text. " * 600)
    command = (sys.executable, "-m", "llamachat", "ask")
    one = Chat(["hi"], env, command=command)
    assert (one.wait(), one.text) == (0, "part of it")
    parts = Chat(["-f", str(tmp_path / "long.txt"), "-t", "translate"], env, command=command)
    assert parts.wait() == 0
    assert set(parts.text.split("\n")) == {"part of it", ""} and parts.text.count("part of it") > 2


def test_a_model_that_cannot_see_says_so(
    serve: ServerProcess, env: dict[str, str], ask: Ask, tmp_path: Path
) -> None:
    env["LLAMACHAT_BASE_URL"] = serve.base_url
    (tmp_path / "p.png").write_bytes(PNG)
    done = ask("-a", "p.png", "-t", "describe")
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "can't see pictures" in line) == (ExitStatus.SERVER, True), line


def test_bytes_that_are_no_text_are_refused_in_words(
    recorded: Recorder, env: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "llamachat", "ask", "hi"]
    done = subprocess.run(
        command, env=env, cwd=tmp_path, input=bytes(range(256)), capture_output=True, check=False
    )
    assert (done.returncode, b"not a text file" in done.stderr) == (ExitStatus.USAGE, True), done.stderr
    done = subprocess.run(
        [*command[:-1], b"\xff\xfe"], env=env, cwd=tmp_path, input=b"", capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
