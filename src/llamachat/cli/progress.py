"""How a download is shown: one line in a terminal, plain lines in a log, or nothing."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from llamachat.cli.console import size, stderr

PLAIN_EVERY = 10.0  # seconds between two lines in a log
RATE_OVER = 30.0


class Watch(AbstractContextManager["Watch"]):
    """Told by the hub how transfers go; this one shows nothing."""

    def started(self, name: str, size: int, have: int) -> None: ...
    def advanced(self, n_bytes: int) -> None: ...
    def lost(self, reason: str) -> None: ...
    def noted(self, text: str) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def watch(quiet: bool) -> Watch:
    if quiet:
        return Watch()
    console = stderr()
    return _Bar(console) if console.is_terminal else _Lines()


class _Bar(Watch):
    """Percent, bytes, rate and time left on one line; connection losses as a count with the last reason."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[losses]}"),
            console=console,
            speed_estimate_period=RATE_OVER,
        )
        self._task: TaskID | None = None
        self._losses = 0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, name: str, size: int, have: int) -> None:
        self._task = self._progress.add_task(_short(name), total=size, completed=have, losses="")

    def advanced(self, n_bytes: int) -> None:
        if self._task is not None:
            self._progress.advance(self._task, n_bytes)

    def lost(self, reason: str) -> None:
        self._losses += 1
        if self._task is not None:
            self._progress.update(self._task, losses=f"{self._losses}× {reason}")

    def noted(self, text: str) -> None:
        self._progress.console.print(text, markup=False)


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
        _say(text)

    def _print(self) -> None:
        rate = (self._have - self._first) / max(0.001, time.monotonic() - self._since)
        left = (
            f", {(self._size - self._have) / rate:.0f} s left" if rate > 0 and self._have < self._size else ""
        )
        losses = f", {self._losses} connections lost" if self._losses else ""
        percent = 100 * self._have // max(1, self._size)
        done = f"{percent}% of {size(self._size)}"
        _say(f"{self._name}: {done}" + (f", {size(rate)}/s{left}" if rate else "") + losses)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:14]}…{name[-17:]}"
