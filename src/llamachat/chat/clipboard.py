"""/copy: the last answer, or a code block of it."""

from __future__ import annotations

import re

from llamachat.chat.session import Session
from llamachat.errors import UsageError

_BLOCK = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})[^`\n]*\n(?P<code>.*?)(?:^ *(?P=fence)[`~]*[ \r]*$|\Z)",
    re.M | re.S,
)


def copy(session: Session, argument: str) -> None:
    answer = session.conversation.last_answer
    if answer is None:
        raise UsageError("No answer came yet.")
    text = answer.content if not argument else _block(answer.content, argument)
    session.terminal.copy(text)
    session.terminal.notice(f"{len(text)} characters copied.")


def _block(answer: str, argument: str) -> str:
    blocks = [_without(match["indent"], match["code"]) for match in _BLOCK.finditer(answer)]
    if not blocks:
        raise UsageError("The last answer has no code block.")
    if not argument.isdecimal() or not 1 <= int(argument) <= len(blocks):
        raise UsageError(f"The last answer has the code blocks 1 to {len(blocks)}.")
    return blocks[int(argument) - 1]


def _without(indent: str, code: str) -> str:
    """`code` of a block in a list, as it would stand outside of one."""
    return re.sub(f"^ {{1,{len(indent)}}}", "", code, flags=re.M) if indent else code
