"""One turn: a candidate conversation goes out, an answer comes back and becomes part of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from llamachat.chat.session import Cut, Session
from llamachat.chat.stats import footer
from llamachat.client import Request
from llamachat.core.conversation import Conversation, Message
from llamachat.core.events import Done, TextDelta
from llamachat.errors import LlamachatError, ServerError


@dataclass(slots=True)
class Reply:
    """What has come of an answer; `first` and `last` are seconds from the request to pieces of its text."""

    parts: list[str] = field(default_factory=list)
    done: Done | None = None
    first: float | None = None
    last: float = 0.0

    @property
    def text(self) -> str:
        return "".join(self.parts)


def ask(session: Session, text: str) -> None:
    """Send `text` as the next message. On any error the conversation stays as it was."""
    question = Message("user", "\n\n".join([*session.attached, text]))
    session.journal.question(question)
    answer_to(session, session.conversation.with_message(question))
    session.attached.clear()


def answer_to(session: Session, candidate: Conversation) -> None:
    """Let the model answer the last message of `candidate`, which becomes the conversation if it does."""
    reply = Reply()
    try:
        _stream(session, candidate, reply)
    except LlamachatError:
        _keep_part(session, candidate, reply)
        raise
    answer = _finish(session, candidate, reply)
    session.conversation = candidate.with_message(answer)
    session.cut = None


def go_on(session: Session, before: Conversation, part: Message) -> None:
    """Let the model go on with `part`, its own last message, as the same message."""
    reply = Reply()
    try:
        _stream(session, before.with_message(part), reply, prefill=True)
    except LlamachatError:
        _keep_part(session, before, reply, part.content)
        raise
    answer = _finish(session, before, reply, part.content)
    session.conversation = before.with_message(answer)
    session.cut = None
    session.journal.changed(session.conversation)


def _stream(session: Session, candidate: Conversation, reply: Reply, *, prefill: bool = False) -> None:
    prompt = session.context.fit(candidate, session.sampling.max_tokens)
    sampling = session.sampling.given()
    if prompt.max_tokens is not None:
        sampling["max_tokens"] = prompt.max_tokens
    request = Request(prompt.messages, session.model, sampling, prefill)
    began = time.monotonic()
    with session.client.stream(request) as stream, session.terminal.answer(stream.cancel) as view:
        for event in stream:
            if isinstance(event, TextDelta):
                reply.last = time.monotonic() - began
                reply.first = reply.last if reply.first is None else reply.first
                reply.parts.append(event.text)
                session.journal.partial(event.text)
            elif isinstance(event, Done):
                reply.done = event
            view.show(event)
    assert reply.done
    session.context.learn(prompt, reply.done.usage)
    session.terminal.status(session.context.status())


def _finish(session: Session, candidate: Conversation, reply: Reply, before: str = "") -> Message:
    """The answer as a message. Raises ServerError where there is none."""
    assert reply.done
    reason = reply.done.finish_reason
    if not reply.text.strip() and not before:
        if reason == "interrupted":
            raise Stopped("Stopped before an answer came.")
        if reason == "length":
            raise ServerError("The answer had no room for a word.", "/set max_tokens gives it more.")
        raise ServerError("The model gave an empty answer.", "Send the message again, or change it.")
    answer = Message("assistant", before + reply.text, finish_reason=reason)
    session.journal.finished(answer, reply.done)
    session.stats = footer(reply.done, reply.first, reply.last, session.context.status())
    if reason == "interrupted":
        session.terminal.notice("[stopped: /continue goes on from there]")
    elif reason == "length":
        session.terminal.notice("[cut at its greatest length: /continue goes on from there]")
    if session.show_stats and session.stats:
        session.terminal.notice(session.stats)
    return answer


def _keep_part(session: Session, candidate: Conversation, reply: Reply, before: str = "") -> None:
    """An answer that broke off is no part of the conversation, but it can be taken up."""
    text = before + reply.text
    part = Message("assistant", text, finish_reason="error")
    session.journal.finished(part, None)
    if text.strip():
        session.cut = Cut(candidate, part)
        session.terminal.notice("[broken off: /continue goes on from there]")


class Stopped(LlamachatError):
    """The user stopped an answer before there was any of it."""
