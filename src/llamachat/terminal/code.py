"""The lines of a code block, highlighted one by one as they come."""

from __future__ import annotations

from rich.syntax import Syntax
from rich.text import Text

from llamachat.terminal.screen import Screen

_MOST_CONTEXT = 32
"""Lines read again for each new one, so that a string over several lines keeps its colour."""


class CodeBlock:
    """Whole lines in, whole lines out: nothing added, nothing wrapped, so that they can be copied."""

    def __init__(self, screen: Screen, language: str) -> None:
        self._screen = screen
        self._lines: list[str] = []
        self._syntax = Syntax("", language or "text", theme=screen.theme.syntax) if screen.color else None

    def add(self, line: str) -> None:
        if self._syntax is None:
            self._screen.write(line + "\n")
            return
        self._lines.append(line)
        if len(self._lines) > _MOST_CONTEXT:
            self._lines = self._lines[self._restart() :]
        highlighted = self._syntax.highlight("\n".join(self._lines)).split("\n", allow_blank=True)
        self._screen.write("\033[0m" + self._draw(highlighted[len(self._lines) - 1]) + self._screen.base_code)

    def _restart(self) -> int:
        """The middle of the context, or better the first line after it that follows a blank one."""
        middle = _MOST_CONTEXT // 2
        blank = (i + 1 for i in range(middle, len(self._lines) - 1) if not self._lines[i].strip())
        return next(blank, middle)

    def _draw(self, line: Text) -> str:
        return self._screen.draw(line)
