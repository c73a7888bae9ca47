"""Foreign text made safe to show: what would drive a terminal is made visible instead."""

from __future__ import annotations

import re
import unicodedata

_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_HIDDEN = "\u2028\u2029\ufeff"
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff{_BIDI}{_HIDDEN}\U000e0000-\U000e0fff]")


def visible(text: str) -> str:
    """`text` with C0 controls as their pictures (␛), others by number; new lines and tabs stay."""
    return _UNSAFE.sub(_picture, text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = 400) -> str:
    """`text` safe to show in a single line, at most `limit` characters of it."""
    flat = " ".join(visible(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


class VisibleStream:
    """`visible` for text that comes in pieces: `\\r\\n` may be cut between two of them."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + text
        self._held = "\r" if text.endswith("\r") else ""
        return visible(text.removesuffix("\r"))

    def finish(self) -> str:
        held, self._held = self._held, ""
        return visible(held)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(match[0]) == "Cs":
        return "\ufffd"
    return f"<U+{code:04X}>"
