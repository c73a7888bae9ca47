"""Commands that show what the model sees, and keep it in sight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamachat.core.visible import one_line
from llamachat.errors import NothingThere, UsageError
from llamachat.language import _

if TYPE_CHECKING:
    from llamachat.chat.repl import Repl

EXCERPT = 48


def context(repl: Repl, argument: str) -> None:
    """Every message with its number, tokens and whether the model sees it; then the sum."""
    window, conversation = repl.session.window, repl.session.conversation
    lines = window.lines(conversation)
    about = "" if window.counter.exact else _("about ")
    repl.terminal.listing(
        (
            str(number),
            _("sees") if line.seen else "-",
            _("note") if line.message.note else line.message.role,
            _("{about}{tokens} tokens").format(about=about, tokens=line.tokens)
            + (_(", pinned") if line.message.pinned else ""),
            line.message.content,
        )
        for number, line in enumerate(lines)
    )
    overhead = window.counter.overhead(conversation.system is not None)
    used = overhead + sum(line.tokens for line in lines if line.seen)
    room = window.answer_room
    repl.terminal.write(
        _("The model sees {about}{used} of {n_ctx} tokens; {room} are kept for its answer.").format(
            about=about, used=used, n_ctx=window.n_ctx, room=room
        )
    )


def pin(repl: Repl, argument: str) -> None:
    """Pin a message, or let it go again: the last question if no number is given."""
    conversation = repl.session.conversation
    questions = [i for i, m in enumerate(conversation) if m.is_question]
    if argument and not argument.isdecimal():
        raise UsageError(
            _("{argument!r} is not the number of a message.").format(argument=argument),
            _("/context lists them."),
        )
    if not argument and not questions:
        raise NothingThere(_("There is nothing to pin yet."))
    index = int(argument) if argument else questions[-1]
    if index >= len(conversation) or conversation.messages[index].role == "system":
        raise UsageError(
            _("There is no message {index} to pin.").format(index=index), _("/context lists them.")
        )
    pinned = not conversation.messages[index].pinned
    repl.session.pin(index, pinned)
    stays = _("stays in the window, with its turn") if pinned else _("can go out of the window again")
    repl.terminal.tell(
        _("Message {index} {stays}: {content}").format(
            index=index, stays=stays, content=one_line(conversation.messages[index].content, EXCERPT)
        )
    )
