"""One answer on the screen: waiting, thinking, text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from llamachat.core.events import Event, Progress, Queued, TextDelta, ThinkingDelta
from llamachat.core.visible import VisibleStream
from llamachat.language import _
from llamachat.terminal.options import DisplayOptions
from llamachat.terminal.screen import Screen


class AnswerText(Protocol):
    """Draws text that comes in pieces and is safe to show; `finish` leaves the cursor on a new line."""

    def feed(self, text: str) -> None: ...

    def finish(self) -> None: ...


class Waiting(Protocol):
    """What moves while there is nothing to read yet; gone without a trace after `stop`."""

    def start(self) -> None: ...

    def show(self, event: Progress | Queued | ThinkingDelta) -> None: ...

    def stop(self) -> None: ...


class RawText:
    """The answer's text exactly as it comes."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._ends_line = True

    def feed(self, text: str) -> None:
        if text:
            self._screen.write(text)
            self._ends_line = text.endswith("\n")

    def finish(self) -> None:
        if not self._ends_line:
            self._screen.write("\n")


@contextmanager
def drawing(screen: Screen, display: DisplayOptions, waiting: Waiting | None = None) -> Iterator[Answer]:
    """An answer in the article's green; the terminal's own colour is back at the end."""
    answer = Answer(screen, display, waiting)
    try:
        # In here, because a signal that ends the program may come while it starts.
        if waiting:
            waiting.start()
        yield answer
    finally:
        answer.close()
        screen.set_base(None)
        screen.flush()


class Answer:
    def __init__(self, screen: Screen, display: DisplayOptions, waiting: Waiting | None) -> None:
        self._screen = screen
        self._think = display.think
        self._waiting = waiting
        self._text = _open_text(screen, display)
        self._safe = VisibleStream()
        self._thought = VisibleStream()
        self._thinking_since: float | None = None
        self._thought_ends_line = True
        if not waiting:
            screen.set_base(screen.theme.answer)

    def show(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._end_thinking()
            self._text.feed(self._safe.feed(event.text))
        elif isinstance(event, ThinkingDelta):
            self._show_thinking(event)
        elif isinstance(event, (Progress, Queued)) and self._waiting:
            self._waiting.show(event)
        self._screen.flush()

    def close(self) -> None:
        self._end_thinking()
        self._text.feed(self._safe.finish())
        self._text.finish()

    def _show_thinking(self, event: ThinkingDelta) -> None:
        if self._thinking_since is None:
            self._thinking_since = time.monotonic()
        if self._think == "show":
            self._stop_waiting()
            self._write_thought(self._thought.feed(event.text))
        elif self._waiting:
            self._waiting.show(event)

    def _write_thought(self, text: str) -> None:
        self._screen.write(text, "dim")
        if text:
            self._thought_ends_line = text.endswith("\n")

    def _end_thinking(self) -> None:
        """The first text, or the end: what moved is taken away, and thinking is folded into a line."""
        self._stop_waiting()
        if self._thinking_since is None:
            return
        seconds = time.monotonic() - self._thinking_since
        self._thinking_since = None
        if self._think == "show":
            self._write_thought(self._thought.finish())
            self._screen.write("\n" if self._thought_ends_line else "\n\n")
        elif self._think == "fold":
            self._screen.write(_("(thought for {seconds:.0f} s)").format(seconds=seconds) + "\n", "dim")

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting.stop()
            self._waiting = None
            self._screen.set_base(self._screen.theme.answer)


def _open_text(screen: Screen, display: DisplayOptions) -> AnswerText:
    if not display.markdown:
        return RawText(screen)
    from llamachat.terminal.markdown import MarkdownText

    return MarkdownText(screen)
