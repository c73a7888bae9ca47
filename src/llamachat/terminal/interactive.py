"""A person at a terminal: prompt-toolkit reads, rich draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from llamachat.terminal.display import Display
from llamachat.terminal.options import CommandHint, DisplayOptions
from llamachat.terminal.screen import Screen
from llamachat.terminal.tty_state import guarded, interrupts_pass, interrupts_raise


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


class InteractiveTerminal(Display):
    interactive = True

    def __init__(
        self,
        screen: Screen,
        stderr: TextIO,
        options: DisplayOptions,
        history: Path | None,
        commands: Sequence[CommandHint],
    ) -> None:
        from llamachat.terminal.editor import InputLine

        super().__init__(screen, stderr, options)
        self._input = InputLine(history, commands, options.theme if options.color else None)
        self._above: Display | None = None

    def read_message(self, draft: str = "", meanwhile: Callable[[Display], None] | None = None) -> str:
        interrupts_pass()
        self._screen.set_base(self._screen.theme.input)
        self._screen.flush()
        try:
            with self._meanwhile(meanwhile):
                # What is typed in another encoding comes as lone surrogates, which can't be sent.
                return self._input.read(draft).encode("utf-8", "replace").decode()
        finally:
            self._screen.set_base(None)
            self._screen.flush()

    @contextmanager
    def _meanwhile(self, work: Callable[[Display], None] | None) -> Iterator[None]:
        if work is None:
            yield
            return
        with self._input.background(work, self._screen.stdout, self._options) as self._above:
            try:
                yield
            finally:
                self._above = None

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        interrupts_raise()
        try:
            yield
        finally:
            interrupts_pass()

    def error(self, text: str) -> None:
        if self._above:
            self._above.error(text)
        else:
            super().error(text)

    def farewell(self, text: str) -> None:
        self._screen.set_base(None)
        self.write(text)

    def status(self, text: str) -> None:
        self._input.set_status(text)
