from __future__ import annotations

from typing import Any

import pytest

from llamachat.engine import request_body
from llamachat.engine.failures import Refused, refusal


def chat(**more: Any) -> dict[str, Any]:
    return request_body.chat({"messages": [{"role": "user", "content": "Hi."}], **more})


def test_null_means_the_default() -> None:
    assert "temperature" not in chat(temperature=None)


def test_a_seed_is_drawn_only_where_none_was_given() -> None:
    assert chat()["seed"] != chat()["seed"]
    assert chat(seed=7)["seed"] == 7 and chat(seed=0)["seed"] == 0


def test_max_tokens_goes_before_max_completion_tokens() -> None:
    assert chat(max_completion_tokens=3)["max_tokens"] == 3
    assert chat(max_completion_tokens=3, max_tokens=5)["max_tokens"] == 5


def test_developer_becomes_system_and_the_request_stays_as_it_was() -> None:
    body = {"messages": [{"role": "developer", "content": "Be brief."}]}
    assert request_body.chat(body)["messages"][0]["role"] == "system"
    assert body["messages"][0]["role"] == "developer"


def test_parts_that_are_all_text_become_one_text() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert request_body.messages([{"role": "user", "content": parts}])[0]["content"] == "one\ntwo"
    picture = [{"type": "image_url", "image_url": {"url": "data:"}}]
    assert request_body.messages([{"role": "user", "content": picture}])[0]["content"] == picture


def test_an_answer_may_have_calls_instead_of_content() -> None:
    message: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": []}
    assert request_body.messages([message]) == [{**message, "content": ""}]


@pytest.mark.parametrize("wanted", ["json", {"type": "yaml"}, {}])
def test_an_unknown_response_format_says_which_there_are(wanted: Any) -> None:
    with pytest.raises(Refused, match="text, json_object, json_schema") as refused:
        chat(response_format=wanted)
    assert refused.value.error["param"] == "response_format"


def test_json_schema_becomes_json_object_with_a_schema() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    assert chat(response_format=wanted)["response_format"] == {
        "type": "json_object",
        "schema": {"type": "object"},
    }
    assert chat(response_format={"type": "text"})["response_format"] == {"type": "text"}


@pytest.mark.parametrize(
    "wanted", [{"audio": {"voice": "a"}}, {"modalities": ["text", "audio"]}, {"web_search_options": {"a": 1}}]
)
def test_what_only_others_have_is_refused_by_name(wanted: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        chat(**wanted)
    assert refused.value.error["param"] in wanted


def test_an_overflow_is_told_with_both_numbers() -> None:
    error = refusal(ValueError("Requested tokens (3000) exceed context window of 2048")).error
    assert error["code"] == "context_length_exceeded"
    assert error["n_prompt_tokens"] == 3000 and error["n_ctx"] == 2048


def test_what_the_request_is_not_to_blame_for_is_a_500(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(RuntimeError("llama_decode returned 1")).status_code == 500
    assert "llama_decode" in capsys.readouterr().err  # for the log
