from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamachat.client.counting import EstimatingCounter, ServerCounter
from llamachat.core.conversation import Message

FRAMES = {"system": 5, "user": 6, "assistant": 9}


def count_prompt(messages: Sequence[Message]) -> int:
    """A template with frames of different sizes, and a default system message as SmolLM2 has one."""
    default = 0 if messages[0].role == "system" else 17
    return 4 + default + sum(FRAMES[m.role] + len(m.content) for m in messages)


def rewriting(messages: Sequence[Message]) -> int:
    """A template that leaves old answers out."""
    return count_prompt([m for m in messages if m.role != "assistant"])


texts = st.text(max_size=30)


@given(st.lists(st.tuples(texts, texts), max_size=6), texts, st.none() | texts)
def test_the_sum_is_the_servers_count(
    turns: list[tuple[str, str]], question: str, system: str | None
) -> None:
    messages = [Message("system", system)] if system is not None else []
    for asked, answered in turns:
        messages += [Message("user", asked), Message("assistant", answered)]
    messages.append(Message("user", question))
    assert ServerCounter(count_prompt).prompt(messages) == count_prompt(messages)


def test_each_text_is_counted_once() -> None:
    calls: list[Sequence[Message]] = []

    def counted(messages: Sequence[Message]) -> int:
        calls.append(messages)
        return count_prompt(messages)

    counter = ServerCounter(counted)
    messages = [Message("user", "a"), Message("assistant", "b"), Message("user", "a")]
    counter.overhead(False)  # the template's frame, once
    before = len(calls)
    counter.prompt(messages)
    counter.prompt(messages)
    assert len(calls) == before + 2


def test_a_template_that_rewrites_answers_is_noticed_and_then_counted_whole() -> None:
    counter = ServerCounter(rewriting)
    messages = [Message("user", "a"), Message("assistant", "a long answer"), Message("user", "b")]
    assert counter.prompt(messages) != rewriting(messages)
    counter.learn(messages, rewriting(messages))
    assert counter.prompt(messages) == rewriting(messages)


def test_an_estimate_errs_on_the_safe_side_and_learns() -> None:
    # Counted with Llama 3's tokenizer: 19 tokens of Chinese, and of English.
    chinese = "人工智能是计算机科学的一个分支，它企图了解智能的实质。"
    english = "The quick brown fox jumps over the lazy dog and then runs away, because nobody likes it."
    counter = EstimatingCounter()
    assert counter.message(Message("user", chinese)) > 19
    assert counter.message(Message("user", english)) > 19
    messages = [Message("user", chinese)]
    counter.learn(messages, 27)
    assert 27 <= counter.prompt(messages) < 60
    counter.learn(messages, 70)
    assert counter.message(messages[0]) >= 70


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("人工智能是计算机科学的一个分支，它企图了解智能的实质。" * 10, 420),
        ("人工知能とは、コンピュータ科学の一分野であり、知能の本質を理解しようとするものです。" * 5, 325),
        ("Искусственный интеллект — это область информатики, которая занимается машинами. " * 5, 301),
        ("ปัญญาประดิษฐ์เป็นสาขาของวิทยาการคอมพิวเตอร์" * 5, 390),
        ("😀🎉🚀👩\u200d👩\u200d👧\u200d👦🇩🇪" * 20, 660),
        ("The quick brown fox jumps over the lazy dog and then runs away. " * 10, 141),
        ("2024-01-02,3.14159,42,1000000,0.001\n" * 20, 720),
        ("    def f(self, x: int) -> int:\n        return self._y[x] + 1\n" * 10, 241),
        ('{"a": [1, 2, {"b": null}], "c": "d"},\n' * 20, 440),
    ],
)
def test_the_first_estimate_covers_what_the_small_models_tokenizer_takes(text: str, tokens: int) -> None:
    assert EstimatingCounter().message(Message("user", text)) >= tokens


def test_no_claim_of_a_server_makes_a_text_larger_than_its_bytes() -> None:
    counter = EstimatingCounter()
    counter.learn([Message("user", "hi")], 3010)
    assert counter.message(Message("user", "你好")) <= 16
