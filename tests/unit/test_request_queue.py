from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from llamachat.engine.request_queue import OVERTAKEN, RequestQueue, Ticket


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


async def places(ticket: Ticket) -> list[int]:
    return [position async for position in ticket.ahead()]


def test_the_first_in_line_waits_for_nobody() -> None:
    async def test() -> None:
        assert await places(RequestQueue().join()) == []

    run(test())


def test_everyone_moves_up_in_the_order_of_coming() -> None:
    async def test() -> None:
        queue = RequestQueue()
        tickets = [queue.join() for _ in range(3)]
        waiting = [asyncio.create_task(places(ticket)) for ticket in tickets]
        for ticket, task in zip(tickets, waiting, strict=True):
            await task
            assert queue.tickets[0] is ticket
            ticket.leave()
        assert [task.result() for task in waiting] == [[], [1], [2, 1]]
        assert not queue.busy and queue.waiting == 0

    run(test())


def test_who_gives_up_stops_waiting_and_moves_the_others_up() -> None:
    async def test() -> None:
        queue = RequestQueue()
        first, second, third = (queue.join() for _ in range(3))
        waiting = [asyncio.create_task(places(ticket)) for ticket in (second, third)]
        await asyncio.sleep(0)
        second.give_up()
        assert await waiting[0] == [1]
        first.leave()
        assert await waiting[1] == [2, 1] or await waiting[1] == [2]
        assert queue.tickets == [third]

    run(test())


def test_who_has_the_model_keeps_it_when_giving_up() -> None:
    async def test() -> None:
        queue = RequestQueue()
        first = queue.join()
        first.give_up()
        assert queue.busy
        first.leave()
        first.leave()
        assert not queue.busy

    run(test())


def test_as_many_are_served_as_there_are_lanes() -> None:
    async def test() -> None:
        queue = RequestQueue(lanes=2)
        first, second, third, fourth = (queue.join() for _ in range(4))
        assert [queue.position(ticket) for ticket in (first, second, third, fourth)] == [0, 0, 1, 2]
        assert queue.served == queue.waiting == 2
        second.leave()
        assert [queue.position(ticket) for ticket in (third, fourth)] == [0, 1]
        first.leave()
        third.leave()
        assert queue.served == 1

    run(test())


def test_a_chat_goes_before_rows_of_a_batch_and_these_do_not_starve() -> None:
    async def test() -> None:
        queue = RequestQueue()
        served = queue.join()
        rows = [queue.join(priority=1) for _ in range(2)]
        chats = [queue.join() for _ in range(3 * OVERTAKEN)]
        order = []
        while queue.tickets:
            served = queue.tickets[0]
            order.append(served)
            served.leave()
        assert order.index(rows[0]) == 1 + OVERTAKEN
        assert [ticket for ticket in order if ticket in chats] == chats

    run(test())


def test_a_chat_takes_the_place_of_a_row_that_is_served_but_not_for_ever() -> None:
    async def test() -> None:
        queue = RequestQueue(lanes=2)
        rows = [queue.join(priority=1) for _ in range(3)]
        chats = [queue.join() for _ in range(2)]
        assert queue.tickets == [*chats, rows[0], rows[1], rows[2]] and queue.served == 2
        assert queue.join(priority=1) is queue.tickets[-1]
        chats[0].leave()
        assert queue.tickets[:2] == [chats[1], rows[0]]
        rows[0].overtaken = OVERTAKEN
        assert queue.position(queue.join()) > 0

    run(test())


def test_nobody_is_overtaken_more_often_than_that() -> None:
    async def test() -> None:
        queue = RequestQueue(lanes=2)
        rows = [queue.join(priority=1) for _ in range(2)]
        chat = queue.join(priority=-1)
        rows += [queue.join(priority=1) for _ in range(2)]
        rows[-1].overtaken = OVERTAKEN  # as those are that waited before a row's place was taken
        rows[0].overtaken = OVERTAKEN
        waits = queue.join()
        assert queue.tickets == [rows[0], chat, rows[1], *rows[2:], waits]
        assert max(row.overtaken for row in rows) == OVERTAKEN

    run(test())
