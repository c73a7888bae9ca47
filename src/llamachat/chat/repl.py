"""The loop: it tells a message, a command, Ctrl-C, Ctrl-D and an error apart, and outlives any turn."""

from __future__ import annotations

from llamachat.chat import commands, turn
from llamachat.chat.session import Session
from llamachat.core.presets import INTRODUCE
from llamachat.errors import AuthError, ExitStatus, LlamachatError

FAREWELL = "BYE BYE!"
_LEAVE = ("bye", "quit", "exit")


def run(session: Session, *, intro: bool) -> ExitStatus:
    """Chat until the user leaves; the status of the last failure where no person could mend it."""
    if intro:
        _introduce(session)
    warned = False
    while not session.leaving:
        try:
            text = session.terminal.read_message(session.take_draft())
            warned = False
            _attempt(session, text)
        except EOFError:
            break
        except KeyboardInterrupt:  # at the prompt, or before it came
            if not session.terminal.interactive:
                raise
            if warned:
                break
            warned = True
            session.terminal.notice("Ctrl-C again leaves, and so does Ctrl-D.")
    session.terminal.farewell(FAREWELL)
    return ExitStatus.OK if session.terminal.interactive else session.exit_status


def _introduce(session: Session) -> None:
    """The article's first question. A key that is refused now is refused for ever."""
    try:
        with session.terminal.interruptible():
            turn.ask(session, INTRODUCE[session.lang], titled=False)
    except AuthError:
        raise
    except LlamachatError as error:
        session.terminal.error(str(error))
    except KeyboardInterrupt:
        session.terminal.notice("Stopped.")


def _attempt(session: Session, text: str) -> None:
    """Do what was typed; whatever fails, the text comes back for editing."""
    try:
        with session.terminal.interruptible():
            _handle(session, text)
    except LlamachatError as error:
        # First of all, because who sees the error may press Ctrl-C at once.
        session.draft, session.exit_status = text, error.exit_status
        session.terminal.error(str(error))
    except KeyboardInterrupt:
        if not session.terminal.interactive:
            raise
        session.draft = text
        session.terminal.notice("Stopped.")


def _handle(session: Session, text: str) -> None:
    if not text.strip():
        return
    if text.strip().lower() in _LEAVE:
        session.leaving = True
    elif text.startswith("//"):
        turn.ask(session, text[1:])
    elif text.startswith("/"):
        commands.run(session, text)
    else:
        turn.ask(session, text)
