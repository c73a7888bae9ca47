"""Commands that change what was said."""

from __future__ import annotations

from llamachat.chat import turn
from llamachat.chat.room import look_at_server
from llamachat.chat.session import Session
from llamachat.core import presets
from llamachat.core.conversation import Message
from llamachat.errors import LlamachatError, UsageError


def clear(session: Session, argument: str) -> None:
    session.conversation = presets.seed(session.lang, session.system)
    session.cut = None
    session.attached.clear()
    session.look_at_window()
    session.journal.start(session.conversation, session.settings)
    session.terminal.notice("A new conversation.")


def system(session: Session, argument: str) -> None:
    if not argument:
        message = session.conversation.system
        session.terminal.write(message.content if message else "There is no system message.")
        return
    added = session.conversation.system is None
    session.system = argument
    session.revise(lambda conversation: conversation.with_system(argument))
    session.context.system_changed(session.conversation, added=added, max_tokens=session.sampling.max_tokens)
    session.terminal.status(session.context.status)
    session.terminal.notice("The system message is changed.")


def lang(session: Session, argument: str) -> None:
    if not argument:
        session.terminal.write(session.lang)
        return
    if argument not in presets.SYSTEM:
        raise UsageError(f"There is no language {argument!r}.", "There are zh and en.")
    before = presets.SYSTEM[session.lang]
    session.lang = argument
    message = session.conversation.system
    if message and message.content == before:
        session.revise(lambda conversation: conversation.with_system(presets.SYSTEM[session.lang]))
    session.terminal.notice(f"The system message is {argument} from now on.")


def retry(session: Session, argument: str) -> None:
    _last_question(session)
    candidate = session.conversation.at_last_question()
    look_at_server(session)
    try:
        turn.answer_to(session, candidate)
    except LlamachatError:
        # The old answer stands; what came of the new one is a branch.
        session.journal.save(session.conversation)
        raise


def undo(session: Session, argument: str) -> None:
    _rewind(session)
    session.terminal.notice("The last question and its answer are taken back.")


def edit(session: Session, argument: str) -> None:
    session.draft = _rewind(session).content


def go_on(session: Session, argument: str) -> None:
    conversation = session.conversation
    if session.cut is not None:
        system = conversation.system
        taken_up = conversation.at(session.cut).with_system(system.content if system else "")
        turn.go_on(session, taken_up)
        # What was attached to the question is with it in the conversation now.
        question = taken_up.last_question
        sent = question.content if question else ""
        session.attached = [text for text in session.attached if text not in sent]
    elif conversation.last and conversation.last.message.is_answer:
        turn.go_on(session, conversation)
    else:
        raise UsageError("There is no answer to go on with.")


def _rewind(session: Session) -> Message:
    """Take back the last turn; its question."""
    question = _last_question(session)
    session.conversation = session.conversation.without_last_turn()
    session.cut = None
    session.journal.save(session.conversation)
    session.look_at_window()
    return question


def _last_question(session: Session) -> Message:
    question = session.conversation.last_question
    if question is None:
        raise UsageError("Nothing was asked yet.")
    return question
