from llamachat.core import presets
from llamachat.core.conversation import Conversation, Message


def test_a_turn_makes_a_new_conversation() -> None:
    before = presets.seed("zh")
    after = before.with_turn(Message("user", "你好"), Message("assistant", "你好！"))
    assert [m.role for m in after] == ["system", "user", "assistant"]
    assert len(before) == 1


def test_the_last_turn_can_be_taken_back() -> None:
    system = presets.seed("en")
    conversation = system.with_turn(Message("user", "a"), Message("assistant", "b"))
    assert conversation.without_last_turn() == system
    assert system.without_last_turn() == system


def test_the_system_message_can_be_replaced_and_removed() -> None:
    conversation = presets.seed("en").with_message(Message("user", "a"))
    assert [m.content for m in conversation.with_system("other")] == ["other", "a"]
    assert conversation.with_system("").system is None
    assert Conversation().with_system("x").system == Message("system", "x")


def test_the_seeded_words_are_those_of_the_article() -> None:
    assert presets.SYSTEM["zh"] == "你是一个智能助理，你的回答总是正确的、有用的和内容非常精简."
    assert presets.INTRODUCE["zh"] == "请用中文进行自我介绍，要求不能超过5句话，总字数不超过100个字。"
