"""A thread that does one piece of work again and again: soon, at once, and later when it failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from llamachat.errors import StoreError


class Writer:
    """Runs `work` in its own thread, and `leave` there at the end.

    `soon` has it run within `interval` seconds, `now` waits until it ran. After a StoreError it is
    left alone for `retry` seconds and then run again until it succeeds.
    """

    def __init__(
        self, work: Callable[[], None], leave: Callable[[], None], *, interval: float, retry: float
    ) -> None:
        self._work, self._leave = work, leave
        self._interval, self._retry = interval, retry
        self._changed = threading.Condition()
        self._due: float | None = None
        self._not_before = 0.0
        self._waiting: list[SimpleQueue[None]] = []
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.trouble: StoreError | None = None

    def soon(self) -> None:
        with self._changed:
            if self._due is None:
                self._due = time.monotonic() + self._interval
                self._start()

    def now(self, timeout: float) -> None:
        """Return when the work was done or has failed, at the latest after `timeout` seconds."""
        ran: SimpleQueue[None] = SimpleQueue()
        with self._changed:
            self._waiting.append(ran)
            self._start()
        # Not on the condition: a Ctrl-C that raises in its wait can leave it without its lock.
        with suppress(Empty):
            ran.get(timeout=timeout)

    def stop(self, timeout: float) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="transcripts", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._is_due():
                    self._changed.wait(self._rest())
                waiting, self._waiting = self._waiting, []
                stopping = self._stopping
                self._due = None
            if stopping or time.monotonic() >= self._not_before:
                self._attempt()
            with self._changed:
                if self.trouble is not None:
                    self._due = self._not_before
            for ran in waiting:
                ran.put(None)
            if stopping:
                self._leave()
                return

    def _is_due(self) -> bool:
        reached = self._due is not None and time.monotonic() >= self._due
        return self._stopping or bool(self._waiting) or reached

    def _rest(self) -> float | None:
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def _attempt(self) -> None:
        try:
            self._work()
        except StoreError as error:
            self.trouble = error
            self._not_before = time.monotonic() + self._retry
        else:
            self.trouble = None
