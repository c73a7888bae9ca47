"""An answer that comes while a message is typed: whole lines above the prompt, the last one as part of it."""

from __future__ import annotations

import contextvars
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples, to_formatted_text

from llamachat.core.events import Progress, Queued, ThinkingDelta
from llamachat.language import _
from llamachat.terminal.answer import Answer, drawing
from llamachat.terminal.display import Display
from llamachat.terminal.options import DisplayOptions
from llamachat.terminal.screen import Screen, TextOut
from llamachat.terminal.theme import RESET
from llamachat.terminal.waiting import WaitingWords

_SGR = re.compile(r"\033\[[\d;]*m")
_LONGEST_STOP = 5.0
"""Seconds for which a program that ends waits for what is stopped."""

Work = Callable[[Display], None]


class AbovePrompt:
    """Text written from any thread; `app`'s own loop draws it."""

    def __init__(self, out: TextOut, app: Application[str]) -> None:
        self._out = out
        self._app = app
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._whole = self._begun = ""
        self.words = ""

    def fileno(self) -> int:
        return self._out.fileno()

    def isatty(self) -> bool:
        return self._out.isatty()

    def write(self, text: str) -> None:
        with self._lock:
            whole, end, begun = (self._begun + text).rpartition("\n")
            self._whole += whole + end
            self._begun = _style_at_end(whole) + begun

    def flush(self) -> None:
        self.in_loop(self.draw)

    def in_loop(self, call: Callable[[], None]) -> None:
        """Call it as a key's handler would be called; not at all if the prompt has ended."""
        if self._app.loop:
            with suppress(RuntimeError):  # closed meanwhile
                self._app.loop.call_soon_threadsafe(call, context=self._context)

    def draw(self) -> None:
        with self._lock:
            whole, self._whole = self._whole, ""
        if whole:
            renderer, output = self._app.renderer, self._app.output
            renderer.erase()
            output.write_raw(whole.replace("\n", "\r\n"))
            output.reset_attributes()
            output.flush()
            renderer.request_absolute_cursor_position()
        self._app.invalidate()

    def last_line(self) -> StyleAndTextTuples:
        """The line that has begun, or what is waited for, as the prompt shows it."""
        with self._lock:
            begun = self._begun if _SGR.sub("", self._begun) else self.words
        line = to_formatted_text(ANSI(f"{begun}\n")) if begun else []
        return [(f"noinherit {fragment[0]}", fragment[1]) for fragment in line]

    def close(self) -> None:
        """Write what the prompt did not show any more."""
        with self._lock:
            self._out.write(self._whole + self._begun)
            self._whole = self._begun = self.words = ""


class Background:
    """`work` in a thread while `app` reads a message. It is stopped before the message is sent."""

    def __init__(self, work: Work, out: TextOut, options: DisplayOptions, app: Application[str]) -> None:
        self.above = AbovePrompt(out, app)
        self.face = FaceAbove(self.above, options)
        self.running = True
        self._app = app
        self._work = work
        self._error: Exception | None = None
        self._then: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, then: Callable[[], None] | None = None) -> None:
        """Stop the work; `then` is called in the prompt's loop, after all that was written is shown."""
        self._then = then
        self.face.stop()

    def close(self) -> None:
        if self.running:
            self.face.stop()
            self._thread.join(_LONGEST_STOP)
        self.above.close()

    def _run(self) -> None:
        try:
            self._work(self.face)
        except Exception as error:  # noqa: BLE001 - it is raised in the prompt
            self._error = error
        self.above.in_loop(self._end)

    def _end(self) -> None:
        self.running = False
        self.above.draw()
        if self._error:
            self._app.erase_when_done = True
            self._app.exit(exception=self._error)
        elif self._then:
            self._then()


class FaceAbove(Display):
    """Shows above the prompt."""

    def __init__(self, above: AbovePrompt, options: DisplayOptions) -> None:
        super().__init__(Screen(above, options.color, options.theme), above, options)
        self._above = above
        self._stopped = False
        self._stop: Callable[[], None] = lambda: None

    def stop(self) -> None:
        self._stopped = True
        self._stop()

    @contextmanager
    def answer(self, stop: Callable[[], None]) -> Iterator[Answer]:
        self._stop = stop
        if self._stopped:  # before there was anything to stop
            stop()
        self._screen.write("\n")
        with drawing(self._screen, self._options, _WaitingAbove(self._above)) as answer:
            yield answer


class _WaitingAbove:
    def __init__(self, above: AbovePrompt) -> None:
        self._above = above
        self._words = WaitingWords()

    def start(self) -> None:
        self._show(_("waiting"))

    def show(self, event: Progress | Queued | ThinkingDelta) -> None:
        self._show(self._words.of(event) or _("waiting"))

    def stop(self) -> None:
        self._show("")

    def _show(self, words: str) -> None:
        self._above.words = words
        self._above.flush()


def _style_at_end(text: str) -> str:
    """The sequences that are in force after `text`."""
    codes: list[str] = _SGR.findall(text)
    while RESET in codes:
        codes = codes[codes.index(RESET) + 1 :]
    return "".join(codes)
