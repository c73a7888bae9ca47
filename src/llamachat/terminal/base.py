"""What a chat needs of a terminal. It is handed in; nothing else reads stdin or writes stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from llamachat.core.events import Event
from llamachat.core.thinking import Think


@dataclass(frozen=True, slots=True)
class Look:
    """How answers are drawn: `color` and `markdown` are decided, no longer `auto`."""

    color: bool
    markdown: bool
    think: Think = "fold"


@dataclass(frozen=True, slots=True)
class CommandHint:
    """A slash command for completion: its name without the slash, what it takes, what it does."""

    name: str
    arguments: str
    summary: str
    values: tuple[str, ...] = ()


class AnswerView(Protocol):
    """Draws one answer as it comes."""

    def show(self, event: Event) -> None: ...


class Terminal(Protocol):
    """`interactive` is a person who can correct what was typed; otherwise it is lines from a pipe."""

    interactive: bool

    def read_message(self, draft: str = "") -> str:
        """The next message. EOFError at the end of input, KeyboardInterrupt for Ctrl-C on an empty line."""

    def interruptible(self) -> AbstractContextManager[None]:
        """Inside, Ctrl-C raises KeyboardInterrupt. Beside it, it is a prompt's key, or nothing."""

    def answer(self, on_interrupt: Callable[[], None]) -> AbstractContextManager[AnswerView]:
        """Draw an answer; meanwhile Ctrl-C calls `on_interrupt` instead of raising."""

    def write(self, text: str) -> None:
        """What a command was asked for, on stdout."""

    def table(self, rows: Iterable[Sequence[str]]) -> None:
        """Rows in aligned columns, on stdout."""

    def listing(self, rows: Iterable[Sequence[str]]) -> None:
        """Rows of one line each, on stdout: the last column is cut where the screen ends."""

    def notice(self, text: str) -> None:
        """One quiet line beside the conversation."""

    def error(self, text: str) -> None:
        """One line on stderr."""

    def farewell(self, text: str) -> None:
        """The last words to a person; a pipe gets none."""

    def status(self, text: str) -> None:
        """A few characters that stay in sight while a message is typed, where there is room."""

    def copy(self, text: str) -> None:
        """Put `text` on the user's clipboard; UsageError where the terminal can't."""
