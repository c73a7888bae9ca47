"""Going on with a message that was cut: `continue_final_message`."""

from __future__ import annotations

from typing import Any

from tests.integration.engine_process import Answer, Engine

QUESTION = {"role": "user", "content": "Tell me about the sea."}


def ask(engine: Engine, messages: list[dict[str, str]], max_tokens: int, **more: Any) -> Answer:
    body = {"messages": messages, "max_tokens": max_tokens, "temperature": 0, "repeat_penalty": 1.0}
    return engine.ask("POST", "/v1/chat/completions", body | more)


def text(answer: Answer) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


def test_a_cut_answer_goes_on_as_if_it_had_not_been_cut(engine: Engine) -> None:
    whole = text(ask(engine, [QUESTION], 24))
    part = text(ask(engine, [QUESTION], 10))
    assert whole.startswith(part) and whole != part
    cut = [QUESTION, {"role": "assistant", "content": part}]
    assert part + text(ask(engine, cut, 14, continue_final_message=True)) == whole


def test_without_it_another_message_begins(engine: Engine) -> None:
    cut = [QUESTION, {"role": "assistant", "content": "The sea is"}]
    goes_on = ask(engine, cut, 1, continue_final_message=True).json()["usage"]["prompt_tokens"]
    assert ask(engine, cut, 1).json()["usage"]["prompt_tokens"] > goes_on


def test_only_a_message_of_the_model_can_go_on(engine: Engine) -> None:
    answer = ask(engine, [QUESTION], 1, continue_final_message=True)
    assert answer.status == 400
    assert "assistant" in answer.json()["error"]["message"]


def test_the_count_is_that_of_the_completion_that_goes_on(engine: Engine) -> None:
    cut = [QUESTION, {"role": "assistant", "content": "The sea is"}]
    body = {"messages": cut, "continue_final_message": True}
    counted = engine.ask("POST", "/extras/chat/tokenize/count", body).json()["count"]
    assert counted == ask(engine, cut, 1, continue_final_message=True).json()["usage"]["prompt_tokens"]
