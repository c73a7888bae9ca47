"""What happens in a conversation, as numbered events that any number of tabs read from any place."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

Event = Mapping[str, Any]

CHANGED: Event = {"type": "changed"}
"""The conversation is another one than before: load it again."""
SILENCE_SECONDS = 1.0


class EventLog:
    """Events are appended from any thread and read on the event loop.

    The events of the turn under way are kept, so that a tab that comes late gets all of it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._first = 0
        self._readers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._unwatched_since = time.monotonic()

    @property
    def end(self) -> int:
        """The number of events so far, which is the place behind the last one."""
        return self._first + len(self._events)

    @property
    def start_of_turn(self) -> int:
        return self._first

    @property
    def unwatched_seconds(self) -> float:
        """Seconds for which nobody has read, since the turn began; 0 while somebody does."""
        return 0.0 if self._readers else time.monotonic() - self._unwatched_since

    def begin_turn(self) -> None:
        """Forget what came before."""
        with self._lock:
            self._unwatched_since = time.monotonic()
            self._first += len(self._events)
            self._events.clear()

    def append(self, event: Event) -> None:
        with self._lock:
            self._events.append(event)
            readers = list(self._readers.items())
        for news, loop in readers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(news.set)

    async def read(self, after: int) -> AsyncIterator[tuple[int, Event] | None]:
        """The events behind the place `after`, each with the place behind it; None in long silence."""
        news = asyncio.Event()
        self._readers[news] = asyncio.get_running_loop()
        try:
            while True:
                news.clear()
                with self._lock:
                    first, end = self._first, self.end
                    events = self._events[max(0, after - first) :]
                if not first <= after <= end:
                    # What this reader has not seen is no longer here; or the server was restarted.
                    after, events = end, []
                    yield after, CHANGED
                for event in events:
                    after += 1
                    yield after, event
                try:
                    await asyncio.wait_for(news.wait(), SILENCE_SECONDS)
                except asyncio.TimeoutError:
                    yield None
        finally:
            del self._readers[news]
            self._unwatched_since = time.monotonic()
