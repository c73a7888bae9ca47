"""Messages of several lines, as they are typed."""

from __future__ import annotations

import re

BLOCK = '"""'


def is_open(text: str) -> bool:
    '''Whether Enter begins another line: after a `\\` at the end, and inside a `"""` block.'''
    return in_block(text) if text.lstrip().startswith(BLOCK) else text.endswith("\\")


def in_block(text: str) -> bool:
    '''Whether a `"""` block begins `text` and does not end with it.'''
    stripped = text.strip()
    return stripped.startswith(BLOCK) and not stripped.removeprefix(BLOCK).endswith(BLOCK)


def unwrap(text: str) -> str:
    """The message without the marks that joined its lines, and without blank lines around it."""
    stripped = text.strip()
    if stripped.startswith(BLOCK):
        return stripped.removeprefix(BLOCK).removesuffix(BLOCK).strip("\n")
    # The first of several lines keeps its indent, as the others do.
    return re.sub(r"\A(\s*\n)+", "", text).rstrip() if "\n" in stripped else stripped
