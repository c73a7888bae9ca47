from __future__ import annotations

from collections.abc import Sequence

import pytest

from llamachat.chat.context import Ask, ContextWindow
from llamachat.client import ServerWindow
from llamachat.client.counting import ServerCounter
from llamachat.core.conversation import Conversation, Message
from llamachat.errors import ContextExceeded, MessageTooLarge


def count_prompt(messages: Sequence[Message]) -> int:
    return 10 + sum(4 + len(m.content) for m in messages)


def make_context() -> ContextWindow:
    return ContextWindow(lambda: ServerWindow(2000, ServerCounter(count_prompt)))


def grown(context: ContextWindow, turns: int, length: int = 40) -> Conversation:
    """A conversation of so many answered turns, each of which was sent through `context`."""
    conversation = Conversation.of((Message("system", "s"),))
    for number in range(turns):
        question = Message("user", f"{number}".ljust(length, "?"))
        fitted = context.fit(conversation.with_message(question))
        context.sent(fitted, "a" * length, fitted.prompt_tokens, length)
        conversation = conversation.with_turn(question, Message("assistant", "a" * length))
    return conversation


def full(context: ContextWindow) -> tuple[Conversation, Message]:
    """A conversation whose next turn makes turns go out, and the question of that turn."""
    question = Message("user", "q" * 20)
    for turns in range(1, 100):
        fresh = make_context()
        conversation = grown(fresh, turns)
        if fresh.dropped_now(fresh.fit(conversation.with_message(question))):
            grown(context, turns)
            return conversation, question
    raise AssertionError("the window never filled")


def always(text: str) -> Ask:
    return lambda _messages, _max_tokens: text


@pytest.fixture
def context() -> ContextWindow:
    return make_context()


def test_turns_that_go_out_are_news_once(context: ContextWindow) -> None:
    conversation, question = full(context)
    fitted = context.fit(conversation.with_message(question))
    assert context.dropped_now(fitted)
    context.sent(fitted, "a", None, 1)
    assert not context.dropped_now(fitted)


def test_what_is_out_of_the_window_of_a_resumed_conversation_is_no_news(context: ContextWindow) -> None:
    conversation = grown(context, 40)
    resumed = make_context()
    resumed.resume(conversation)
    question = conversation.with_message(Message("user", "?"))
    assert context.dropped_now(context.fit(question)) == resumed.dropped_now(resumed.fit(question))


def test_what_the_next_message_drives_out_is_news_after_resuming_and_listed_as_seen_before(
    context: ContextWindow,
) -> None:
    conversation, question = full(context)
    resumed = make_context()
    resumed.resume(conversation)
    for one in (context, resumed):
        assert all(line.seen for line in one.lines(conversation))
        assert one.dropped_now(one.fit(conversation.with_message(question)))


@pytest.mark.parametrize("before", ["s", ""])
def test_turns_that_a_longer_system_message_drives_out_are_news(context: ContextWindow, before: str) -> None:
    conversation, question = full(context)
    context.sent(context.fit(conversation.with_message(question)), "a", None, 1)
    out = conversation.with_turn(question, Message("assistant", "a")).with_system(before)
    if not before:
        context.resume(out)
    longer = out.with_system("s" * 900)
    context.system_changed(longer)
    new = context.dropped_now(context.fit(longer.with_message(question)))
    assert new and new[0] > 1


def test_a_summary_continues_the_prompt_that_was_just_read_and_then_stays_as_a_note(
    context: ContextWindow,
) -> None:
    conversation, question = full(context)
    prompts: list[Sequence[Message]] = []

    def ask(messages: Sequence[Message], max_tokens: int) -> str:
        prompts.append(messages)
        return "They counted."

    summed_up = context.summarise(conversation, ask)
    assert tuple(prompts[0][:-1]) == conversation.messages
    fitted = context.fit(summed_up.with_message(question))
    assert fitted.dropped
    assert [m.content for m in fitted.messages if m.note] == [prompts[0][-1].content, "They counted."]


def test_a_later_summary_replaces_the_earlier_one(context: ContextWindow) -> None:
    conversation, question = full(context)
    for text in ("first", "second"):
        conversation = context.summarise(conversation, always(text))
    fitted = context.fit(conversation.with_message(question))
    assert [m.content for m in fitted.messages if m.note and m.role == "assistant"] == ["second"]


def test_without_a_summary_the_conversation_stays_as_it_was(context: ContextWindow) -> None:
    conversation, _ = full(context)
    assert context.summarise(conversation, always(" ")) == conversation


def test_a_chinese_conversation_is_summed_up_in_chinese(context: ContextWindow) -> None:
    conversation = Conversation().with_turn(
        Message("user", "你好，你是谁？"), Message("assistant", "我是 Llama。")
    )
    assert "总结" in context.summarise(conversation, always("好")).messages[-2].content


def test_a_servers_own_numbers_are_believed(context: ContextWindow) -> None:
    conversation = grown(context, 3)
    fitted = context.fit(conversation)
    context.tighten(fitted, ContextExceeded("full", prompt_tokens=fitted.prompt_tokens + 100, n_ctx=1536))
    assert context.n_ctx == 1536


def test_without_numbers_each_try_is_tighter(context: ContextWindow) -> None:
    conversation = grown(context, 15)
    first = context.fit(conversation)
    context.tighten(first, ContextExceeded("full"))
    assert context.fit(conversation).prompt_tokens < first.prompt_tokens


def test_a_message_over_the_window_is_refused(context: ContextWindow) -> None:
    with pytest.raises(MessageTooLarge):
        context.fit(Conversation.of((Message("user", "x" * 2100),)))


def test_every_message_is_listed_with_its_tokens_and_whether_it_is_seen(context: ContextWindow) -> None:
    conversation = grown(context, 40)
    lines = context.lines(conversation)
    assert tuple(line.message for line in lines) == conversation.messages
    assert lines[0].seen and not lines[1].seen and lines[-1].seen
    assert sum(line.tokens for line in lines if line.seen) + context.counter.overhead(True) <= 2000
