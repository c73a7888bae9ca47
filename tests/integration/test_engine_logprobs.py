"""Logprobs of the real small model, in the forms that the `openai` package reads."""

from __future__ import annotations

import math
from typing import Any

import openai
import pytest

from tests.integration.engine_process import Engine, question

PLAIN: dict[str, Any] = {"temperature": 0, "repeat_penalty": 1.0}
SCHEMA = {"name": "colour", "schema": {"enum": ["red", "green", "blue"]}}
COLOURS = {"type": "json_schema", "json_schema": SCHEMA}


@pytest.fixture(scope="module")
def client(engine: Engine) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0)


def asked(**more: Any) -> dict[str, Any]:
    return {"model": "small", "messages": [{"role": "user", "content": "Say 名."}], "max_tokens": 12, **more}


def test_a_chat_streams_the_logprobs_that_it_has_whole(client: openai.OpenAI) -> None:
    wanted = asked(logprobs=True, top_logprobs=3, temperature=0, extra_body={"repeat_penalty": 1.0})
    whole = client.chat.completions.create(**wanted).choices[0]
    assert whole.logprobs and whole.logprobs.content and whole.message.content
    tokens = whole.logprobs.content
    assert bytes(b for token in tokens for b in token.bytes or ()).decode() == whole.message.content
    for token in tokens:
        likeliest = token.top_logprobs[0]
        assert len(token.top_logprobs) == 3 and likeliest.token == token.token
        assert likeliest.logprob == token.logprob < 0
        assert sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1
    streamed = [
        token
        for chunk in client.chat.completions.create(stream=True, **wanted)
        for token in (chunk.choices[0].logprobs and chunk.choices[0].logprobs.content) or ()
    ]
    assert [token.token for token in streamed] == [token.token for token in tokens]
    assert [t.logprob for t in streamed] == pytest.approx([t.logprob for t in tokens], abs=0.05)


@pytest.mark.parametrize("stream", [True, False])
def test_a_completion_has_them_in_the_older_form(engine: Engine, stream: bool) -> None:
    body = {"prompt": "One, two,", "max_tokens": 5, "logprobs": 2, "stop": ["five"], **PLAIN}
    if stream:
        events = list(engine.open_stream(body, "/v1/completions"))
        choices = [event["choices"][0] for event in events if event != "[DONE]"]
    else:
        choices = engine.ask("POST", "/v1/completions", body).json()["choices"]
    text = "".join(choice["text"] for choice in choices)
    parts = [choice["logprobs"] for choice in choices]
    assert "".join(token for part in parts for token in part["tokens"]) == text
    assert parts[0]["text_offset"][0] == len("One, two,")
    assert all(2 <= len(top) <= 3 for part in parts for top in part["top_logprobs"])


def test_those_of_what_is_allowed_add_up_to_one(engine: Engine) -> None:
    body = question("The sky is", response_format=COLOURS, logprobs=True, top_logprobs=20, **PLAIN)
    (allowed, model) = (
        engine.ask("POST", "/v1/chat/completions", {**body, "logprobs_of": of}).json()["choices"][0]
        for of in ("allowed", "model")
    )
    assert allowed["message"] == model["message"]
    for token, same in zip(allowed["logprobs"]["content"], model["logprobs"]["content"], strict=True):
        assert sum(math.exp(other["logprob"]) for other in token["top_logprobs"]) == pytest.approx(1)
        assert token["logprob"] >= same["logprob"]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("completions", {"prompt": "a", "logprobs": 2, "echo": True}, "echo"),
        ("completions", {"prompt": "a", "logprobs": 21}, "logprobs"),
        ("chat/completions", asked(logprobs=True, top_logprobs=21), "top_logprobs"),
        ("chat/completions", asked(top_logprobs=2), "top_logprobs"),
        ("chat/completions", asked(logprobs=True, logprobs_of="all"), "logprobs_of"),
    ],
)
def test_what_there_is_not_is_refused_by_name(engine: Engine, path: str, body: Any, param: str) -> None:
    answer = engine.ask("POST", f"/v1/{path}", body)
    assert answer.status == 400 and answer.json()["error"]["param"] == param
