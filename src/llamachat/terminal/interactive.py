"""A person at a terminal: prompt-toolkit reads, rich draws."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from llamachat.core.visible import visible
from llamachat.errors import UsageError
from llamachat.language import _
from llamachat.terminal.answer import Answer, drawing
from llamachat.terminal.options import CommandHint, DisplayOptions
from llamachat.terminal.screen import Screen
from llamachat.terminal.tty_state import guarded, interrupts_call, interrupts_pass, interrupts_raise

_CLIPBOARD_LIMIT = 74_000
"""Bytes: what terminals take in one OSC 52 is 100,000 characters of base64."""


@contextmanager
def open_terminal(
    stdin: TextIO,
    stdout: TextIO,
    stderr: TextIO,
    display: DisplayOptions,
    history: Path | None,
    commands: Sequence[CommandHint],
) -> Iterator[InteractiveTerminal]:
    """A terminal whose state is given back at the end; `history` None keeps none."""
    screen = Screen(stdout, display.color, display.theme)
    with guarded(stdin, stdout, lambda: screen.base_code):
        yield InteractiveTerminal(screen, stderr, display, history, commands)


class InteractiveTerminal:
    interactive = commands = True

    def __init__(
        self,
        screen: Screen,
        stderr: TextIO,
        display: DisplayOptions,
        history: Path | None,
        commands: Sequence[CommandHint],
    ) -> None:
        from llamachat.terminal.editor import InputLine

        self._screen = screen
        self._stderr = stderr
        self._display = display
        self._input = InputLine(history, commands, display.theme if display.color else None)

    def read_message(self, draft: str = "") -> str:
        interrupts_pass()
        self._screen.set_base(self._screen.theme.input)
        self._screen.flush()
        try:
            # What is typed in another encoding comes as lone surrogates, which can't be sent.
            return self._input.read(draft).encode("utf-8", "replace").decode()
        finally:
            self._screen.set_base(None)
            self._screen.flush()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        interrupts_raise()
        try:
            yield
        finally:
            interrupts_pass()

    @contextmanager
    def answer(self, stop: Callable[[], None]) -> Iterator[Answer]:
        from llamachat.terminal.waiting import WaitingLine

        self._screen.write("\n")
        screen, display = self._screen, self._display
        # In this order: a Ctrl-C that raised here would leave the waiting line running forever.
        with interrupts_call(stop), drawing(screen, display, WaitingLine(screen)) as answer:
            yield answer

    def write(self, text: str) -> None:
        _write_wrapped(self._screen, text)

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
        _write_wrapped(self._screen, text, "dim")

    def ask(self, question: str) -> bool:
        # The error that follows names the commands that decide.
        return False

    def error(self, text: str) -> None:
        if self._stderr.isatty():
            _write_wrapped(Screen(self._stderr, self._screen.color, self._screen.theme), text, "error")
        else:
            print(visible(text), file=self._stderr, flush=True)

    def farewell(self, text: str) -> None:
        self._screen.set_base(None)
        self.write(text)

    def status(self, text: str) -> None:
        self._input.set_status(text)

    def copy(self, text: str) -> None:
        data = text.encode()
        if len(data) > _CLIPBOARD_LIMIT:
            raise UsageError(
                _("{count} bytes are more than terminals take at once.").format(count=len(data)),
                _("Copy a code block."),
            )
        self._screen.write(f"\033]52;c;{base64.b64encode(data).decode()}\a")
        self._screen.flush()


def _write_wrapped(screen: Screen, text: str, style: str | None = None) -> None:
    """Lines of our own, broken between words."""
    from llamachat.terminal.inline import Span
    from llamachat.terminal.wrap import Wrapper

    wrapper = Wrapper(screen)
    for line in visible(text).split("\n"):
        wrapper.write([Span(line, style)])
        wrapper.end_line()
    screen.flush()
