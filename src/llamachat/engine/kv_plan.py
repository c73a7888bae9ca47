"""What of a KV cache can serve a new prompt: a pure plan from tokens to cells.

A cache is known by the tokens of its cells, cell i at position i. `prefix` leading cells stay where they are;
behind a gap, runs of cells move down to follow them, as with llama-server's `--cache-reuse`. The prompt is
then read from `kept` on. What is new in the middle of a prompt ends the reuse: llama.cpp appends, it can't
insert.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]

MIN_RUN = 32
"""A run behind a gap is worth moving from here on; shorter ones match by chance."""
MIN_LOST = 64
"""A sequence is worth parking where at least this many of its tokens would be lost."""
REPLY_END = 16
"""A conversation goes on without the last few tokens of a reply: they may be others when read as text."""
SEAM = 3
"""Equal tokens before a run, in the cache and in the prompt, say that both are at the beginning of a turn."""
ROWS = 4
"""llama.cpp multiplies repacked weights by so many rows at a time and the rest one by one, rounded otherwise.

Reading on from a multiple of it rounds each row as a fresh reading would.
"""
MIN_READ = 2
"""A single row takes other kernels than several and is rounded otherwise: the end is read as two or more."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Cells at positions [start, end) move by `delta`, which is negative."""

    start: int
    end: int
    delta: int


@dataclass(frozen=True, slots=True)
class Reuse:
    """Keep `prefix` cells, apply `shifts` in order, remove all others: `kept` tokens need no reading."""

    prefix: int
    shifts: tuple[Shift, ...] = ()

    @property
    def kept(self) -> int:
        return self.prefix + sum(shift.end - shift.start for shift in self.shifts)

    @property
    def reaches(self) -> int:
        """The end of what is kept, as a position in the cache before."""
        return self.shifts[-1].end if self.shifts else self.prefix

    @property
    def removals(self) -> tuple[tuple[int, int], ...]:
        """Ranges [start, end) to remove before the shifts, the last one open (-1)."""
        ends = (self.prefix, *(shift.end for shift in self.shifts))
        starts = (*(shift.start for shift in self.shifts), -1)
        return tuple((end, start) for end, start in zip(ends, starts, strict=True) if end != start)


@dataclass(frozen=True, slots=True)
class Plan:
    """`park` the live sequence, then `take` that other one in its place (None: stay), then `reuse` it.

    `leave` the one that is taken where it is too: the prompt branches off from it. The prompt `continues`
    a sequence that it takes whole.
    """

    take: int | None
    park: bool
    leave: bool
    continues: bool
    reuse: Reuse


