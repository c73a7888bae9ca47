"""/copy: the last answer, or a code block of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamachat.errors import NothingThere, UsageError
from llamachat.language import _, counted
from llamachat.texts.code_blocks import code_blocks

if TYPE_CHECKING:
    from llamachat.chat.repl import Repl


def copy(repl: Repl, argument: str) -> None:
    answer = repl.session.conversation.last_answer
    if answer is None:
        raise NothingThere(_("There is no answer yet."))
    text = answer.content if not argument else _block(answer.content, argument)
    repl.terminal.copy(text)
    repl.terminal.tell(
        _("{characters} copied.").format(characters=counted(len(text), "{} character", "{} characters"))
    )


def _block(answer: str, argument: str) -> str:
    blocks = code_blocks(answer)
    if not blocks:
        raise NothingThere(_("The last answer has no code block."))
    if not argument.isdecimal() or not 1 <= int(argument) <= len(blocks):
        count = (
            _("only 1 code block")
            if len(blocks) == 1
            else _("code blocks 1 to {count}").format(count=len(blocks))
        )
        raise UsageError(_("The last answer has {count}.").format(count=count))
    return blocks[int(argument) - 1]
