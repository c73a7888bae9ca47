"""Words put on lines that fit the screen, one after the other, without ever going back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from rich.cells import cell_len

from llamachat.terminal.inline import Span
from llamachat.terminal.screen import Screen

_HANGING = 2
"""Columns left free at the right for a closing mark, which must not start a line."""
_PIECES = re.compile(r"[^\S\xa0]+|[^\s]+|\xa0+")


class Wrapper:
    """Writes styled text to a screen, wrapped at words; a new line begins at `indent`."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._column = 0
        self._blank: Span | None = None
        self._bars = self._indent = ""

    def start_line(self, lead: str, indent: str, style: str | None = None, bars: str = "") -> None:
        """Begin a line with `lead`; its continuation begins with `indent`. `bars` come before both."""
        # An indent of more than half of the screen would leave no room.
        self._indent = indent if cell_len(indent) <= self._screen.width // 2 else ""
        self._bars = bars
        self._screen.write(bars, "dim")
        self._screen.write(lead, style)
        self._column = cell_len(bars + lead)

    def write(self, spans: Iterable[Span]) -> None:
        for word in _words(spans):
            self._put(word)

    def end_line(self) -> None:
        self._screen.write("\n")
        self._column = 0
        self._blank = None

    def _put(self, word: list[Span]) -> None:
        """Write one word, and the blank before it unless a line break replaces it."""
        if word[0].text.isspace():
            before = self._blank.text if self._blank else ""
            self._blank = Span(before + word[0].text, word[0].style)
            return
        blank, self._blank = self._blank, None
        width = sum(cell_len(s.text) for s in word)
        room = self._screen.width - _HANGING - self._column - (len(blank.text) if blank else 0)
        begin = cell_len(self._bars + self._indent)
        if width > room + _HANGING * _closes(word[0].text[0]) and self._column > begin:
            self._screen.write("\n")
            self._screen.write(self._bars, "dim")
            self._screen.write(self._indent)
            self._column = begin
        elif blank:
            word.insert(0, blank)
            width += len(blank.text)
        for span in word:
            self._screen.write(span.text, span.style)
        # The terminal wraps what is too long; after a full line the cursor stays in the last column.
        self._column += width
        if self._column > self._screen.width:
            self._column = (self._column - 1) % self._screen.width + 1


def _words(spans: Iterable[Span]) -> Iterable[list[Span]]:
    """Spans cut into words, blanks and single wide characters; a word may change its style inside."""
    word: list[Span] = []
    for span in spans:
        for piece in _cut(span.text):
            if piece.isspace() or _is_wide(piece[0]):
                if word:
                    yield word
                    word = []
                yield [Span(piece.replace("\t", "    "), span.style)]
            else:
                word.append(Span(piece, span.style))
    if word:
        yield word


def _cut(text: str) -> Iterable[str]:
    for match in _PIECES.finditer(text):
        narrow = ""
        for char in match[0]:
            if _is_wide(char):
                if narrow:
                    yield narrow
                narrow = ""
                yield char
            else:
                narrow += char
        if narrow:
            yield narrow


def _is_wide(char: str) -> bool:
    """An ideograph or the like, where a line may break. Emoji stay with what joins them."""
    return unicodedata.east_asian_width(char) in "WF" and unicodedata.category(char) not in ("So", "Sk")


def _closes(char: str) -> bool:
    return char in "，。、！？；：）】》」』”’…,.!?;:)]}"
