"""How a download is shown: one line in a terminal, plain lines in a log, or nothing."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType

from llamachat.cli.console import say
from llamachat.core.units import size
from llamachat.language import _

PLAIN_EVERY = 10.0  # seconds between two lines in a log


class Watch(AbstractContextManager["Watch"]):
    """Gets the events of transfers; this one shows nothing."""

    def started(self, name: str, size: int, have: int) -> None: ...
    def advanced(self, n_bytes: int) -> None: ...
    def lost(self, reason: str) -> None: ...
    def noted(self, text: str) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def say_how_to_continue(kind: type[BaseException] | None) -> None:
    """What to do after Ctrl-C ended the download."""
    if kind is KeyboardInterrupt:
        say(_("Stopped. Run the same command again to continue."))


def watch(quiet: bool) -> Watch:
    """What shows a download. Rich is slow to import, so only a terminal gets its bar."""
    if quiet:
        return Watch()
    if not sys.stderr.isatty():
        return _Lines()
    from llamachat.cli.progress_bar import Bar

    return Bar()


def remarks(quiet: bool) -> Watch:
    """What shows why a request before the download takes long."""
    return Watch() if quiet else _Remarks()


class _Remarks(Watch):
    def lost(self, reason: str) -> None:
        say(_("{reason}; trying again").format(reason=reason))

    def noted(self, text: str) -> None:
        say(text)


class _Lines(Watch):
    """A line every ten seconds, and one at the end of each file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._name, self._size, self._have, self._losses = "", 0, 0, 0
        self._first, self._since, self._last = 0, time.monotonic(), time.monotonic()

    def started(self, name: str, size: int, have: int) -> None:
        with self._lock:
            self._name, self._size, self._have, self._first = name, size, have, have
            self._since = self._last = time.monotonic()
        self._print()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        say_how_to_continue(kind)

    def advanced(self, n_bytes: int) -> None:
        with self._lock:
            self._have += n_bytes
            now = time.monotonic()
            due = now - self._last >= PLAIN_EVERY or self._have == self._size
            if due:
                self._last = now
        if due:
            self._print()

    def lost(self, reason: str) -> None:
        self._losses += 1

    def noted(self, text: str) -> None:
        say(text)

    def _print(self) -> None:
        rate = (self._have - self._first) / max(0.001, time.monotonic() - self._since)
        left = (
            _(", {seconds:.0f} s left").format(seconds=(self._size - self._have) / rate)
            if rate > 0 and self._have < self._size
            else ""
        )
        losses = _(", {losses} connections lost").format(losses=self._losses) if self._losses else ""
        percent = 100 * self._have // max(1, self._size)
        done = _("{percent}% of {size}").format(percent=percent, size=size(self._size))
        say(f"{self._name}: {done}" + (f", {size(rate)}/s{left}" if rate else "") + losses)
