from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from llamachat.engine import logprobs
from llamachat.engine.logprobs import Recorder

PIECES = [b"Hi", b" \xe5\x90", b"\x8d", b".", b""]


def recorder(tokens: Sequence[int], **more: Any) -> Recorder:
    made = Recorder(2, lambda token: PIECES[token], lambda token: b"<|end|>", **more)
    for token in tokens:
        made.record(token, np.log(np.array([1, 2, 3, 4, 90], np.single)), [0, 3])
    return made


def completion(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": text, "finish_reason": reason, "logprobs": None}]}


def test_a_chance_is_that_of_the_model_or_among_what_is_allowed() -> None:
    answer = logprobs.put(completion("Hi", "length"), recorder([0]))
    assert answer["choices"][0]["logprobs"]["token_logprobs"] == pytest.approx([np.log(0.01)])
    allowed = logprobs.put(completion("Hi", "length"), recorder([0], allowed_only=True))
    (top,) = allowed["choices"][0]["logprobs"]["top_logprobs"]
    assert {name: np.exp(value) for name, value in top.items()} == pytest.approx({".": 0.8, "Hi": 0.2})


def test_a_chunk_has_the_tokens_of_its_text_and_a_stop_string_has_none() -> None:
    coming = (completion("Hi"), completion(" 名"), completion("", "stop"))
    chunks = logprobs.put(iter(coming), recorder([0, 1, 2, 3], prompt_characters=5))
    said = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert [part["tokens"] for part in said] == [["Hi"], ["bytes:\\x20\\xe5\\x90", "bytes:\\x8d"], []]
    assert [part["text_offset"] for part in said] == [[5], [7, 8], []]


def test_a_chat_has_bytes_and_the_names_of_control_tokens() -> None:
    made = recorder([1, 2])
    made.end()
    choice: dict[str, Any] = {"index": 0, "message": {"content": " 名"}, "finish_reason": "stop"}
    (first, second) = logprobs.put({"choices": [choice]}, made)["choices"][0]["logprobs"]["content"]
    assert first["bytes"] + second["bytes"] == list(" 名".encode())
    assert second["token"] == "\N{REPLACEMENT CHARACTER}"
    assert [other["token"] for other in first["top_logprobs"]] == ["<|end|>", "."]
