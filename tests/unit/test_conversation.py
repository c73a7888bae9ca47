from __future__ import annotations

import pytest

from llamachat.core import presets
from llamachat.core.conversation import Conversation, Message


def said(conversation: Conversation) -> list[str]:
    return [m.content for m in conversation]


def turn(conversation: Conversation, question: str, answer: str) -> Conversation:
    return conversation.with_turn(Message("user", question), Message("assistant", answer))


def test_a_turn_makes_a_new_conversation() -> None:
    before = presets.seed("zh")
    after = turn(before, "你好", "你好！")
    assert [m.role for m in after] == ["system", "user", "assistant"]
    assert len(before) == 1


def test_the_last_turn_can_be_taken_back_and_stays_as_a_branch() -> None:
    system = presets.seed("en")
    conversation = turn(system, "a", "b").without_last_turn()
    assert conversation.messages == system.messages
    other = turn(conversation, "c", "d")
    assert said(other)[1:] == ["c", "d"]
    ends = {branch.question: branch for branch in other.branches}
    assert ends["c"].current and not ends["a"].current
    assert said(other.at(ends["a"].id))[1:] == ["a", "b"]
    with pytest.raises(LookupError):
        system.without_last_turn()


def test_a_question_is_asked_again_without_being_said_twice() -> None:
    conversation = turn(presets.seed("en"), "a", "b")
    again = conversation.at_last_question().with_message(Message("assistant", "c"))
    assert said(again)[1:] == ["a", "c"]
    assert len(again.nodes) == len(conversation.nodes) + 1


def test_the_system_message_can_be_replaced_and_removed() -> None:
    conversation = presets.seed("en").with_message(Message("user", "a"))
    assert said(conversation.with_system("other")) == ["other", "a"]
    assert conversation.with_system("").system is None
    assert Conversation().with_system("x").system == Message("system", "x")


def test_another_system_message_holds_for_every_move_of_the_head() -> None:
    conversation = turn(turn(presets.seed("en"), "a", "b"), "c", "d").with_system("other")
    assert said(conversation.without_last_turn()) == ["other", "a", "b"]
    assert said(conversation.at_last_question()) == ["other", "a", "b", "c"]
    assert conversation.last and conversation.last.message.content == "d"


def test_a_pin_holds_in_every_branch() -> None:
    conversation = turn(presets.seed("en"), "a", "b")
    again = conversation.at_last_question().with_message(Message("assistant", "c")).with_pin(1)
    (first,) = (branch for branch in again.branches if not branch.current)
    assert [m.pinned for m in again.at(first.id)] == [False, True, False]


def test_the_question_without_an_answer_can_be_left_out() -> None:
    conversation = turn(presets.seed("en"), "a", "b")
    asked = conversation.with_message(Message("user", "c"))
    assert asked.unanswered == Message("user", "c") and conversation.unanswered is None
    assert asked.without_unanswered().messages == conversation.messages


def test_the_seeded_words_are_those_of_the_article() -> None:
    assert presets.SYSTEM["zh"] == "你是一个智能助理，你的回答总是正确的、有用的和内容非常精简."
    assert presets.INTRODUCE["zh"] == "请用中文进行自我介绍，要求不能超过5句话，总字数不超过100个字。"
