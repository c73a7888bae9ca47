"""Room for a turn: what goes out of the window for it is told, summed up first, or refused."""

from __future__ import annotations

from collections.abc import Sequence

from llamachat.chat.context import WindowFull
from llamachat.chat.session import Session
from llamachat.client import Request
from llamachat.client.counting import requests
from llamachat.core.conversation import Conversation, Message
from llamachat.core.events import Done, TextDelta
from llamachat.core.window import Fitted
from llamachat.errors import LlamachatError, MessageTooLarge

EXCERPT = 24


class Stopped(LlamachatError):
    """The user stopped an answer before there was any of it."""


def make_room(session: Session, question: Message) -> Conversation:
    """The conversation that `question` is asked in: with a summary, where turns go out and one is wanted.

    Raises WindowFull where the user wants to decide.
    """
    look_at_server(session)
    context, conversation = session.context, session.conversation
    candidate = conversation.with_message(question)
    fitted = context.fit(candidate, session.sampling.max_tokens)
    let_decide(session, candidate, fitted)
    summed_up_already = conversation.messages[-1:] and conversation.messages[-1].note
    if not context.dropped_now(fitted) or context.on_full != "summarise" or summed_up_already:
        return conversation
    session.terminal.notice("[the window is full: summing up what goes out of it]")
    summed_up = context.summarise(conversation, lambda messages, tokens: _ask(session, messages, tokens))
    try:
        context.fit(summed_up.with_message(question), session.sampling.max_tokens)
    except MessageTooLarge:
        session.terminal.notice("[no summary: beside this message there is no room for it]")
        return conversation
    return summed_up


def let_decide(session: Session, candidate: Conversation, fitted: Fitted) -> None:
    """Raise WindowFull where turns would go out, and the user wants to be asked."""
    turns = turns_in(candidate, session.context.dropped_now(fitted))
    if turns and session.context.on_full == "stop":
        raise WindowFull(turns)


def tell(session: Session, candidate: Conversation, fitted: Fitted) -> None:
    """Say in one line which turns the model no longer sees from now on."""
    going = session.context.dropped_now(fitted)
    turns = turns_in(candidate, going)
    if not turns:
        return
    first = next(m for i, m in enumerate(candidate) if i in going and m.role == "user" and not m.note)
    excerpt = " ".join(first.content.split())
    if len(excerpt) > EXCERPT:
        excerpt = excerpt[:EXCERPT] + "…"
    what = f"1 turn goes out: “{excerpt}”" if turns == 1 else f"{turns} turns go out, from “{excerpt}” on"
    session.terminal.notice(f"[the window is full: {what}; /context shows what the model sees]")


def look_at_server(session: Session) -> None:
    """Notice that another server, model or window is at the address since the last message."""
    try:
        said = session.client.facts()
    except LlamachatError:
        return  # It will be said of the message itself.
    before, session.facts = session.facts, said
    if before in (None, said):
        return
    answered = session.answering
    session.context.forget_server()
    session.served = said.model
    changed = said.n_ctx and before and said.n_ctx != before.n_ctx
    window = f", with a window of {said.n_ctx} tokens" if changed else ""
    session.terminal.notice(f"[{answered} answered so far; now it is {session.answering}{window}]")


def turns_in(conversation: Conversation, indexes: Sequence[int]) -> int:
    """How many turns of `conversation` have these indexes."""
    inside = set(indexes)
    return sum(i in inside and m.role == "user" and not m.note for i, m in enumerate(conversation))


def _ask(session: Session, messages: Sequence[Message], max_tokens: int) -> str:
    """The model's answer, not shown; empty where it failed. Raises Stopped where the user stopped it."""
    sampling = session.sampling.given() | {"temperature": 0.2, "max_tokens": max_tokens}
    text = ""
    try:
        with (
            session.client.stream(Request(requests(messages), session.model, sampling)) as stream,
            session.terminal.answer(stream.cancel) as view,
        ):
            for event in stream:
                if isinstance(event, TextDelta):
                    text += event.text
                elif not isinstance(event, Done):
                    view.show(event)
                elif event.finish_reason == "interrupted":
                    raise Stopped("Stopped before an answer came.")
                else:
                    return text
    except Stopped:
        raise
    except LlamachatError as error:
        session.terminal.notice(f"[no summary: {error}]")
    return ""
