"""`llamachat serve` on the real server and the real small model: its life, its environment, its key."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from llamachat.client.stream import ChatClient, Request
from llamachat.core.events import TextDelta
from llamachat.errors import LlamachatError
from tests.support import DEADLINE, ServerProcess, llamachat, wait_for

ARTICLE = Path(__file__).parent.parent / "data" / "article_client.py"
STRAY = {
    "HOST": "x86_64-conda-linux-gnu",
    "PORT": "tcp://10.0.0.1:80",
    "CACHE": "/tmp/x",
    "SEED": "abc",
    "MODEL": "nope",
    "CONFIG_FILE": "/nope",
    "API_KEY": "oops",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def chat(base_url: str, key: str) -> int:
    """The HTTP status of one short completion."""
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{base_url}/chat/completions", body, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=120) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_one_line_says_where_what_and_how_to_connect(serve: ServerProcess) -> None:
    (line,) = serve.stdout().splitlines()
    for part in (
        serve.base_url,
        "SmolLM2",
        "n_ctx 2048",
        "threads",
        "llamachat chat --base-url",
        "OPENAI_BASE_URL=",
    ):
        assert part in line
    assert chat(serve.base_url, "not-needed") == 200


def test_the_articles_client_works_unmodified(
    serve: ServerProcess, env: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "client.py"
    # Only the port is another, because the tests' server does not sit on 8000.
    script.write_text(
        ARTICLE.read_text(encoding="utf-8").replace(":8000", f":{serve.port}"), encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        input="Hello!\nBye\n",
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    # The model may write a `> ` of its own, and nothing at all where it is greeted.
    reply = r"\033\[92;1m\n%s\033\[91;1m\n> "
    assert re.fullmatch(reply % ".+" + reply % ".*" + r"\033\[0mBYE BYE!\n", done.stdout, re.DOTALL)


def test_a_stray_environment_changes_nothing(env: dict[str, str], tmp_path: Path) -> None:
    with ServerProcess(env=env | STRAY, cwd=tmp_path) as server:
        server.wait_until_ready()
        assert server.api_key == "not-needed"
        assert chat(server.base_url, "not-needed") == 200
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", ["--no-plain", "--plain"])
def test_a_stop_signal_ends_both_with_status_0(
    env: dict[str, str], tmp_path: Path, number: int, mode: str
) -> None:
    with ServerProcess(mode, env=env, cwd=tmp_path) as server:
        child = server.wait_until_ready().child()
        assert server.stop(number) == 0
        assert not child.is_running()
        assert not answers(server.port)
        assert "Traceback" not in server.stdout() + server.stderr()


@pytest.mark.skipif(shutil.which("nohup") is None, reason="this system has no nohup")
def test_under_nohup_it_outlives_its_terminal(env: dict[str, str], tmp_path: Path) -> None:
    prefix = ["nohup", sys.executable, "-m", "llamachat", "serve"]
    with ServerProcess(env=env, cwd=tmp_path, prefix=prefix) as server:
        server.wait_until_ready().process.send_signal(signal.SIGHUP)
        assert chat(server.base_url, "not-needed") == 200
        assert server.stop() == 0


def test_when_the_terminal_closes_both_end(env: dict[str, str], tmp_path: Path) -> None:
    with ServerProcess(env=env, cwd=tmp_path) as server:
        child = server.wait_until_ready().child()
        assert server.stop(signal.SIGHUP) == 0
        assert not child.is_running()


def test_ctrl_c_before_it_is_ready_has_status_130(env: dict[str, str], tmp_path: Path) -> None:
    with ServerProcess(env=env, cwd=tmp_path) as server:
        wait_for(lambda: "Loading" in server.stderr(), "loading")
        assert server.stop(signal.SIGINT) == 130
        assert [line.split()[0] for line in server.stderr().splitlines()] == ["No", "Loading"]


@pytest.mark.parametrize(
    "mode",
    [
        "--no-plain",
        pytest.param(
            "--plain", marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the means")
        ),
    ],
)
def test_when_serve_is_killed_the_child_leaves_by_itself(
    env: dict[str, str], tmp_path: Path, mode: str
) -> None:
    with ServerProcess(mode, env=env, cwd=tmp_path) as server:
        child = server.wait_until_ready().child()
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        wait_for(lambda: not child.is_running(), "the orphan's end")
        assert not answers(server.port)


def test_a_child_that_dies_is_started_again_and_all_its_streams_end(
    env: dict[str, str], tmp_path: Path
) -> None:
    with ServerProcess("--parallel", "4", env=env, cwd=tmp_path) as server:
        clients = [ChatClient(server.wait_until_ready().base_url, "not-needed") for _ in range(4)]
        ask = Request(({"role": "user", "content": "Write a long story."},), "", {"max_tokens": 999})
        streams = [client.stream(ask) for client in clients]
        for stream in streams:
            next(event for event in stream if isinstance(event, TextDelta))
        server.child().send_signal(signal.SIGSEGV)
        for stream, client in zip(streams, clients, strict=True):
            with pytest.raises(LlamachatError, match="broke off"):
                list(stream)
            client.close()
        wait_for(lambda: "The server is back." in server.stderr(), "the restart")
        assert "The server died: killed by SIGSEGV. Restarting it." in server.stderr()
        assert chat(server.base_url, "not-needed") == 200
        assert server.stop() == 0


def test_the_network_gets_a_random_key_and_the_command_for_the_other_machine(
    env: dict[str, str], tmp_path: Path
) -> None:
    with ServerProcess("--host", "0.0.0.0", env=env, cwd=tmp_path) as server:
        server.wait_until_ready()
        assert server.api_key is not None and len(server.api_key) >= 32
        chat_there = rf"llamachat chat --base-url http://\S+:{server.port}/v1"
        posix, powershell, cmd = server.stdout().splitlines()[1:]
        assert re.search(rf": LLAMACHAT_API_KEY={server.api_key} {chat_there}$", posix)
        assert re.search(rf": \$env:LLAMACHAT_API_KEY='{server.api_key}'; {chat_there}$", powershell)
        assert re.search(rf': set "LLAMACHAT_API_KEY={server.api_key}" && {chat_there}$', cmd)
        assert chat(server.base_url, server.api_key) == 200
        assert chat(server.base_url, "wrong") == 401
        found = piped_chat("--base-url", server.base_url, env=env, cwd=tmp_path)
        assert found.returncode == 0, found.stderr
        code = "import sys, llamachat; llamachat.ask('Hi', base_url=sys.argv[1], choices=['a', 'b'])"
        command = [sys.executable, "-c", code, server.base_url]
        assert subprocess.run(command, env=env, cwd=tmp_path, capture_output=True).returncode == 0
        listed = llamachat("ps", "--json", env=env, cwd=tmp_path)
        assert [row["address"] for row in json.loads(listed.stdout)] == [server.base_url]
        assert server.api_key not in listed.stdout
        first = server.api_key
    assert llamachat("ps", env=env, cwd=tmp_path).stderr == "No server is running.\n"
    with ServerProcess("--host", "0.0.0.0", env=env, cwd=tmp_path) as again:
        assert again.wait_until_ready().api_key == first


def piped_chat(*args: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A chat that is given one message and no key."""
    command = [sys.executable, "-m", "llamachat", "chat", "--no-store", "--max-tokens=4", *args]
    return subprocess.run(
        command, input="Hi\n", env=env, cwd=cwd, capture_output=True, text=True, timeout=DEADLINE
    )


