"""Who goes into the next decode, on simulated lanes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamachat.engine.scheduler import GAP, LEAST, OLDEST_SHARE, SHORTEST_SECONDS, Need, Pace, next_step

N_BATCH = 512

needs_of_lanes = st.lists(
    st.tuples(st.booleans(), st.integers(1, 3000), st.integers(-2, 2), st.integers(0, 99)),
    min_size=1,
    max_size=16,
).map(
    lambda drawn: [
        Need(lane, n_tokens if reads else 1, reads, priority=priority, order=100 * order + lane)
        for lane, (reads, n_tokens, priority, order) in enumerate(drawn)
    ]
)


@given(needs_of_lanes, st.integers(LEAST, 1000))
def test_all_that_write_go_and_the_rest_is_within_both_limits(needs: list[Need], limit: int) -> None:
    shares = {share.lane: share.n_tokens for share in next_step(needs, N_BATCH, limit)}
    reading = [need for need in needs if need.reads]
    assert all(shares[need.lane] == 1 for need in needs if not need.reads)
    assert sum(shares.values()) <= N_BATCH
    assert sum(shares.get(need.lane, 0) for need in reading) <= limit
    assert all(1 <= shares[need.lane] <= need.n_tokens for need in needs if need.lane in shares)
    assert list(shares) == sorted(shares)


@given(needs_of_lanes, st.integers(LEAST, 1000))
def test_who_came_first_always_gets_its_part(needs: list[Need], limit: int) -> None:
    reading = [need for need in needs if need.reads]
    if not reading:
        return
    oldest = min(reading, key=lambda need: need.order)
    shares = {share.lane: share.n_tokens for share in next_step(needs, N_BATCH, limit)}
    part = min(limit, N_BATCH - len(needs) + len(reading)) // OLDEST_SHARE
    assert shares[oldest.lane] >= min(oldest.n_tokens, max(part // 4 * 4, 1)) - 1


@given(needs_of_lanes, st.integers(LEAST, 300))
def test_every_prompt_comes_to_its_end(needs: list[Need], limit: int) -> None:
    left = {need.lane: need for need in needs if need.reads}
    steps = 0
    while left:
        for share in next_step(list(left.values()), N_BATCH, limit):
            rest = left[share.lane].n_tokens - share.n_tokens
            if rest:
                left[share.lane] = replace(left[share.lane], n_tokens=rest)
            else:
                del left[share.lane]
        steps += 1
        assert steps <= sum(need.n_tokens for need in needs)


def test_a_chat_is_read_before_the_rows_of_a_batch() -> None:
    rows = [Need(lane, 400, reads=True, priority=1, order=lane) for lane in range(3)]
    chat = Need(3, 90, reads=True, order=9)
    shares = {share.lane: share.n_tokens for share in next_step([*rows, chat], N_BATCH, 128)}
    assert shares[3] == 90 and shares[0] == 36 and set(shares) == {0, 3}


@pytest.mark.parametrize(("usual", "per_token"), [(0.008, 0.003), (0.4, 0.05), (0.03, 0.004)])
def test_a_watched_token_waits_little_longer_than_usual(usual: float, per_token: float) -> None:
    pace = Pace()
    for _ in range(20):
        pace.observe(1, 0, usual)
    for _ in range(40):
        read = pace.read_limit(1, watched=True)
        pace.observe(1, read, usual + read * per_token)
    seconds = usual + pace.read_limit(1, watched=True) * per_token
    assert seconds <= max(GAP * max(usual, SHORTEST_SECONDS), usual + LEAST * per_token)


def test_nothing_is_read_beside_a_watched_stream_before_its_usual_time_is_known() -> None:
    pace = Pace()
    pace.observe(0, 32, 0.1)
    assert pace.read_limit(1, watched=True) == 0 < pace.read_limit(1, watched=False)
    pace.observe(1, 0, 0.01)
    assert pace.read_limit(1, watched=True) >= LEAST


def test_where_nobody_watches_more_is_read_at_once() -> None:
    pace = Pace()
    pace.observe(2, 0, 0.01)
    pace.observe(2, 32, 0.11)
    assert pace.read_limit(2, watched=False) > 4 * pace.read_limit(2, watched=True)
