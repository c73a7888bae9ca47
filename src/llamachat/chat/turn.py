"""One turn: a question is prepared and sent, and an answer comes back and becomes part of the conversation.

On any error the conversation stays as it was; what came of the turn is a branch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from llamachat.chat.face import Face
from llamachat.chat.preparation import Prepared, prepare, prepare_smaller
from llamachat.chat.session import Session
from llamachat.client.counting import requests
from llamachat.client.stream import Request
from llamachat.core.conversation import Conversation, Message
from llamachat.core.events import Done, TextDelta
from llamachat.errors import (
    BrokenAnswer,
    ContextExceeded,
    LlamachatError,
    NothingThere,
    ServerError,
    Stopped,
)
from llamachat.language import _


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

    def add(self, text: str, seconds: float) -> None:
        self.parts.append(text)
        self.last = seconds
        self.first = seconds if self.first is None else self.first

    def begin(self, answer: Message) -> None:
        """The first text came: a new answer is in the conversation; one that is continued grows from here."""
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
        """The answer is over, and in the conversation if there is anything of it."""
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


def behind(attached: str, text: str) -> str:
    """A message as it is typed."""
    return "\n\n".join(filter(None, (attached, text)))


def ask(
    session: Session,
    face: Face,
    text: str,
    *,
    compose: Callable[[str, str], str] = behind,
    titled: bool = True,
    pictures: tuple[str, ...] = (),
) -> Reply:
    """Send what `compose` makes of what is attached and `text`, with `pictures` besides those attached.

    The first `titled` one gives the conversation its title.
    """
    texts, shown = tuple(session.attached), tuple(session.pictures)
    question = Message("user", compose("\n\n".join(texts), text), pictures=(*pictures, *shown))
    prepared = prepare(session, face, session.conversation, question)
    # A summary stays, whatever becomes of the question.
    session.conversation = prepared.conversation.without_last()
    reply = _answer(session, face, prepared, title=text if titled else "")
    # What has been attached meanwhile goes out with the next message.
    del session.attached[: len(texts)], session.pictures[: len(shown)]
    return reply


def retry(session: Session, face: Face) -> Reply:
    """Ask the last question again."""
    if session.conversation.last_question is None:
        raise NothingThere(_("Nothing was asked yet."))
    prepared = prepare(session, face, session.conversation.at_last_question())
    try:
        return _answer(session, face, prepared)
    except LlamachatError:
        # The old answer remains, in the file too.
        session.journal.save(session.conversation)
        raise


def go_on(session: Session, face: Face) -> Reply:
    """Go on with the answer that broke off, or else with the last one, as the same message."""
    conversation = session.conversation
    if session.cut is not None:
        system = conversation.system
        conversation = conversation.at(session.cut).with_system(system.content if system else "")
    if not (conversation.last and conversation.last.message.is_answer):
        raise NothingThere(_("There is no answer to continue."))
    reply = _answer(session, face, prepare(session, face, conversation), goes_on=True)
    # What was attached to the question is with it in the conversation now.
    asked = session.conversation.last_question
    session.attached[:] = [text for text in session.attached if not asked or text not in asked.content]
    session.pictures[:] = [url for url in session.pictures if not asked or url not in asked.pictures]
    return reply


def _answer(
    session: Session, face: Face, prepared: Prepared, *, goes_on: bool = False, title: str = ""
) -> Reply:
    reply, head = Reply(prepared.conversation, goes_on), session.conversation.head
    session.journal.save(prepared.conversation, title=title, wait=True)
    try:
        _send(session, face, prepared, reply)
    except BaseException as error:
        failed = isinstance(error, LlamachatError)
        _end(session, reply, "error" if failed else "interrupted")
        # In the file, what came of the turn is the head until something else is said.
        session.conversation = reply.conversation.at(head)
        if failed and reply.text.strip() and reply.conversation.last:
            session.cut = reply.conversation.last.id
        if isinstance(error, ServerError) and not _looks_like_overflow(error):
            session.window.forget_server()
        raise
    assert reply.done
    _end(session, reply, reply.done.finish_reason)
    if not reply.text.strip() and not goes_on:
        session.conversation = reply.conversation.at(head)
        raise _no_answer(reply.done.finish_reason)
    session.conversation, session.cut = reply.conversation, None
    return reply


def _end(session: Session, reply: Reply, finish_reason: str) -> None:
    reply.end(finish_reason)
    session.journal.save(reply.conversation, wait=True)


def _send(session: Session, face: Face, prepared: Prepared, reply: Reply) -> None:
    """Send what is prepared; again and smaller if the server says that it does not fit."""
    try:
        _stream(session, face, prepared, reply)
    except (ContextExceeded, BrokenAnswer) as error:
        # An empty stream of a server that counts tokens means something else.
        counts = isinstance(error, BrokenAnswer) and session.window.counter.exact
        if counts or not _looks_like_overflow(error):
            raise
        prepared = prepare_smaller(session, face, prepared, error)
        _stream(session, face, prepared, reply)
    assert reply.done
    usage = reply.done.usage
    session.window.sent(
        prepared.fitted,
        reply.text,
        usage.prompt_tokens if usage else None,
        usage.completion_tokens if usage else 0,
    )


def _stream(session: Session, face: Face, prepared: Prepared, reply: Reply) -> None:
    model, fitted = session.asked_model, prepared.fitted
    sampling = session.settings.sampling.given() | {"max_tokens": fitted.max_tokens}
    request = Request(requests(fitted.messages), model, sampling, reply.goes_on, session.id)
    parameters = {"model": model, **sampling}
    answer = Message(
        "assistant", "", model=session.answering, server=session.client.base_url, parameters=parameters
    )
    began = time.monotonic()
    with session.client.stream(request) as stream, face.answer(stream.cancel) as view:
        for event in stream:
            # Not before: an answer that could not go on stays what it was.
            starts = isinstance(event, TextDelta) or (reply.goes_on and isinstance(event, Done))
            if starts and not reply.begun:
                reply.begin(answer)
                session.journal.save(reply.conversation)
            if isinstance(event, TextDelta):
                reply.add(event.text, time.monotonic() - began)
                session.journal.write(event.text)
            elif isinstance(event, Done):
                reply.done = event
            view.show(event)


def _looks_like_overflow(error: LlamachatError) -> bool:
    """Whether the server says that its window is full: in words or, as the stock one, by an empty stream."""
    return isinstance(error, ContextExceeded) or (isinstance(error, BrokenAnswer) and error.empty)


def _no_answer(finish_reason: str) -> LlamachatError:
    if finish_reason == "interrupted":
        return Stopped(_("Stopped before an answer came."))
    if finish_reason == "length":
        error = ServerError(_("There was no room for an answer."), _("--max-tokens gives it more."))
        error.command_hint = _("/set max_tokens gives it more.")
        return error
    return ServerError(_("The model gave an empty answer."), _("Send the message again, or change it."))
