"""What stays in memory when it gets full."""

from __future__ import annotations

import numpy as np

from llamachat.engine.kv_parked import Parked, ParkingLot


def sequence(first: int, *, n_bytes: int = 100, continued: bool = False) -> Parked:
    return Parked(np.array([first, *range(99)], np.int32), np.empty(n_bytes, np.uint8), continued=continued)


def held(lot: ParkingLot) -> list[int]:
    return [int(tokens[0]) for tokens in lot.tokens]


def test_the_least_recently_used_goes_first() -> None:
    lot = ParkingLot(300)
    for first in range(5):
        lot.put(sequence(first))
    assert held(lot) == [2, 3, 4]


def test_rows_of_a_batch_push_out_no_conversation() -> None:
    lot = ParkingLot(500)
    lot.put(sequence(1, continued=True))
    lot.put(sequence(2, continued=True))
    for row in range(100, 200):
        lot.put(sequence(row))
    assert held(lot) == [1, 2, 197, 198, 199]


def test_conversations_leave_room_for_a_new_one_and_the_oldest_of_them_goes() -> None:
    lot = ParkingLot(400)
    for first in range(4):
        lot.put(sequence(first, continued=True))
    lot.put(sequence(9))
    assert held(lot) == [1, 2, 3, 9]


def test_what_is_larger_than_the_budget_pushes_nothing_out() -> None:
    lot = ParkingLot(300)
    lot.put(sequence(1))
    lot.put(sequence(2, n_bytes=301))
    assert held(lot) == [1]