@pytest.mark.skipif(os.name != "posix", reason="only POSIX can replace a running command line")
@pytest.mark.parametrize(
    "spelling",
    [
        ["--api-key", "s3cret-word"],
        ["--api_key=before", "--", "--api_key=s3cret-word", "--api_key", "s3cret-word"],
    ],
)
def test_the_key_never_shows_in_the_list_of_processes(
    env: dict[str, str], tmp_path: Path, spelling: list[str]
) -> None:
    with ServerProcess(*spelling, env=env, cwd=tmp_path) as server:
        server.wait_until_ready()
        assert server.api_key == "s3cret-word"
        lines = [psutil.Process(server.process.pid).cmdline(), server.child().cmdline()]
        assert not [part for line in lines for part in line if "s3cret-word" in part]
        assert chat(server.base_url, "wrong") == 401


def test_the_last_one_of_an_options_values_wins_behind_the_dashes_too(
    env: dict[str, str], tmp_path: Path
) -> None:
    with ServerProcess("--n-ctx", "512", "--", "--n_ctx", "1000", env=env, cwd=tmp_path) as server:
        assert "n_ctx 1024" in server.wait_until_ready().stdout()
        assert "n_ctx 1000 is rounded up to 1024" in server.stderr()


def test_print_command_is_what_plain_runs(env: dict[str, str], tmp_path: Path, small_model: Path) -> None:
    (tmp_path / "a b.gguf").symlink_to(small_model)
    args = ("a b.gguf", "--n_ctx", "512", "--", "--n_batch", "64")
    printed = llamachat(
        "serve", "--print-command", *args[:-3], "--port", "1", *args[-3:], env=env, cwd=tmp_path
    )
    assert printed.returncode == 0
    assert "-m llama_cpp.server --model '" in printed.stdout
    with ServerProcess("--plain", *args, env=env, cwd=tmp_path) as server:
        running = server.wait_until_ready().child().cmdline()
    assert [str(server.port) if part == "1" else part for part in shlex.split(printed.stdout)][3:] == running[
        3:
    ]
    assert running[1:3] == ["-m", "llama_cpp.server"]


def test_n_ctx_is_rounded_with_a_word_and_warned_about(env: dict[str, str], tmp_path: Path) -> None:
    with ServerProcess("--n_ctx", "8200", env=env, cwd=tmp_path) as server:
        server.wait_until_ready()
        assert "n_ctx 8200 is rounded up to 8448" in server.stderr()
        assert "more than the 8192 that the model was trained for" in server.stderr()
        assert "n_ctx 8448" in server.stdout()


def test_a_terminal_without_the_letters_gets_question_marks(env: dict[str, str], tmp_path: Path) -> None:
    with ServerProcess(env=env | {"PYTHONIOENCODING": "ascii"}, cwd=tmp_path) as server:
        assert "/v1 ? SmolLM2" in server.wait_until_ready().stdout()


def test_verbose_shows_the_servers_own_log(env: dict[str, str], tmp_path: Path) -> None:
    with ServerProcess("--verbose", env=env, cwd=tmp_path) as server:
        server.wait_until_ready()
        assert "llama_model_loader" in server.stderr()


def test_the_articles_own_line_with_its_first_words_changed(
    env: dict[str, str], tmp_path: Path, small_model: Path
) -> None:
    name = "Meta-Llama-3-8B-Instruct.Q4_K_M.gguf"
    (tmp_path / name).symlink_to(small_model)
    with ServerProcess(
        "--host", "0.0.0.0", "--model", f"./{name}", "--n_ctx", "2048", env=env, cwd=tmp_path
    ) as server:
        assert "Meta-Llama-3-8B-Instruct.Q4_K_M" in server.wait_until_ready().stdout()