def plan(live: Tokens, others: Sequence[Tokens], prompt: Tokens, *, can_shift: bool) -> Plan:
    """The source that spares the most reading; a copy or a shift must be worth a run of tokens."""
    sources: list[tuple[int | None, Tokens]] = [(None, live), *enumerate(others)]
    options = [(take, find_reuse(tokens, prompt, can_shift=can_shift)) for take, tokens in sources]
    take, reuse = max(options, key=lambda option: _worth(*option))
    source = live if take is None else others[take]
    loses = _loses(source, reuse.kept)
    return Plan(
        take,
        park=loses if take is None else _loses(live, common_prefix(live, prompt)),
        leave=take is not None and loses,
        continues=len(source) >= MIN_LOST and reuse.reaches >= len(source) - REPLY_END,
        reuse=reuse,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What a lane has in its cells; `coming` is the whole prompt that a busy one is reading.

    `conversation`: somebody went on with it, so it may be asked for again. `used` counts up.
    """

    tokens: Tokens
    free: bool
    conversation: bool = False
    used: int = 0
    coming: Tokens | None = None


def choose_lane(held: Sequence[Held], prompt: Tokens, *, can_shift: bool) -> int | None:
    """The free lane that `prompt` goes into, None if all are busy.

    One that it continues or that loses little by it, or else the one whose cells are missed least: an empty
    one, the row of a batch that was used longest ago, a conversation that was.
    """
    free = [index for index, one in enumerate(held) if one.free]
    kept = {i: find_reuse(held[i].tokens, prompt, can_shift=can_shift).kept for i in free}
    best = max(free, key=lambda i: kept[i], default=None)
    if best is not None and kept[best] and not _loses(held[best].tokens, kept[best]):
        return best
    return min(
        free,
        key=lambda i: (len(held[i].tokens) > 0, held[i].conversation, held[i].used),
        default=None,
    )


def is_coming(held: Sequence[Held], had: int, prompt: Tokens) -> bool:
    """Whether a busy lane is reading more of what `prompt` begins with than the `had` tokens there are."""
    return any(
        common_prefix(one.coming, prompt) - max(had, common_prefix(one.tokens, prompt)) >= MIN_RUN
        for one in held
        if one.coming is not None
    )


def _loses(tokens: Tokens, kept: int) -> bool:
    """Whether a copy is worth it if only `kept` tokens of a sequence go on."""
    return len(tokens) - kept >= max(MIN_LOST, len(tokens) // 4)


def find_reuse(cached: Tokens, prompt: Tokens, *, can_shift: bool) -> Reuse:
    """How `cached` can begin `prompt`, without the prompt's end, which has to be read for its logits."""
    limit = max(len(prompt) - MIN_READ, 0) // ROWS * ROWS
    prefix = common_prefix(cached, prompt)
    if prefix >= limit or not can_shift or prefix == 0:
        return Reuse(min(prefix, limit) // ROWS * ROWS)
    runs = _runs(cached, prompt, prefix)
    if not _goes_on(runs, cached, prompt, prefix):
        runs = []
    # One group of rows more is left to be read: only a batch read after a shift makes sure that it is done.
    shifts = _trim(runs, max(limit - ROWS - prefix, 0))
    return Reuse(prefix, shifts) if shifts else Reuse(prefix // ROWS * ROWS)


def common_prefix(a: Tokens, b: Tokens) -> int:
    n = min(len(a), len(b))
    different = np.flatnonzero(a[:n] != b[:n])
    return int(different[0]) if len(different) else n


def _worth(take: int | None, reuse: Reuse) -> int:
    """Tokens spared, less what a copy costs and, higher, what a shift takes from exactness."""
    return reuse.kept - MIN_RUN * (take is not None) - 2 * MIN_RUN * bool(reuse.shifts)


def _runs(cached: Tokens, prompt: Tokens, prefix: int) -> list[Shift]:
    """Runs of `cached`, front to back, that continue `prompt[prefix:]` without a hole, each the longest."""
    windows = _window_hashes(cached)
    order = np.argsort(windows, kind="stable")
    ordered = windows[order]
    wanted = _window_hashes(prompt)
    runs: list[Shift] = []
    at, behind = prefix, prefix
    while at < len(wanted):
        first, last = (
            np.searchsorted(ordered, wanted[at], "left"),
            np.searchsorted(ordered, wanted[at], "right"),
        )
        starts = order[first:last]
        # Many starts mean a text that repeats itself; the first few are as good as the rest.
        lengths = {int(s): common_prefix(cached[s:], prompt[at:]) for s in starts[starts > behind][:8]}
        start = max(lengths, key=lengths.__getitem__, default=None)
        if start is None or lengths[start] < MIN_RUN:
            break
        end = start + lengths[start]
        runs.append(Shift(start, end, at - start))
        at, behind = at + lengths[start], end
    return runs


def _goes_on(runs: Sequence[Shift], cached: Tokens, prompt: Tokens, prefix: int) -> bool:
    """Whether the prompt goes on with the cached conversation, rather than quote a piece of it.

    It does where the first run follows whole turns that were dropped, and where the runs are most of what is
    new, as when a message was shortened. Two documents cut so that they overlap are neither: reading one
    behind the other would make an answer depend on the order of requests.
    """
    if not runs:
        return False
    seam = min(SEAM, prefix)
    start = runs[0].start
    if np.array_equal(cached[start - seam : start], prompt[prefix - seam : prefix]):
        return True
    return 2 * sum(run.end - run.start for run in runs) >= len(prompt) - prefix


def _window_hashes(tokens: Tokens) -> npt.NDArray[np.uint64]:
    """One number for each MIN_RUN tokens in a row; equal windows have equal numbers."""
    if len(tokens) < MIN_RUN:
        return np.empty(0, np.uint64)
    weights = np.array([pow(0x9E3779B97F4A7C15, i + 1, 1 << 64) for i in range(MIN_RUN)], np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(tokens.astype(np.uint64), MIN_RUN)
    return windows @ weights


def _trim(runs: Sequence[Shift], room: int) -> tuple[Shift, ...]:
    """The first `room` cells of the runs."""
    trimmed: list[Shift] = []
    for run in runs:
        length = min(run.end - run.start, room)
        if length > 0:
            trimmed.append(Shift(run.start, run.start + length, run.delta))
        room -= length
    return tuple(trimmed)


def batches(tokens: Sequence[int], n_batch: int) -> list[Sequence[int]]:
    """Split a reading into batches so that none is left with one row, which would round otherwise."""
    parts = [tokens[start : start + n_batch] for start in range(0, len(tokens), n_batch)]
    if len(parts) > 1 and len(parts[-1]) < MIN_READ:
        rest = [*parts[-2], *parts[-1]]
        cut = (len(rest) - MIN_READ) // ROWS * ROWS
        parts[-2:] = [rest[:cut], rest[cut:]]
    return parts
