"""Long pastes: a mark like `[200 lines pasted]` is in the input line for each, the text in the message."""

from __future__ import annotations

import re

from llamachat.language import _

_MOST_LINES = 50
_MOST_CHARACTERS = 2000
"""What is longer would push what was said before it off the screen."""


class Pastes:
    """The long pastes of one chat, by their marks."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def fold(self, pasted: str) -> str:
        """What to insert for `pasted`: its mark if it is long, with the white space that was around it."""
        text = pasted.strip()
        if text.count("\n") < _MOST_LINES and len(text) <= _MOST_CHARACTERS:
            return pasted
        # The first line keeps its indent, as it does in a short paste.
        start = pasted.rfind("\n", 0, pasted.index(text)) + 1
        end = start + len(pasted[start:].rstrip())
        return pasted[:start] + self._mark(pasted[start:end]) + pasted[end:]

    def fold_again(self, text: str) -> str:
        """`text` with marks for the pastes in it, as it was typed."""
        for mark, pasted in self._texts.items():
            text = text.replace(pasted, mark)
        return text

    def unfold(self, text: str) -> str:
        """`text` with the pastes in the place of their marks."""
        if not self._texts:
            return text
        marks = "|".join(re.escape(mark) for mark in self._texts)
        return re.sub(marks, lambda match: self._texts[match[0]], text)

    def mark_before(self, text: str) -> int:
        """The length of the mark that `text` ends with; 0 for none."""
        return max((len(mark) for mark in self._texts if text.endswith(mark)), default=0)

    def _mark(self, text: str) -> str:
        lines = text.count("\n") + 1
        size = (
            _("{lines} lines").format(lines=lines)
            if lines > 1
            else _("{count} characters").format(count=len(text))
        )
        mark, number = _("[{size} pasted]").format(size=size), 1
        while self._texts.get(mark, text) != text:
            number += 1
            mark = _("[{size} pasted, no. {number}]").format(size=size, number=number)
        self._texts[mark] = text
        return mark
