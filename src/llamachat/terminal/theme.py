"""The look: the article's two colours, and what Markdown adds to them. SGR codes of the 16 ANSI colours."""

from __future__ import annotations

ANSWER = "92;1"
INPUT = "91;1"
RESET = "0"

STYLES = {
    "strong": "97;1",
    "em": "92;1;3",
    "strong em": "97;1;3",
    "strike": "92;1;9",
    "code": "96;1",
    "link": "94;4",
    "heading": "92;1;4",
    "marker": "93",
    "dim": "2",
    "error": "91",
}


def sgr(code: str) -> str:
    return f"\033[{code}m"
