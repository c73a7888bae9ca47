"""Commands that change what was said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llamachat.chat import turn
from llamachat.core import presets
from llamachat.core.conversation import Message
from llamachat.errors import NothingThere, UsageError
from llamachat.language import _

if TYPE_CHECKING:
    from llamachat.chat.repl import Repl


def clear(repl: Repl, argument: str) -> None:
    repl.session.begin()
    repl.terminal.tell(_("A new conversation."))


def system(repl: Repl, argument: str) -> None:
    session = repl.session
    if not argument:
        message = session.conversation.system
        repl.terminal.write(message.content if message else _("There is no system message."))
        return
    session.change(replace(session.settings, system=argument))
    session.set_system(argument)
    repl.terminal.tell(_("The system message is changed."))


def lang(repl: Repl, argument: str) -> None:
    if not argument:
        repl.terminal.write(repl.session.settings.lang)
        return
    chosen = next((known for known in presets.SYSTEM if known == argument), None)
    if chosen is None:
        raise UsageError(
            _("There is no language {argument!r}.").format(argument=argument), _("Choose zh or en.")
        )
    repl.session.set_language(chosen)
    repl.terminal.tell(_("The system message is {argument} from now on.").format(argument=argument))


def retry(repl: Repl, argument: str) -> None:
    repl.after(turn.retry(repl.session, repl.terminal))


def go_on(repl: Repl, argument: str) -> None:
    repl.after(turn.go_on(repl.session, repl.terminal))


def undo(repl: Repl, argument: str) -> None:
    _take_back(repl)
    repl.terminal.tell(_("The last question and its answer are taken back."))


def edit(repl: Repl, argument: str) -> None:
    repl.draft = _take_back(repl).content


def _take_back(repl: Repl) -> Message:
    """Take back the last turn; its question."""
    conversation = repl.session.conversation
    question = conversation.last_question
    if question is None:
        raise NothingThere(_("Nothing was asked yet."))
    repl.session.switch_to(conversation.without_last_turn())
    return question
