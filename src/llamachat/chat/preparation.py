"""A turn is prepared: what of the conversation is sent, and what is decided, summed up and told for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llamachat.chat.face import Face
from llamachat.chat.session import Session
from llamachat.client.counting import requests
from llamachat.client.stream import Request
from llamachat.core.conversation import Conversation, Message
from llamachat.core.events import Done, TextDelta
from llamachat.core.window import Fitted
from llamachat.errors import (
    BrokenAnswer,
    ContextExceeded,
    LlamachatError,
    MessageTooLarge,
    Stopped,
    WindowFull,
)
from llamachat.language import _

EXCERPT = 24


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is sent: `fitted` of `conversation`, whose last message is to be answered or continued."""

    conversation: Conversation
    fitted: Fitted


def prepare(
    session: Session, face: Face, conversation: Conversation, question: Message | None = None
) -> Prepared:
    """Fit `conversation`, with `question` at its end, into the window.

    With `on_full` set to `summarise`, what goes out before a question is summed up. Raises MessageTooLarge,
    and WindowFull if the user wants to be asked and does not agree.
    """
    session.look_at_server(face.tell)
    candidate = conversation.with_message(question) if question else conversation
    fitted = session.window.fit(candidate)
    prepared = Prepared(candidate, fitted)
    if _going(session, prepared):
        _get_consent(session, face, prepared)
        if question and session.settings.on_full == "summarise":
            prepared = _summed_up(session, face, conversation, question) or prepared
    _tell_what_goes(session, face, prepared)
    return prepared


def prepare_smaller(
    session: Session, face: Face, refused: Prepared, error: ContextExceeded | BrokenAnswer
) -> Prepared:
    """A smaller prompt than `refused`; raises the server's `error` again if there is none."""
    session.window.tighten(refused.fitted, error)
    try:
        smaller = Prepared(refused.conversation, session.window.fit(refused.conversation))
    except MessageTooLarge:
        smaller = refused
    same = smaller.fitted.messages == refused.fitted.messages
    if smaller == refused or (isinstance(error, BrokenAnswer) and same):
        if isinstance(error, BrokenAnswer):
            # A window that was only guessed from it would go on to leave out what fits.
            session.window.forget_server()
        raise error
    if len(_going(session, smaller)) > len(_going(session, refused)):
        _get_consent(session, face, smaller)
    face.tell(_("[the server says that its window is full: sending less]"))
    _tell_what_goes(session, face, smaller)
    return smaller


def _going(session: Session, prepared: Prepared) -> tuple[Message, ...]:
    return session.window.questions_dropped_now(prepared.conversation, prepared.fitted)


def _get_consent(session: Session, face: Face, prepared: Prepared) -> None:
    turns = len(_going(session, prepared))
    if turns and session.settings.on_full == "stop":
        error = WindowFull(turns)
        if not face.ask(_("{message} Send it?").format(message=error.message)):
            error.hint = _("Decide: on-full drop or summarise, or a new conversation.")
            error.command_hint = _(
                "Decide: /set on-full drop (or summarise), /undo, or /clear; /context shows what is there."
            )
            raise error


def _tell_what_goes(session: Session, face: Face, prepared: Prepared) -> None:
    """Say in one line which turns the model no longer sees from now on."""
    going = _going(session, prepared)
    if not going:
        return
    excerpt = " ".join(going[0].content.split())
    if len(excerpt) > EXCERPT:
        excerpt = excerpt[:EXCERPT] + "…"
    turns = len(going)
    what = (
        _("1 turn goes out: “{excerpt}”").format(excerpt=excerpt)
        if turns == 1
        else _("{turns} turns go out, from “{excerpt}” on").format(turns=turns, excerpt=excerpt)
    )
    more = _("; /context shows what the model sees") if face.commands else ""
    face.tell(_("[the window is full: {what}{more}]").format(what=what, more=more))


def _summed_up(
    session: Session, face: Face, conversation: Conversation, question: Message
) -> Prepared | None:
    """`question` after a summary of `conversation`; None if there is none, or there was one already."""
    if conversation.last and conversation.last.message.note:
        return None
    face.tell(_("[the window is full: summing up what goes out of it]"))
    summary = session.window.summarise(conversation, lambda *asked: _ask(session, face, *asked))
    if summary is conversation:
        return None
    candidate = summary.with_message(question)
    try:
        return Prepared(candidate, session.window.fit(candidate))
    except MessageTooLarge:
        face.tell(_("[no summary: this message leaves no room for one]"))
        return None


def _ask(session: Session, face: Face, messages: Sequence[Message], max_tokens: int) -> str:
    """The model's answer, not shown; empty if it failed. Raises Stopped if the user stopped it."""
    sampling = session.settings.sampling.given() | {"temperature": 0.2, "max_tokens": max_tokens}
    request = Request(requests(messages), session.asked_model, sampling, session_id=session.id)
    text = ""
    try:
        with session.client.stream(request) as stream, face.answer(stream.cancel) as view:
            for event in stream:
                if isinstance(event, TextDelta):
                    text += event.text
                elif not isinstance(event, Done):
                    view.show(event)
                elif event.finish_reason == "interrupted":
                    raise Stopped(_("Stopped before an answer came."))
                else:
                    return text
    except Stopped:
        raise
    except LlamachatError as error:
        face.tell(_("[no summary: {error}]").format(error=error))
    return ""
