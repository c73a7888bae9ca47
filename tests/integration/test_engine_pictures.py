"""Pictures on a real server: a projector with random weights in front of the real small model."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from llamachat.errors import ExitStatus
from llamachat.hub import gguf, projector
from llamachat.hub.local_models import LocalModel
from tests import tiny_projector
from tests.support import DEADLINE, ServerProcess, clean_env, llamachat

RED, BLUE = tiny_projector.png((255, 0, 0)), tiny_projector.png((0, 0, 255))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Path:
    """A folder with the model and, beside it, its projector."""
    folder = tmp_path_factory.mktemp("pictures")
    models = folder / "data" / "llamachat" / "models"
    models.mkdir(parents=True)
    (models / "small-q4_1.gguf").symlink_to(small_model)
    n_embd = gguf.open_header(small_model).metadata["llama.embedding_length"]
    assert isinstance(n_embd, int)
    tiny_projector.write(models / "mmproj-small-f32.gguf", n_embd)
    return folder


@pytest.fixture(scope="module")
def sees(home: Path) -> Iterator[ServerProcess]:
    with ServerProcess("-np", "2", env=clean_env(home), cwd=home) as server:
        yield server.wait_until_ready()


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def message(*pictures: str, text: str = "What is it?") -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": p}} for p in pictures]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def post(server: ServerProcess, path: str, **body: Any) -> tuple[int, Any]:
    request = Request(
        server.base_url.removesuffix("/v1") + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urlopen(request, timeout=DEADLINE) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


def ask(server: ServerProcess, *messages: Any, **more: Any) -> dict[str, Any]:
    status, reply = post(
        server, "/v1/chat/completions", messages=messages, max_tokens=8, temperature=0, **more
    )
    assert status == 200, reply
    return dict(reply)


def streamed(server: ServerProcess, *messages: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """The answer as a message, and its usage: what came from the cache is told in streams only."""
    body = {"messages": messages, "max_tokens": 8, "temperature": 0, "seed": 1, "stream": True}
    request = Request(
        server.base_url + "/chat/completions",
        json.dumps(body | {"stream_options": {"include_usage": True}}).encode(),
        {"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=DEADLINE) as response:
        events = [json.loads(line[6:]) for line in response if line.startswith(b"data: {")]
    choices = [choice for event in events for choice in event["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return {"role": "assistant", "content": text}, events[-1]["usage"]


def test_a_picture_is_counted_read_once_and_told_apart(sees: ServerProcess) -> None:
    assert "sees pictures" in sees.stdout()
    assert "One request at a time: pictures" in sees.stderr()
    first, other, again = (streamed(sees, message(url(p))) for p in (RED, BLUE, RED))
    counted = post(sees, "/extras/chat/tokenize/count", messages=[message(url(RED))])[1]["count"]
    plain = post(sees, "/extras/chat/tokenize/count", messages=[{"role": "user", "content": "\nWhat is it?"}])
    assert counted == first[1]["prompt_tokens"] == plain[1]["count"] + tiny_projector.TOKENS
    assert first[0] == again[0]
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for _, usage in (other, again)]
    assert max(cached) < counted - tiny_projector.TOKENS
    # The conversation goes on: the picture is in the cache.
    _, usage = streamed(sees, message(url(RED)), again[0], {"role": "user", "content": "Sure?"})
    assert usage["prompt_tokens_details"]["cached_tokens"] >= counted


def test_an_answer_about_a_picture_is_held_to_a_schema_and_text_stays_text(sees: ServerProcess) -> None:
    schema = {"type": "json_schema", "json_schema": {"schema": {"enum": ["red", "blue"]}}}
    reply = ask(sees, message(url(RED)), response_format=schema)
    assert json.loads(reply["choices"][0]["message"]["content"]) in ("red", "blue")
    plain = ask(sees, {"role": "user", "content": f"<__picture_{'0' * 32}__> <|im_end|>"})
    assert plain["usage"]["prompt_tokens"] > tiny_projector.TOKENS


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (url(RED[:60]), "damaged"),
        (url(b"hello"), "must be one of PNG"),
        ("http://127.0.0.1:9/p.png", "data: URL"),
        ("data:image/png;base64,???", "data: URL"),
    ],
)
def test_what_is_not_a_picture_is_refused(sees: ServerProcess, picture: str, words: str) -> None:
    status, said = post(sees, "/v1/chat/completions", messages=[message(picture)])
    assert (status, words in said["error"]["message"]) == (400, True), said


def test_a_chat_attaches_a_picture_and_keeps_it(sees: ServerProcess, home: Path, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(RED)
    env = clean_env(home) | {"LLAMACHAT_BASE_URL": sees.base_url, "LLAMACHAT_MAX_TOKENS": "8"}

    def chat(*args: str, lines: str) -> subprocess.CompletedProcess[str]:
        return llamachat("chat", "--lines", *args, env=env, cwd=tmp_path, piped=lines)

    done = chat(lines="/file red.png\nWhat is it?\n")
    assert done.returncode == 0, done.stderr
    exported = llamachat("history", "export", "1", "--format", "jsonl", env=env, cwd=tmp_path)
    (line,) = exported.stdout.splitlines()
    question = next(m for m in json.loads(line)["messages"] if m["role"] == "user")
    assert question == message(url(RED))
    again = chat("--resume", "1", lines="Sure?\n")
    assert again.returncode == 0, again.stderr


def test_ask_says_what_is_wrong_with_a_picture(sees: ServerProcess, home: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(RED[:60])
    env = clean_env(home) | {"LLAMACHAT_BASE_URL": sees.base_url}
    done = llamachat("ask", "-a", "bad.png", "What is it?", env=env, cwd=tmp_path)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "damaged" in line) == (ExitStatus.SERVER, True), line


def test_a_file_that_is_not_a_projector_is_refused_before_the_model_is_loaded(
    home: Path, small_model: Path, tmp_path: Path
) -> None:
    done = llamachat("serve", "small-q4_1", "--mmproj", str(small_model), env=clean_env(home), cwd=tmp_path)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "not a projector" in line) == (ExitStatus.MODEL, True), line


def test_a_projector_belongs_to_the_model_of_its_name(tmp_path: Path) -> None:
    for name in ("Big-V-Q4_K_M", "mmproj-Big-V-f16", "mmproj-model-f16", "other"):
        (tmp_path / f"{name}.gguf").touch()

    def found(name: str) -> str | None:
        path = projector.beside(LocalModel(tmp_path / f"{name}.gguf", name))
        return path.name if path else None

    assert (found("Big-V-Q4_K_M"), found("other")) == ("mmproj-Big-V-f16.gguf", None)
    (tmp_path / "mmproj-Big-V-2-f16.gguf").touch()
    assert found("Big-V-Q4_K_M") == "mmproj-Big-V-f16.gguf"
    (tmp_path / "mmproj-Big-V-2-f16.gguf").unlink()
    (tmp_path / "other.gguf").unlink()
    (tmp_path / "mmproj-Big-V-f16.gguf").unlink()
    assert found("Big-V-Q4_K_M") == "mmproj-model-f16.gguf"
