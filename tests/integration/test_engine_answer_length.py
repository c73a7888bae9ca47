"""How long an answer may be where the request does not say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llamachat.core.window import OVERRUN
from llamachat.engine.answer_length import longest_answer
from tests.integration.engine_process import Engine, running

STORY = {"messages": [{"role": "user", "content": "Write a long story about a river."}], "temperature": 0}


@pytest.fixture(scope="module")
def small_window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running(tmp_path_factory.mktemp("room") / "log", n_ctx=256) as engine:
        yield engine


def usage(engine: Engine, body: dict[str, Any]) -> dict[str, int]:
    answer = engine.ask("POST", "/v1/chat/completions", body).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    found: dict[str, int] = answer["usage"]
    return found


def test_an_answer_of_no_given_length_leaves_room_for_the_next_question(small_window: Engine) -> None:
    used = usage(small_window, STORY)
    assert used["total_tokens"] == 256 * 3 // 4


@pytest.mark.parametrize("max_tokens", [200, -1])
def test_a_length_that_was_asked_for_stands(small_window: Engine, max_tokens: int) -> None:
    used = usage(small_window, STORY | {"max_tokens": max_tokens})
    free = 256 - used["prompt_tokens"]
    assert used["completion_tokens"] == (free - OVERRUN if max_tokens < 0 else max_tokens)


@pytest.mark.parametrize("prompt_tokens", [1, 511, 512, 1500, 2046, 2047])
@pytest.mark.parametrize("wanted", [None, -1, 1, 16, 5000])
def test_there_is_always_a_word_and_room_to_end_it(prompt_tokens: int, wanted: int | None) -> None:
    free = 2048 - prompt_tokens
    longest = longest_answer(2048, prompt_tokens, wanted)
    assert longest is not None and longest >= 1
    assert longest + OVERRUN <= free or longest == 1


@pytest.mark.parametrize("prompt_tokens", [1, 511, 512, 1500, 2000])
def test_without_a_wish_a_quarter_is_left_or_half_of_what_is_free(prompt_tokens: int) -> None:
    longest = longest_answer(2048, prompt_tokens, None)
    assert longest is not None
    assert 2048 - prompt_tokens - longest == min(512, (2048 - prompt_tokens + 1) // 2)


def test_a_prompt_that_fills_the_window_is_left_to_the_library() -> None:
    assert longest_answer(2048, 2048, None) is None
    assert longest_answer(2048, 3000, 5) == 5
