"""What is still to fetch of one file, shared by the connections that fetch it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from llamachat.hub.journal import Journal
from llamachat.hub.spans import Span, frontier, merge, missing, total

SMALLEST_SEGMENT = 4 << 20
LARGEST_SEGMENT = 64 << 20
SEGMENTS_EACH = 8


class Board:
    """Segments are handed out in the order of the file, so that the hash can follow the transfer closely."""

    def __init__(self, size: int, journal: Journal, connections: int) -> None:
        self.size = size
        self.single = False
        self.answered = False
        self.last_byte = time.monotonic()
        self._pause_until = 0.0
        self._journal = journal
        self._changed = threading.Condition()
        self._done = merge(journal.done)
        self._queue = deque(_cut(missing(self._done, size), _segment_size(size, connections)))
        self._stopped: BaseException | bool = False

    @property
    def done(self) -> list[Span]:
        with self._changed:
            return list(self._done)

    @property
    def n_done(self) -> int:
        return total(self.done)

    @property
    def frontier(self) -> int:
        with self._changed:
            return frontier(self._done)

    @property
    def complete(self) -> bool:
        return self.frontier == self.size

    @property
    def stopped(self) -> bool:
        return self._stopped is not False

    @property
    def failure(self) -> BaseException | None:
        return self._stopped if isinstance(self._stopped, BaseException) else None

    def stop(self, failure: BaseException | None = None) -> None:
        """End every connection; the first failure is the one that is kept."""
        with self._changed:
            self._stopped = self._stopped or failure or True
            self._changed.notify_all()

    def take(self, is_first: bool) -> Span | None:
        """The next segment. Waits while others hold them all; None when there is nothing left to do.

        Where the server gave no ranges, the first connection takes all that is missing, and the others end.
        """
        with self._changed:
            while not self.stopped and frontier(self._done) < self.size:
                if self.single:
                    return (frontier(self._done), self.size) if is_first else None
                if self._queue:
                    return self._queue.popleft()
                self._changed.wait()
            return None

    def give_back(self, span: Span) -> None:
        with self._changed:
            if span[0] < span[1]:
                self._queue.appendleft(span)
            self._changed.notify_all()

    def go_single(self) -> None:
        """From now on one connection, because the server does not give ranges."""
        with self._changed:
            self.single = True
            self._changed.notify_all()

    def mark_answered(self) -> None:
        """The server gave what was asked for: time for the other connections."""
        with self._changed:
            self.answered = True
            self._changed.notify_all()

    def arrived(self, span: Span) -> int:
        """Record bytes that were written; the number of those that are new."""
        with self._changed:
            self._journal.add(span)
            before = total(self._done)
            self._done = merge([*self._done, span])
            self.last_byte = time.monotonic()
            self._changed.notify_all()
            return total(self._done) - before

    def mark_durable(self, done: list[Span]) -> None:
        with self._changed:
            self._journal.mark_durable(done)

    def pause(self, seconds: float) -> None:
        """Ask nothing more for so long: the server said so."""
        with self._changed:
            self._pause_until = max(self._pause_until, time.monotonic() + seconds)

    def silence(self) -> float:
        """Seconds since the last byte, without those that the server asked for."""
        with self._changed:
            return time.monotonic() - max(self.last_byte, self._pause_until)

    def rest(self, seconds: float) -> None:
        """Wait so long, or as long as the server asked for, or until it is stopped."""
        with self._changed:
            until = max(time.monotonic() + seconds, self._pause_until)
            self._wait(lambda: self.stopped, until)

    def wait_beyond(self, offset: int) -> int:
        """The frontier, once it is beyond `offset` or there is no more to come."""
        with self._changed:
            self._changed.wait_for(
                lambda: frontier(self._done) > offset or self.stopped or frontier(self._done) == self.size
            )
            return frontier(self._done)

    def wait_for_answer(self, seconds: float) -> bool:
        with self._changed:
            self._wait(lambda: self.answered or self._ended(), time.monotonic() + seconds)
            return self.answered

    def wait(self, seconds: float) -> bool:
        """Wait until complete or stopped, at most so long; whether it came to that."""
        with self._changed:
            self._wait(self._ended, time.monotonic() + seconds)
            return self._ended()

    def _ended(self) -> bool:
        return self.stopped or frontier(self._done) == self.size

    def _wait(self, condition: Callable[[], bool], until: float) -> None:
        while not condition() and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)


def _segment_size(size: int, connections: int) -> int:
    return max(SMALLEST_SEGMENT, min(LARGEST_SEGMENT, size // (connections * SEGMENTS_EACH)))


def _cut(spans: list[Span], length: int) -> list[Span]:
    return [(at, min(at + length, end)) for start, end in spans for at in range(start, end, length)]
