"""How large a grammar may be: llama.cpp recurses for each parenthesis and rule, and a stack has an end."""

from __future__ import annotations

import re

MAX_BYTES = 64 * 1024
MAX_DEPTH = 200
LITERALS = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^]\\])*\]|#.*')
"""Quotes, character classes and comments, in which a parenthesis is only a character."""


def exceeds(text: str) -> bool:
    return len(text.encode()) > MAX_BYTES or depth(text) > MAX_DEPTH


def depth(text: str) -> int:
    """How deep the parentheses are nested."""
    depth = deepest = 0
    for char in LITERALS.sub("", text):
        depth += (char == "(") - (char == ")")
        deepest = max(deepest, depth)
    return deepest
