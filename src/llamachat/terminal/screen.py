"""The only writer to stdout."""

from __future__ import annotations

import os
from io import StringIO
from typing import TYPE_CHECKING, TextIO

from llamachat.terminal import theme

if TYPE_CHECKING:
    from rich.console import RenderableType

_DEFAULT_WIDTH = 80


class Screen:
    """Writes text in a base style, with differently styled pieces in between; without `color`, no codes."""

    def __init__(self, stdout: TextIO, color: bool) -> None:
        self.stdout = stdout
        self.color = color
        self.base: theme.Style | None = None

    @property
    def width(self) -> int:
        """Columns, read every time, because a window can be resized at any moment."""
        try:
            return max(20, os.get_terminal_size(self.stdout.fileno()).columns)
        except (OSError, ValueError):
            return _DEFAULT_WIDTH

    def write(self, text: str, style: str | None = None) -> None:
        if style and self.color and text:
            text = f"{theme.RESET}{theme.sgr(theme.STYLES[style])}{text}{theme.RESET}{self.base_code}"
        self.stdout.write(text)

    def flush(self) -> None:
        self.stdout.flush()

    @property
    def base_code(self) -> str:
        return theme.sgr(self.base) if self.color and self.base else ""

    def set_base(self, style: theme.Style | None) -> None:
        """All that follows is in `style`; None is the terminal's own look."""
        self.base = style
        if self.color:
            self.stdout.write(theme.sgr(style))

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
