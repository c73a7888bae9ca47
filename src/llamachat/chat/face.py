"""What a conversation needs of whoever holds it. A terminal, a page and a function call fulfil `Face`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from llamachat.core.events import Event
from llamachat.language import N_, _

_ENDS = {
    "interrupted": N_("stopped"),
    "length": N_("cut off at the maximum length"),
    "error": N_("broken off"),
}


class AnswerView(Protocol):
    """Shows one answer as it comes."""

    def show(self, event: Event) -> None: ...


class Face(Protocol):
    """Events are shown, remarks are told, questions are asked. It decides nothing of what is sent or kept.

    All calls come from the thread that holds the session. `commands`: slash commands can be typed, so that
    remarks may name them.
    """

    commands: bool

    def answer(self, stop: Callable[[], None]) -> AbstractContextManager[AnswerView]:
        """Show an answer until the context is left; `stop`, called from any thread or a signal, ends it."""

    def tell(self, text: str) -> None:
        """One quiet line that is not part of the conversation."""

    def ask(self, question: str) -> bool:
        """Yes or no. False if nobody can be asked now: then an error says what can be done."""


class Display(Face, Protocol):
    """A face that shows errors, too."""

    def error(self, text: str) -> None:
        """One line on stderr."""


class Terminal(Display, Protocol):
    """A face that the user types at. `interactive` is a person; otherwise it is lines from a pipe."""

    interactive: bool

    def read_message(self, draft: str = "", meanwhile: Callable[[Display], None] | None = None) -> str:
        """The next message. EOFError at the end of input, KeyboardInterrupt for Ctrl-C on an empty line.

        `meanwhile` gets a face, and goes on while a person types; sending the message stops its answer.
        What it raises is raised here.
        """

    def interruptible(self) -> AbstractContextManager[None]:
        """Inside, Ctrl-C raises KeyboardInterrupt. Outside, it is a prompt's key, or nothing."""

    def write(self, text: str) -> None:
        """What a command was asked for, on stdout."""

    def table(self, rows: Iterable[Sequence[str]]) -> None:
        """Rows in aligned columns, on stdout."""

    def listing(self, rows: Iterable[Sequence[str]]) -> None:
        """Rows of one line each, on stdout: the last column is cut where the screen ends."""

    def farewell(self, text: str) -> None:
        """The last words to a person; a pipe gets none."""

    def status(self, text: str) -> None:
        """A few characters that stay in sight while a message is typed, if there is room."""

    def copy(self, text: str) -> None:
        """Put `text` on the user's clipboard; UsageError if the terminal can't."""


def tell_end(face: Face, finish_reason: str, *, last: bool = True) -> None:
    """Say of an answer that is not whole how it ended, and if it is the `last`, how it goes on."""
    how = _ENDS.get(finish_reason)
    if how:
        more = _(": /continue goes on from there") if face.commands and last else ""
        face.tell(f"[{_(how)}{more}]")
