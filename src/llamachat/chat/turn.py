"""One turn: a candidate conversation goes out, an answer comes back and becomes part of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from llamachat.chat.room import Stopped, let_decide, look_at_server, make_room, tell
from llamachat.chat.session import Session
from llamachat.chat.stats import footer
from llamachat.client import Request
from llamachat.client.counting import requests
from llamachat.core.conversation import Conversation, Message
from llamachat.core.events import Done, TextDelta
from llamachat.core.window import Fitted
from llamachat.errors import BrokenAnswer, ContextExceeded, LlamachatError, MessageTooLarge, ServerError


@dataclass(slots=True)
class Reply:
    """What has come of an answer. `conversation` ends with its question, then with the answer itself.

    `first` and `last` are seconds from the request to pieces of its text.
    """

    conversation: Conversation
    goes_on: bool = False
    parts: list[str] = field(default_factory=list)
    begun: bool = False
    done: Done | None = None
    first: float | None = None
    last: float = 0.0

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def begin(self, answer: Message) -> None:
        """The first text came: a new answer is in the conversation; one that goes on grows from here."""
        self.begun = True
        node = self.conversation.last
        if self.goes_on and node:
            tokens = node.message.completion_tokens
            answer = replace(
                answer,
                content=node.message.content,
                pinned=node.message.pinned,
                created_at=node.message.created_at,
                completion_tokens=tokens,
            )
            self.conversation = self.conversation.changed(node.id, answer)
        else:
            self.conversation = self.conversation.with_message(answer)

    def end(self, finish_reason: str) -> None:
        """The answer is over, and in the conversation where it came to anything."""
        node = self.conversation.last
        if not self.begun or node is None:
            return
        usage = self.done.usage if self.done else None
        before = node.message.completion_tokens
        answer = replace(
            node.message,
            content=node.message.content + self.text,
            finish_reason=finish_reason,
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens + (before or 0) if usage else before,
            timings=self.done.timings if self.done else None,
            finished_at=time.time(),
        )
        self.conversation = self.conversation.changed(node.id, answer)


def ask(session: Session, text: str, *, titled: bool = True) -> None:
    """Send `text` as the next message. On any error the conversation stays as it was."""
    question = Message("user", "\n\n".join([*session.attached, text]))
    session.conversation = make_room(session, question)
    answer_to(session, session.conversation.with_message(question), title=text if titled else "")
    session.attached.clear()


def answer_to(session: Session, candidate: Conversation, *, title: str = "") -> None:
    """Let the model answer the last message of `candidate`, which becomes the conversation if it does."""
    session.journal.save(candidate, title=title, wait=True)
    _answer(session, Reply(candidate))


def go_on(session: Session, conversation: Conversation) -> None:
    """Let the model go on with its own answer that `conversation` ends with, as the same message."""
    look_at_server(session)
    session.journal.save(conversation)
    _answer(session, Reply(conversation, goes_on=True))


def _answer(session: Session, reply: Reply) -> None:
    before = session.conversation
    try:
        _stream(session, reply)
    except BaseException as error:
        failed = isinstance(error, LlamachatError)
        _end(session, reply, "error" if failed else "interrupted")
        # A turn that failed is a branch; in the file it is the head until something else is said.
        session.conversation = reply.conversation.at(before.head)
        if isinstance(error, LlamachatError):
            _keep_part(session, reply, error)
        raise
    assert reply.done
    _end(session, reply, reply.done.finish_reason)
    if not reply.text.strip() and not reply.goes_on:
        session.conversation = reply.conversation.at(before.head)
        raise _no_answer(reply.done.finish_reason)
    session.conversation, session.cut = reply.conversation, None
    _say_how_it_ended(session, reply, reply.done)


def _end(session: Session, reply: Reply, finish_reason: str) -> None:
    reply.end(finish_reason)
    session.journal.save(reply.conversation, wait=True)


def _stream(session: Session, reply: Reply) -> None:
    """Fit and send the conversation; once more and tighter, where the server says that it does not fit."""
    candidate = reply.conversation
    fitted = session.context.fit(candidate, session.sampling.max_tokens)
    let_decide(session, candidate, fitted)
    tell(session, candidate, fitted)
    try:
        _send(session, fitted, reply)
    except (ContextExceeded, BrokenAnswer) as error:
        if not _is_overflow(session, error):
            raise
        fitted = _tighter(session, candidate, fitted, error)
        _send(session, fitted, reply)
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


def _send(session: Session, fitted: Fitted, reply: Reply) -> None:
    sampling = session.sampling.given() | {"max_tokens": fitted.max_tokens}
    request = Request(requests(fitted.messages), session.model, sampling, reply.goes_on)
    parameters = {"model": session.model, **sampling}
    answer = Message(
        "assistant", "", model=session.answering, server=session.client.base_url, parameters=parameters
    )
    began = time.monotonic()
    with session.client.stream(request) as stream, session.terminal.answer(stream.cancel) as view:
        for event in stream:
            # Not before: an answer that could not go on stays what it was.
            starts = isinstance(event, TextDelta) or (reply.goes_on and isinstance(event, Done))
            if starts and not reply.begun:
                reply.begin(answer)
                session.journal.save(reply.conversation)
            if isinstance(event, TextDelta):
                reply.last = time.monotonic() - began
                reply.first = reply.last if reply.first is None else reply.first
                reply.parts.append(event.text)
                session.journal.write(event.text)
            elif isinstance(event, Done):
                reply.done = event
            view.show(event)


def _no_answer(finish_reason: str) -> LlamachatError:
    if finish_reason == "interrupted":
        return Stopped("Stopped before an answer came.")
    if finish_reason == "length":
        return ServerError("The answer had no room for a word.", "/set max_tokens gives it more.")
    return ServerError("The model gave an empty answer.", "Send the message again, or change it.")


def _say_how_it_ended(session: Session, reply: Reply, done: Done) -> None:
    session.stats = footer(done, reply.first, reply.last, session.context.status)
    if not reply.text.strip():
        session.terminal.notice("[the model has nothing to add]")
    elif done.finish_reason == "interrupted":
        session.terminal.notice("[stopped: /continue goes on from there]")
    elif done.finish_reason == "length":
        session.terminal.notice("[cut at its greatest length: /continue goes on from there]")
    if session.show_stats and session.stats:
        session.terminal.notice(session.stats)


def _keep_part(session: Session, reply: Reply, error: LlamachatError) -> None:
    """An answer that broke off is no part of the conversation, but it can be taken up."""
    if isinstance(error, ServerError) and not _looks_like_overflow(error):
        session.context.forget_server()
    if reply.text.strip() and reply.conversation.last:
        session.cut = reply.conversation.last.id
        session.terminal.notice("[broken off: /continue goes on from there]")
