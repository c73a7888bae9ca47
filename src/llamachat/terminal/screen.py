"""The only writer to stdout."""

from __future__ import annotations

import os
from io import StringIO
from typing import TYPE_CHECKING, Protocol

from llamachat.terminal.theme import DARK, RESET, Style, Theme, sgr

if TYPE_CHECKING:
    from rich.console import RenderableType

_DEFAULT_WIDTH = 80


class TextOut(Protocol):
    """What is needed of a stream that is written to."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...

    def fileno(self) -> int: ...

    def isatty(self) -> bool: ...


class Screen:
    """Writes text in a base style, with differently styled pieces in between; without `color`, no codes."""

    def __init__(self, stdout: TextOut, color: bool, theme: Theme = DARK) -> None:
        self.stdout = stdout
        self.color = color
        self.theme = theme
        self.base: Style | None = None

    @property
    def width(self) -> int:
        """Columns, read every time, because a window can be resized at any moment."""
        try:
            return max(20, os.get_terminal_size(self.stdout.fileno()).columns)
        except (OSError, ValueError):
            return _DEFAULT_WIDTH

    def write(self, text: str, style: str | None = None) -> None:
        if style and self.color and text:
            text = f"{RESET}{sgr(self.theme.styles[style])}{text}{RESET}{self.base_code}"
        self.stdout.write(text)

    def flush(self) -> None:
        self.stdout.flush()

    @property
    def base_code(self) -> str:
        return sgr(self.base) if self.color and self.base else ""

    def set_base(self, style: Style | None) -> None:
        """All that follows is in `style`; None is the terminal's own look."""
        self.base = style
        if self.color:
            self.stdout.write(sgr(style))

    def draw(self, renderable: RenderableType, width: int | None = None) -> str:
        """What rich makes of `renderable`: lines of text with SGR codes only."""
        from rich.console import Console

        console = Console(
            file=StringIO(),
            force_terminal=self.color,
            color_system="standard" if self.color else None,
            width=width or self.width,
            legacy_windows=False,
            highlight=False,
            emoji=False,
            markup=False,
            _environ={},
        )
        with console.capture() as capture:
            console.print(renderable, soft_wrap=width is None)
        return "\n".join(line.rstrip() for line in capture.get().split("\n"))
