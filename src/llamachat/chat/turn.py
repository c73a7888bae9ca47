"""One turn: a candidate conversation goes out, an answer comes back and becomes part of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from llamachat.chat.room import Stopped, let_decide, look_at_server, make_room, tell
from llamachat.chat.session import Cut, Session
from llamachat.chat.stats import footer
from llamachat.client import Request
from llamachat.client.counting import requests
from llamachat.core.conversation import Conversation, Message
from llamachat.core.events import Done, TextDelta
from llamachat.core.window import Fitted
from llamachat.errors import BrokenAnswer, ContextExceeded, LlamachatError, MessageTooLarge, ServerError


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


def ask(session: Session, text: str, *, titled: bool = True) -> None:
    """Send `text` as the next message. On any error the conversation stays as it was."""
    question = Message("user", "\n\n".join([*session.attached, text]))
    session.conversation = make_room(session, question)
    # A turn that failed is still in the journal, as a branch of its own from here on.
    session.journal.align(session.conversation)
    session.journal.ask(question.content, title=text if titled else "")
    answer_to(session, session.conversation.with_message(question))
    session.attached.clear()


def answer_to(session: Session, candidate: Conversation) -> None:
    """Let the model answer the last message of `candidate`, which becomes the conversation if it does."""
    reply = Reply()
    try:
        _stream(session, candidate, reply)
    except LlamachatError as error:
        _keep_part(session, candidate, reply, error)
        raise
    answer = _finish(session, candidate, reply)
    session.conversation = candidate.with_message(answer)
    session.cut = None


def go_on(session: Session, before: Conversation, part: Message) -> None:
    """Let the model go on with `part`, its own last message, as the same message."""
    reply = Reply()
    look_at_server(session)
    session.journal.align(before.with_message(part))
    try:
        _stream(session, before.with_message(part), reply, prefill=True)
    except LlamachatError as error:
        _keep_part(session, before, reply, error, part.content)
        raise
    answer = _finish(session, before, reply, part.content)
    session.conversation = before.with_message(answer)
    session.cut = None


def _stream(session: Session, candidate: Conversation, reply: Reply, *, prefill: bool = False) -> None:
    """Fit and send `candidate`; once more and tighter, where the server says that it does not fit."""
    fitted = session.context.fit(candidate, session.sampling.max_tokens)
    let_decide(session, candidate, fitted)
    tell(session, candidate, fitted)
    try:
        _send(session, fitted, reply, prefill=prefill)
    except (ContextExceeded, BrokenAnswer) as error:
        if not _is_overflow(session, error):
            raise
        fitted = _tighter(session, candidate, fitted, error)
        _send(session, fitted, reply, prefill=prefill)
    assert reply.done
    usage = reply.done.usage
    session.context.sent(
        fitted,
        reply.text,
        usage.prompt_tokens if usage else None,
        usage.completion_tokens if usage else 0,
    )
    session.terminal.status(session.context.status)


def _looks_like_overflow(error: LlamachatError) -> bool:
    """Whether the server says that its window is full: in words or, as the stock one, by an empty stream."""
    return isinstance(error, ContextExceeded) or (isinstance(error, BrokenAnswer) and error.empty)


def _is_overflow(session: Session, error: LlamachatError) -> bool:
    """The same with a look at the server: an empty stream of one that counts tokens means something else."""
    counts = isinstance(error, BrokenAnswer) and session.context.counter.exact
    return _looks_like_overflow(error) and not counts


def _tighter(
    session: Session, candidate: Conversation, fitted: Fitted, error: ContextExceeded | BrokenAnswer
) -> Fitted:
    """A smaller prompt than `fitted`; raises the server's `error` again where there is none."""
    session.context.tighten(fitted, error)
    try:
        smaller = session.context.fit(candidate, session.sampling.max_tokens)
    except MessageTooLarge:
        smaller = fitted
    if smaller == fitted or (isinstance(error, BrokenAnswer) and smaller.messages == fitted.messages):
        if isinstance(error, BrokenAnswer):
            # A window that was only guessed from it would go on to leave out what fits.
            session.context.forget_server()
        raise error
    let_decide(session, candidate, smaller)
    session.terminal.notice("[the server says that its window is full: sending less]")
    tell(session, candidate, smaller)
    return smaller


def _send(session: Session, fitted: Fitted, reply: Reply, *, prefill: bool) -> None:
    sampling = session.sampling.given() | {"max_tokens": fitted.max_tokens}
    request = Request(requests(fitted.messages), session.model, sampling, prefill)
    if not prefill and not reply.parts:
        session.journal.answer(session.origin(sampling))
    began = time.monotonic()
    with session.client.stream(request) as stream, session.terminal.answer(stream.cancel) as view:
        for event in stream:
            if prefill and not reply.parts and isinstance(event, (TextDelta, Done)):
                # Not before: an answer that could not go on stays what it was.
                session.journal.more(session.origin(sampling))
            if isinstance(event, TextDelta):
                reply.last = time.monotonic() - began
                reply.first = reply.last if reply.first is None else reply.first
                reply.parts.append(event.text)
                session.journal.write(event.text)
            elif isinstance(event, Done):
                reply.done = event
            view.show(event)


def _finish(session: Session, candidate: Conversation, reply: Reply, before: str = "") -> Message:
    """The answer as a message. Raises ServerError where there is none."""
    assert reply.done
    reason, usage = reply.done.finish_reason, reply.done.usage
    session.journal.finish(
        reason,
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        timings=reply.done.timings,
    )
    if not reply.text.strip() and not before:
        if reason == "interrupted":
            raise Stopped("Stopped before an answer came.")
        if reason == "length":
            raise ServerError("The answer had no room for a word.", "/set max_tokens gives it more.")
        raise ServerError("The model gave an empty answer.", "Send the message again, or change it.")
    answer = Message("assistant", before + reply.text, finish_reason=reason)
    session.stats = footer(reply.done, reply.first, reply.last, session.context.status)
    if not reply.text.strip():
        session.terminal.notice("[the model has nothing to add]")
    elif reason == "interrupted":
        session.terminal.notice("[stopped: /continue goes on from there]")
    elif reason == "length":
        session.terminal.notice("[cut at its greatest length: /continue goes on from there]")
    if session.show_stats and session.stats:
        session.terminal.notice(session.stats)
    return answer


def _keep_part(
    session: Session, candidate: Conversation, reply: Reply, error: LlamachatError, before: str = ""
) -> None:
    """An answer that broke off is no part of the conversation, but it can be taken up."""
    if isinstance(error, ServerError) and not _looks_like_overflow(error):
        session.context.forget_server()
    session.journal.finish("error")
    if reply.text.strip():
        session.cut = Cut(candidate, Message("assistant", before + reply.text, finish_reason="error"))
        session.terminal.notice("[broken off: /continue goes on from there]")
