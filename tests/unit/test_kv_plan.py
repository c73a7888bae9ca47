"""The planner, carried out on a simulated sequence of cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamachat.engine.kv_plan import (
    MIN_READ,
    MIN_RUN,
    ROWS,
    Held,
    Reuse,
    Tokens,
    choose_lane,
    find_reuse,
    is_coming,
    plan,
)


def tokens(values: Sequence[int]) -> Tokens:
    return np.array(values, np.int32)


def turn(number: int, length: int = 60) -> list[int]:
    """A turn as chat templates make them: the same beginning and end, its own text between."""
    return [1, 2, 3, *(1000 * number + i for i in range(length)), 4, 5]


def carry_out(cached: Sequence[int], reuse: Reuse) -> dict[int, int]:
    """Cells by position after the removals and the shifts, as llama.cpp does them."""
    cells = list(enumerate(cached))
    for start, end in reuse.removals:
        cells = [(p, t) for p, t in cells if not (p >= start and (end < 0 or p < end))]
    for shift in reuse.shifts:
        cells = [(p + shift.delta if shift.start <= p < shift.end else p, t) for p, t in cells]
    assert len({p for p, _ in cells}) == len(cells), "two cells at one position"
    return dict(cells)


SYSTEM = [7, 8, 9, 10, 11, 12]
CONVERSATION = [*SYSTEM, *(t for n in range(1, 7) for t in turn(n))]

cached_and_prompt = st.tuples(
    st.lists(st.integers(1, 9), min_size=0, max_size=9),
    st.lists(st.integers(0, 5), max_size=8),
    st.lists(st.integers(0, 7), max_size=8),
    st.lists(st.integers(0, 3), max_size=60),
).map(
    lambda drawn: (
        drawn[0] + [t for n in drawn[1] for t in turn(n, 20 + 9 * n)],
        drawn[0] + [t for n in drawn[2] for t in turn(n, 20 + 9 * n)] + drawn[3],
    )
)


@given(cached_and_prompt)
def test_kept_cells_are_exactly_the_prompt_s_tokens(sequences: tuple[list[int], list[int]]) -> None:
    cached, prompt = sequences
    reuse = find_reuse(tokens(cached), tokens(prompt), can_shift=True)
    assert carry_out(cached, reuse) == dict(enumerate(prompt[: reuse.kept]))
    assert reuse.kept <= max(len(prompt) - MIN_READ, 0)


@given(st.lists(st.integers(0, 2), max_size=200), st.lists(st.integers(0, 2), max_size=200))
def test_texts_that_repeat_themselves_are_kept_exactly_too(cached: list[int], prompt: list[int]) -> None:
    reuse = find_reuse(tokens(cached), tokens(prompt), can_shift=True)
    assert carry_out(cached, reuse) == dict(enumerate(prompt[: reuse.kept]))


@given(cached_and_prompt, st.lists(cached_and_prompt, max_size=3), st.booleans())
def test_any_plan_serves_the_prompt_from_what_it_takes(
    sequences: tuple[list[int], list[int]],
    others: list[tuple[list[int], list[int]]],
    can_shift: bool,
) -> None:
    live, prompt = sequences
    parked = [cached for cached, _ in others]
    chosen = plan(tokens(live), [tokens(p) for p in parked], tokens(prompt), can_shift=can_shift)
    source = live if chosen.take is None else parked[chosen.take]
    assert carry_out(source, chosen.reuse) == dict(enumerate(prompt[: chosen.reuse.kept]))
    assert can_shift or not chosen.reuse.shifts


@pytest.mark.parametrize(
    ("kept_turns", "gaps"), [((3, 4, 5, 6), 1), ((1, 2, 4, 5, 6), 1), ((2, 4, 6), 3), ((1, 3, 6), 2)]
)
def test_all_turns_behind_any_number_of_gaps_are_kept(kept_turns: tuple[int, ...], gaps: int) -> None:
    kept = [*SYSTEM, *(t for n in kept_turns for t in turn(n))]
    reuse = find_reuse(tokens(CONVERSATION), tokens(kept + turn(9)), can_shift=True)
    assert len(reuse.shifts) == gaps
    assert reuse.kept >= len(kept)


def test_a_message_that_was_shortened_in_the_middle_is_a_gap() -> None:
    edited = CONVERSATION[:30] + CONVERSATION[50:]
    reuse = find_reuse(tokens(CONVERSATION), tokens(edited + turn(9)), can_shift=True)
    assert reuse.kept >= len(edited)


def test_runs_shorter_than_the_minimum_are_read_again() -> None:
    cached = [*SYSTEM, *range(100, 150), *range(200, 200 + MIN_RUN - 1), *range(300, 310)]
    prompt = [*SYSTEM, *range(200, 200 + MIN_RUN - 1), *range(400, 450)]
    assert find_reuse(tokens(cached), tokens(prompt), can_shift=True).shifts == ()


def test_without_shifts_only_the_prefix_is_kept() -> None:
    prompt = [*SYSTEM, *turn(3), *turn(4), *turn(9)]
    reuse = find_reuse(tokens(CONVERSATION), tokens(prompt), can_shift=False)
    assert reuse == Reuse(len(SYSTEM + turn(0)[:3]) // ROWS * ROWS)


def test_the_same_prompt_again_reads_its_end_again() -> None:
    reuse = find_reuse(tokens(CONVERSATION), tokens(CONVERSATION), can_shift=True)
    assert len(CONVERSATION) - MIN_READ - ROWS < reuse.kept <= len(CONVERSATION) - MIN_READ


def test_an_appended_turn_parks_nothing() -> None:
    chosen = plan(tokens(CONVERSATION), [], tokens(CONVERSATION[:-2] + turn(9)), can_shift=True)
    assert not chosen.park


def test_another_conversation_parks_the_live_one() -> None:
    chosen = plan(tokens(CONVERSATION), [], tokens([*SYSTEM, *turn(8), *turn(9)]), can_shift=True)
    assert chosen.park


def test_what_continues_a_parked_sequence_takes_it_back() -> None:
    other = [*SYSTEM, *turn(11), *turn(12), *turn(13)]
    chosen = plan(
        tokens(other),
        [tokens(SYSTEM + turn(14)), tokens(CONVERSATION)],
        tokens(CONVERSATION + turn(9)),
        can_shift=True,
    )
    assert chosen.take == 1
    assert chosen.park and not chosen.leave
    assert chosen.reuse.kept >= len(CONVERSATION) - ROWS


def test_what_branches_off_from_a_parked_sequence_leaves_it_there() -> None:
    branch = [*CONVERSATION[: len(CONVERSATION) // 2], *turn(9)]
    chosen = plan(tokens([]), [tokens(CONVERSATION)], tokens(branch), can_shift=True)
    assert chosen.take == 0 and chosen.leave


def test_an_exact_parked_prefix_is_preferred_to_closing_gaps() -> None:
    shorter = [*SYSTEM, *(t for n in (3, 4, 5, 6) for t in turn(n))]
    chosen = plan(tokens(CONVERSATION), [tokens(shorter)], tokens(shorter + turn(9)), can_shift=True)
    assert chosen.take == 0
    assert chosen.reuse.shifts == ()


def test_a_window_of_32k_with_many_gaps_is_planned_whole() -> None:
    random = np.random.default_rng(1)
    cached = random.integers(0, 128_000, 32_768).astype(np.int32)
    prompt = np.concatenate(
        [cached[:500], *(cached[s : s + 700] for s in range(1000, 32_000, 1000)), cached[:50]]
    )
    reuse = find_reuse(cached, prompt, can_shift=True)
    assert reuse.kept >= len(prompt) - 50


def test_documents_that_overlap_are_not_joined() -> None:
    """Rows of a batch may be pieces of one text: what was read before them must not change their answers."""
    text = list(range(100, 400))
    header, question = [1, 2, 3], [4, 5, *range(500, 520)]
    first, second = (header + text[start : start + 150] + question for start in (0, 90))
    assert find_reuse(tokens(first), tokens(second), can_shift=True).shifts == ()


def test_a_conversation_that_is_taken_whole_is_continued_and_a_branch_is_not() -> None:
    def continues(*turns: int) -> bool:
        prompt = [*SYSTEM, *(t for n in turns for t in turn(n))]
        return plan(tokens(CONVERSATION), [], tokens(prompt), can_shift=True).continues

    assert continues(1, 2, 3, 4, 5, 6, 7)
    assert not continues(1, 2, 9)
    assert not continues(8)


lanes_and_prompt = st.lists(
    st.tuples(st.lists(st.integers(0, 7), max_size=6), st.booleans(), st.booleans(), st.integers(0, 99)),
    min_size=1,
    max_size=8,
).map(
    lambda drawn: [
        Held(tokens(SYSTEM + [t for n in turns for t in turn(n)] if turns else []), free, conversation, used)
        for turns, free, conversation, used in drawn
    ]
)


@given(lanes_and_prompt, st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_a_prompt_goes_into_a_free_lane_that_it_continues_or_that_is_missed_least(
    lanes: list[Held], turns: list[int]
) -> None:
    prompt = tokens(SYSTEM + [t for n in turns for t in turn(n)] + turn(9))
    chosen = choose_lane(lanes, prompt, can_shift=True)
    free = [index for index, lane in enumerate(lanes) if lane.free]
    if chosen is None:
        assert not free
        return
    assert lanes[chosen].free
    continues = plan(lanes[chosen].tokens, [], prompt, can_shift=True)
    if continues.park:  # its cells are lost: so are those of any that would be missed less
        missed = [(len(lanes[i].tokens) > 0, lanes[i].conversation, lanes[i].used) for i in free]
        assert (True, lanes[chosen].conversation, lanes[chosen].used) == min(missed)


def test_short_prompts_that_begin_alike_stay_in_one_lane() -> None:
    first, second = (tokens([*range(100, 120), *turn(n)[:30]]) for n in (1, 2))
    lanes = [Held(tokens([]), free=True), Held(first, free=True, used=1)]
    assert choose_lane(lanes, second, can_shift=True) == 1


def test_a_row_waits_for_the_lane_that_reads_what_it_begins_with() -> None:
    system = list(range(100, 400))
    first, second, other = (tokens([*start, *turn(n)]) for start, n in ((system, 1), (system, 2), ([], 3)))
    reading = Held(first[:40], free=False, coming=first)
    assert is_coming([reading], 0, second)
    assert not is_coming([reading], 300, second)
    assert not is_coming([reading], 0, other)
    assert not is_coming([Held(first, free=False, coming=first)], 0, second)
