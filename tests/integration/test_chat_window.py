"""The chat and its window, with the real small model: cut answers, summaries, a stock server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from llamachat.errors import LlamachatError
from llamachat.store.records import Stored
from llamachat.store.transcripts import Transcripts
from tests.support import DEADLINE, ServerProcess, clean_env

STORY = "Tell me a long story about a sailor and a whale."
CHINESE = "请详细介绍一下长城的历史，它是什么时候修建的，为什么修建，有多长，现在怎么样？"


@pytest.fixture(scope="module")
def small_window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    home = tmp_path_factory.mktemp("small")
    with ServerProcess("--n-ctx", "512", env=clean_env(home), cwd=home) as server:
        yield server.wait_until_ready()


def chat(
    server: ServerProcess, env: Mapping[str, str], lines: Sequence[str], *options: str
) -> subprocess.CompletedProcess[str]:
    key = ["--api-key", server.api_key] if server.api_key else []
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "llamachat",
            "chat",
            "--lines",
            "--base-url",
            server.base_url,
            *key,
            "--lang",
            "en",
            *options,
        ],
        env=dict(env),
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )


def stored(env: Mapping[str, str]) -> Stored:
    def fail(error: LlamachatError) -> None:
        raise error

    (path,) = Path(env["XDG_DATA_HOME"]).rglob("*.db")
    with Transcripts.open(path, fail) as transcripts:
        return transcripts.load(transcripts.summaries()[0].id)


def test_an_answer_that_was_cut_goes_on_as_if_it_had_not_been(
    small_window: ServerProcess, env: dict[str, str]
) -> None:
    # A penalty looks back on what this request wrote, so that it begins anew where an answer goes on.
    def answer(limit: int, *more: str) -> str:
        wishes = ["/set temperature 0", "/set repeat_penalty 1", f"/set max_tokens {limit}", STORY, *more]
        done = chat(small_window, env, wishes)
        assert done.returncode == 0, done.stderr
        assert "cut off at the maximum length" in done.stderr
        found = stored(env).conversation
        assert [m.role for m in found] == ["system", "user", "assistant"]
        return found.messages[-1].content

    assert answer(16, "/continue", "/continue") == answer(48)


def test_what_goes_out_is_summed_up_once_and_later_summaries_fold_it_in(
    small_window: ServerProcess, env: dict[str, str]
) -> None:
    done = chat(
        small_window, env, [STORY, *["Go on with it."] * 5], "--on-full", "summarise", "--temperature", "0"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("summing up what goes out") >= 2
    assert "no summary" not in done.stderr
    conversation = stored(env).conversation
    requests = [m for m in conversation if m.note and m.role == "user"]
    notes = [m for m in conversation if m.note and m.role == "assistant"]
    assert len(requests) == len(notes) == done.stderr.count("summing up")
    assert all(note.content for note in notes)
    assert all("Summarise our conversation" in request.content for request in requests)
    answers = [m.content for m in conversation if m.role == "assistant" and not m.note]
    assert done.stdout.split() == " ".join(answers).split()


def test_a_message_over_the_window_is_refused_and_the_next_one_is_answered(
    small_window: ServerProcess, env: dict[str, str]
) -> None:
    done = chat(small_window, env, ["many words " * 400, "What is the capital of France?"])
    assert done.returncode == 1
    assert "of 480 are free. Start the server with a larger --n-ctx" in done.stderr
    assert done.stdout.strip()
    assert [m.role for m in stored(env).conversation] == ["system", "user", "assistant"]


@pytest.mark.slow
def test_a_stock_server_is_never_asked_for_more_than_it_takes_in_chinese(
    small_model: Path, env: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(small_model), "--n_ctx", "512"]
    with ServerProcess(prefix=command, env=clean_env(tmp_path), cwd=tmp_path) as server:
        server.wait_until_listening()
        done = chat(server, env, [CHINESE] * 6, "--n-ctx", "512", "--max-tokens", "32")
        assert done.returncode == 0, done.stderr
        assert "turns go out" in done.stderr
        assert "sending less" not in done.stderr
        wrong = chat(server, env, [CHINESE] * 6, "--n-ctx", "2048", "--max-tokens", "32")
        assert wrong.returncode == 0, wrong.stderr
        assert "the server says that its window is full: sending less" in wrong.stderr
