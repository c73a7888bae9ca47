"""The queue before the model: first come, first served, and everyone may ask how many are ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable


class RequestQueue:
    """Lives on the event loop; the first in it has the model.

    `is_closed` once new requests are refused, and those that are in it finish.
    """

    lanes = 1

    def __init__(self, max_waiting: int | None = None, is_closed: Callable[[], bool] = lambda: False) -> None:
        self.tickets: list[Ticket] = []
        self._max_waiting, self._is_closed = max_waiting, is_closed

    def join(self) -> Ticket:
        ticket = Ticket(self)
        self.tickets.append(ticket)
        return ticket

    @property
    def closed(self) -> bool:
        return self._is_closed()

    @property
    def full(self) -> bool:
        """Whether one more would have more than `max_waiting` others waiting with it."""
        return self._max_waiting is not None and len(self.tickets) >= self.lanes + self._max_waiting

    @property
    def busy(self) -> bool:
        return bool(self.tickets)

    @property
    def waiting(self) -> int:
        return max(len(self.tickets) - self.lanes, 0)


class Ticket:
    def __init__(self, queue: RequestQueue) -> None:
        self._queue = queue
        self._moved = asyncio.Event()

    async def ahead(self) -> AsyncIterator[int]:
        """How many are ahead, at first and at every change; ends when it is this one's turn or it gave up."""
        told = 0
        while self in self._queue.tickets and (position := self._queue.tickets.index(self)):
            self._moved.clear()
            if position != told:
                told = position
                yield position
            else:
                await self._moved.wait()

    def leave(self) -> None:
        """Give the place to the next; a second call does nothing."""
        if self in self._queue.tickets:
            self._queue.tickets.remove(self)
            for ticket in self._queue.tickets:
                ticket._moved.set()

    def give_up(self) -> None:
        """Leave if still waiting; who already has the model keeps it until the work has stopped."""
        if self in self._queue.tickets and self._queue.tickets[0] is not self:
            self.leave()
            self._moved.set()
