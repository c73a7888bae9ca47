"""/copy: the last answer, or a code block of it."""

from __future__ import annotations

from llamachat.chat.session import Session
from llamachat.errors import UsageError
from llamachat.texts.code_blocks import code_blocks


def copy(session: Session, argument: str) -> None:
    answer = session.conversation.last_answer
    if answer is None:
        raise UsageError("There is no answer yet.")
    text = answer.content if not argument else _block(answer.content, argument)
    session.terminal.copy(text)
    session.terminal.notice(f"{len(text)} characters copied.")


def _block(answer: str, argument: str) -> str:
    blocks = code_blocks(answer)
    if not blocks:
        raise UsageError("The last answer has no code block.")
    if not argument.isdecimal() or not 1 <= int(argument) <= len(blocks):
        count = "only 1 code block" if len(blocks) == 1 else f"code blocks 1 to {len(blocks)}"
        raise UsageError(f"The last answer has {count}.")
    return blocks[int(argument) - 1]
