"""The queue before the model: who is served next, and how many are ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

OVERTAKEN = 8
"""Who was overtaken so often goes next, whatever the priorities are."""


class RequestQueue:
    """Lives on the event loop. As many as there are `lanes` are served at once, the others wait.

    Lower priorities go first, as vLLM has it, and those of one priority in the order in which they came. If
    there are several lanes, they also take the place of one that is served, which waits until one is free.
    `is_closed` once new requests are refused, and those that are in it finish.
    """

    def __init__(
        self,
        max_waiting: int | None = None,
        is_closed: Callable[[], bool] = lambda: False,
        lanes: int = 1,
    ) -> None:
        self.lanes = lanes
        self.tickets: list[Ticket] = []
        """Those that are served, then those that wait."""
        self._max_waiting, self._is_closed = max_waiting, is_closed

    def join(self, priority: int = 0) -> Ticket:
        ticket = Ticket(self, priority)
        served, waiting = self.tickets[: self.lanes], self.tickets[self.lanes :]
        if len(served) == self.lanes and (row := self._preempted(served, priority)):
            row.overtaken += 1
            self.tickets = [*(t for t in served if t is not row), ticket, row, *waiting]
            self.moved()
            return ticket
        at = len(self.tickets)
        for other in reversed(waiting):
            if priority >= other.priority or other.overtaken >= OVERTAKEN:
                break
            other.overtaken += 1
            at -= 1
        self.tickets.insert(at, ticket)
        self.moved()
        return ticket

    def _preempted(self, served: list[Ticket], priority: int) -> Ticket | None:
        """The one that is needed least, and last of those."""
        rows = [t for t in served if t.priority > priority and t.overtaken < OVERTAKEN]
        return max(reversed(rows), key=lambda t: t.priority, default=None) if self.lanes > 1 else None

    def moved(self) -> None:
        for ticket in self.tickets:
            ticket.has_moved.set()

    def position(self, ticket: Ticket) -> int:
        """How many must leave before this one is served; 0 for one that is, or that is gone."""
        index = self.tickets.index(ticket) if ticket in self.tickets else 0
        return max(index - self.lanes + 1, 0)

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

    @property
    def served(self) -> int:
        return min(len(self.tickets), self.lanes)


class Ticket:
    def __init__(self, queue: RequestQueue, priority: int) -> None:
        self._queue = queue
        self.priority = priority
        self.overtaken = 0
        self.has_moved = asyncio.Event()

    async def ahead(self) -> AsyncIterator[int]:
        """How many are ahead, at first and at every change; ends when it is this one's turn or it gave up."""
        told = 0
        while position := self._queue.position(self):
            self.has_moved.clear()
            if position != told:
                told = position
                yield position
            else:
                await self.has_moved.wait()

    def leave(self) -> None:
        """Give the place to the next; a second call does nothing."""
        if self in self._queue.tickets:
            self._queue.tickets.remove(self)
            self._queue.moved()

    def give_up(self) -> None:
        """Leave if still waiting; who is served keeps the lane until the work has stopped."""
        if self._queue.position(self):
            self.leave()
            self.has_moved.set()
