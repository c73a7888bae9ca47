from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamachat.core.conversation import Conversation, Message
from llamachat.core.window import OVERRUN, Budget, Fitted, fit
from llamachat.errors import MessageTooLarge


def count(message: Message) -> int:
    return len(message.content) + 4


def text(length: int) -> str:
    return "x" * length


def turns(*lengths: int, system: int = 10) -> Conversation:
    """A conversation of turns whose messages have the given lengths, and one question at the end."""
    conversation = Conversation.of((Message("system", text(system)),))
    for length in lengths:
        conversation = conversation.with_turn(
            Message("user", text(length)), Message("assistant", text(length))
        )
    return conversation.with_message(Message("user", "now"))


lengths = st.integers(0, 60)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    messages = [Message("system", text(draw(lengths) + 1))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 25))):
        note = draw(st.integers(0, 9)) == 0
        messages += [
            Message("user", text(draw(lengths)), pinned=draw(st.integers(0, 15)) == 0, note=note),
            Message("assistant", text(draw(lengths)), pinned=draw(st.integers(0, 15)) == 0, note=note),
        ]
    return Conversation.of((*messages, Message("user", text(draw(lengths)))))


budgets = st.builds(Budget, st.integers(64, 1000), st.integers(1, 1200), st.integers(0, 20))


def fitted_or_none(conversation: Conversation, budget: Budget) -> Fitted | None:
    try:
        return fit(conversation, budget, count)
    except MessageTooLarge:
        return None


@given(conversations(), budgets)
def test_a_prompt_and_its_answer_never_exceed_the_window(conversation: Conversation, budget: Budget) -> None:
    fitted = fitted_or_none(conversation, budget)
    if fitted:
        assert fitted.prompt_tokens == budget.overhead + sum(map(count, fitted.messages))
        assert fitted.prompt_tokens + fitted.max_tokens + OVERRUN <= budget.n_ctx
        assert 1 <= fitted.max_tokens <= budget.max_tokens


@given(conversations(), budgets)
def test_system_pins_and_the_question_always_stay(conversation: Conversation, budget: Budget) -> None:
    fitted = fitted_or_none(conversation, budget)
    if fitted:
        notes = [i for i, m in enumerate(conversation) if m.note and m.role == "user"]
        must = {0} if conversation.system else set()
        must |= {i for i, m in enumerate(conversation) if m.pinned and not m.note}
        must |= {len(conversation) - 1, *notes[-1:]}
        assert must <= set(fitted.kept)
        assert not set(notes[:-1]) & set(fitted.kept)


@given(conversations(), budgets)
def test_order_is_kept_and_roles_alternate(conversation: Conversation, budget: Budget) -> None:
    fitted = fitted_or_none(conversation, budget)
    if fitted:
        assert list(fitted.kept) == sorted(fitted.kept)
        assert sorted((*fitted.kept, *fitted.dropped)) == list(range(len(conversation)))
        roles = [m.role for m in fitted.messages if m.role != "system"]
        assert roles[0] == "user"
        assert all(a != b for a, b in pairwise(roles))


@given(conversations(), budgets)
def test_what_was_dropped_stays_dropped_as_the_conversation_grows(
    conversation: Conversation, budget: Budget
) -> None:
    dropped: set[int] = set()
    for end in range(1, len(conversation) + 1):
        prefix = Conversation.of(conversation.messages[:end])
        # A pin counts from the moment that it is set, which a prefix that ends before its turn can't know.
        turn = conversation.messages[end - 1 : end + 1]
        fitted = fitted_or_none(prefix, budget)
        if fitted and not any(m.pinned for m in turn):
            assert dropped <= set(fitted.dropped)
            dropped = set(fitted.dropped)


@given(conversations(), budgets)
def test_the_same_input_gives_the_same_output(conversation: Conversation, budget: Budget) -> None:
    assert fitted_or_none(conversation, budget) == fitted_or_none(conversation, budget)


@given(conversations(), budgets)
def test_nothing_is_dropped_that_fits(conversation: Conversation, budget: Budget) -> None:
    spoken = Conversation.of(tuple(m for m in conversation if not m.note))
    if budget.overhead + sum(map(count, spoken)) <= budget.prompt_limit:
        assert fit(spoken, budget, count).dropped == ()


def test_a_block_goes_out_and_then_the_start_stays_until_the_window_is_full_again() -> None:
    budget = Budget(n_ctx=1000, max_tokens=250)
    starts = []
    conversation = turns()
    for _ in range(60):
        fitted = fit(conversation, budget, count)
        starts.append(fitted.kept[1])
        conversation = conversation.with_message(Message("assistant", text(20))).with_message(
            Message("user", text(20))
        )
    moves = [i for i, (a, b) in enumerate(pairwise(starts)) if a != b]
    assert len(moves) >= 3
    assert all(b - a >= 3 for a, b in pairwise(moves))


def test_a_block_leaves_about_sixty_percent_of_the_window() -> None:
    budget = Budget(n_ctx=1000, max_tokens=250)
    fitted = fit(turns(*[12] * 30), budget, count)
    assert fitted.dropped
    assert 500 <= fitted.prompt_tokens <= 750


def test_a_message_that_leaves_no_room_for_an_answer_is_refused_with_its_size() -> None:
    conversation = Conversation.of((Message("system", text(10)), Message("user", text(990))))
    with pytest.raises(MessageTooLarge) as caught:
        fit(conversation, Budget(n_ctx=1000, max_tokens=250), count)
    assert (caught.value.tokens, caught.value.free, caught.value.limit) == (994, 954, 968)


def test_a_message_that_takes_of_the_answers_room_is_sent_with_what_is_left() -> None:
    conversation = Conversation.of((Message("user", text(850)),))
    assert fit(conversation, Budget(n_ctx=1000, max_tokens=250), count).max_tokens == 146 - OVERRUN


def test_a_half_written_answer_can_be_the_last_message() -> None:
    conversation = turns(*[12] * 30).with_message(Message("assistant", text(40), finish_reason="length"))
    fitted = fit(conversation, Budget(n_ctx=1000, max_tokens=250), count)
    assert [m.role for m in fitted.messages[-2:]] == ["user", "assistant"]
