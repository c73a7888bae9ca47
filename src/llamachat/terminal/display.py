"""What is shown of a chat: answers, remarks, tables, errors."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from llamachat.core.visible import visible
from llamachat.errors import UsageError
from llamachat.language import _
from llamachat.terminal.answer import Answer, drawing
from llamachat.terminal.options import DisplayOptions
from llamachat.terminal.screen import Screen, TextOut
from llamachat.terminal.tty_state import interrupts_call

_CLIPBOARD_LIMIT = 74_000
"""Bytes: what terminals take in one OSC 52 is 100,000 characters of base64."""


class Display:
    """Answers and remarks on a person's `screen`; errors too, unless `stderr` goes elsewhere."""

    commands = True

    def __init__(self, screen: Screen, stderr: TextOut, options: DisplayOptions) -> None:
        self._screen = screen
        self._stderr = stderr
        self._options = options

    @contextmanager
    def answer(self, stop: Callable[[], None]) -> Iterator[Answer]:
        from llamachat.terminal.waiting import WaitingLine

        self._screen.write("\n")
        screen, options = self._screen, self._options
        # In this order: a Ctrl-C that raised here would leave the waiting line running forever.
        with interrupts_call(stop), drawing(screen, options, WaitingLine(screen)) as answer:
            yield answer

    def write(self, text: str) -> None:
        write_wrapped(self._screen, text)

    def table(self, rows: Iterable[Sequence[str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for row in rows:
            grid.add_row(*(Text(visible(cell)) for cell in row))
        self._screen.write(self._screen.draw(grid, self._screen.width))
        self._screen.flush()

    def listing(self, rows: Iterable[Sequence[str]]) -> None:
        from llamachat.terminal.listing import draw_listing

        self._screen.write(draw_listing(rows, self._screen.width))
        self._screen.flush()

    def tell(self, text: str) -> None:
        write_wrapped(self._screen, text, "dim")

    def ask(self, question: str) -> bool:
        # The error that follows names the commands that decide.
        return False

    def error(self, text: str) -> None:
        if self._stderr.isatty():
            write_wrapped(Screen(self._stderr, self._screen.color, self._screen.theme), text, "error")
        else:
            self._stderr.write(f"{visible(text)}\n")
            self._stderr.flush()

    def copy(self, text: str) -> None:
        data = text.encode()
        if len(data) > _CLIPBOARD_LIMIT:
            raise UsageError(
                _("{count} bytes is more than a terminal accepts at once.").format(count=len(data)),
                _("Copy a code block."),
            )
        self._screen.write(f"\033]52;c;{base64.b64encode(data).decode()}\a")
        self._screen.flush()


_LEAD = re.compile(r"(?:\S+ {2,}){1,2}| *(?:\S+ {2,})?")
"""The columns before the text of a line."""


def write_wrapped(screen: Screen, text: str, style: str | None = None, lead_style: str | None = None) -> None:
    """Lines of our own, broken between words; the columns before a line's text stay free below them."""
    from rich.cells import cell_len

    from llamachat.terminal.inline import Span
    from llamachat.terminal.wrap import Wrapper

    wrapper = Wrapper(screen)
    for line in visible(text).split("\n"):
        found = _LEAD.match(line)
        lead = found[0] if found else ""
        wrapper.start_line(lead, " " * cell_len(lead), lead_style or style)
        wrapper.write([Span(line[len(lead) :], style)])
        wrapper.end_line()
    screen.flush()
