"""Without a terminal: a message in, or one a line, answers out, no prompt and no colour."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TextIO

from llamachat.core.visible import visible
from llamachat.errors import UsageError
from llamachat.language import _
from llamachat.terminal.answer import Answer, drawing
from llamachat.terminal.blocks import in_block, unwrap
from llamachat.terminal.options import DisplayOptions
from llamachat.terminal.screen import Screen
from llamachat.terminal.tty_state import interrupts_call, interrupts_raise


class PlainTerminal:
    """Messages from `stdin`, answers to `stdout`, everything else to `stderr`.

    With `lines`, each line is what a person would type: a message, a command, or the beginning of a block.
    Without, all of `stdin` is one message, whatever is in it.
    """

    interactive = False

    def __init__(
        self, stdin: TextIO, stdout: TextIO, stderr: TextIO, display: DisplayOptions, *, lines: bool = True
    ) -> None:
        self.commands = lines
        self._stdin = stdin
        self._stderr = stderr
        self._display = display
        self._screen = Screen(stdout, display.color, display.theme)

    def read_message(self, draft: str = "", meanwhile: Callable[[PlainTerminal], None] | None = None) -> str:
        interrupts_raise()
        if meanwhile:
            meanwhile(self)
        text = self._read_line("> ") if self.commands else self._stdin.read()
        if not text:
            raise EOFError
        if not self.commands or not in_block(text):
            return text.rstrip("\r\n")
        while in_block(text) and (line := self._read_line("… ")):
            text += line
        return unwrap(text)

    def _read_line(self, prompt: str) -> str:
        if self._stdin.isatty():
            self._stderr.write(prompt)
            self._stderr.flush()
        return self._stdin.readline()

    def interruptible(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def answer(self, stop: Callable[[], None]) -> Iterator[Answer]:
        with interrupts_call(stop), drawing(self._screen, self._display) as answer:
            yield answer

    def write(self, text: str) -> None:
        self._screen.write(visible(text) + "\n")
        self._screen.flush()

    def table(self, rows: Iterable[Sequence[str]]) -> None:
        for row in rows:
            self.write("\t".join(row))

    def listing(self, rows: Iterable[Sequence[str]]) -> None:
        self.table([" ".join(cell.split()) for cell in row] for row in rows)

    def tell(self, text: str) -> None:
        self.error(text)

    def ask(self, question: str) -> bool:
        return False

    def error(self, text: str) -> None:
        print(visible(text), file=self._stderr, flush=True)

    def farewell(self, text: str) -> None:
        pass

    def status(self, text: str) -> None:
        pass

    def copy(self, text: str) -> None:
        raise UsageError(_("A pipe has no clipboard."), _("Copy in a chat in a terminal."))


def use_utf8(*streams: TextIO) -> None:
    """Read and write UTF-8 whatever the system's own encoding is; what can't be read becomes U+FFFD."""
    for stream in streams:
        if isinstance(stream, type(sys.__stdout__)):
            stream.reconfigure(encoding="utf-8", errors="replace")
