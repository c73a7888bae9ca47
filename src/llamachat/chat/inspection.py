"""Commands that show what the model sees, and keep it in sight."""

from __future__ import annotations

from llamachat.chat.session import Session
from llamachat.core.visible import one_line
from llamachat.errors import UsageError

EXCERPT = 48


def context(session: Session, argument: str) -> None:
    """Every message with its number, tokens and whether the model sees it; then the sum."""
    maximum = session.sampling.max_tokens
    lines = session.context.lines(session.conversation, maximum)
    about = "" if session.context.counter.exact else "about "
    session.terminal.listing(
        (
            str(number),
            "sees" if line.seen else "-",
            "note" if line.message.note else line.message.role,
            f"{about}{line.tokens} tokens" + (", pinned" if line.message.pinned else ""),
            line.message.content,
        )
        for number, line in enumerate(lines)
    )
    overhead = session.context.counter.overhead(session.conversation.system is not None)
    used = overhead + sum(line.tokens for line in lines if line.seen)
    room = session.context.answer_room(maximum)
    session.terminal.write(
        f"The model sees {about}{used} of {session.context.n_ctx} tokens; {room} are kept for its answer."
    )


def pin(session: Session, argument: str) -> None:
    """Pin a message, or let it go again: the last question where no number is given."""
    conversation = session.conversation
    questions = [i for i, m in enumerate(conversation) if m.role == "user" and not m.note]
    if argument and not argument.isdecimal():
        raise UsageError(f"{argument!r} is no number of a message.", "/context lists them.")
    if not argument and not questions:
        raise UsageError("There is nothing to pin yet.")
    index = int(argument) if argument else questions[-1]
    if index >= len(conversation) or conversation.messages[index].role == "system":
        raise UsageError(f"There is no message {index} to pin.", "/context lists them.")
    pinned = not conversation.messages[index].pinned
    session.revise(lambda conversation: conversation.with_pin(index, pinned))
    stays = "stays in the window, with its turn" if pinned else "can go out of the window again"
    session.terminal.notice(
        f"Message {index} {stays}: {one_line(conversation.messages[index].content, EXCERPT)}"
    )
