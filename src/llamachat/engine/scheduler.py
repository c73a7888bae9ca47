"""Who goes into the next decode, with how many tokens: pure.

Those that write give one token each. What is left of the batch is read for those whose prompts are not read
yet, in pieces, so that nobody who watches a stream waits much longer than usual for its next token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llamachat.engine.kv_plan import MIN_READ, ROWS

GAP = 2.5
"""How much longer than usual a watched token may take while somebody else's prompt is read, on average."""
SHORTEST_SECONDS = 0.025
"""A watched step may take GAP times this: a stream's events go out every 30 ms, however fast it is."""
LONGEST_SECONDS = 1.0
"""A step without watched tokens; a request that comes in it waits for its end."""
LEAST = 4
"""Tokens are read at least in a step, so that each prompt comes to its end."""
FIRST = 32
OLDEST_SHARE = 4
"""The prompt that came first gets at least a quarter of what is read, whatever the priorities are."""
SMOOTHING = 0.3


@dataclass(frozen=True, slots=True)
class Need:
    """What one lane waits for: `n_tokens` are to be computed, of a prompt or one that was written.

    `watched`: somebody sees these tokens come. A lower `priority` goes first, then the lower `order`.
    """

    lane: int
    n_tokens: int
    reads: bool
    watched: bool = False
    priority: int = 0
    order: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """The next `n_tokens` of the lane are computed."""

    lane: int
    n_tokens: int


def next_step(needs: Sequence[Need], n_batch: int, read_limit: int) -> list[Share]:
    """By lane: all that write, and as far as `n_batch` and `read_limit` go those that read."""
    writing = [need for need in needs if not need.reads]
    reading = sorted((need for need in needs if need.reads), key=lambda need: (need.priority, need.order))
    room = n_batch - len(writing)
    limit = max(min(read_limit, room), 0)
    shares = {need.lane: 1 for need in writing}
    if reading and limit:
        oldest = min(reading, key=lambda need: need.order)
        shares[oldest.lane] = _piece(oldest.n_tokens, max(limit // OLDEST_SHARE, min(LEAST, limit)))
        left = limit - shares[oldest.lane]
        for need in reading:
            had = shares.get(need.lane, 0)
            piece = _piece(need.n_tokens, left + had)
            if piece >= min(need.n_tokens, ROWS):
                shares[need.lane] = piece
                left -= piece - had
    return [Share(lane, shares[lane]) for lane in sorted(shares)]


def _piece(n_tokens: int, room: int) -> int:
    """How many of a prompt's `n_tokens` are read at once in a `room`.

    Not ending one row before the end, and at a multiple of ROWS: each row is then rounded as in a whole
    reading.
    """
    if n_tokens <= room:
        return n_tokens
    room = min(room, n_tokens - MIN_READ) if n_tokens > MIN_READ else room
    return room // ROWS * ROWS if room >= ROWS else max(room, 0)


class Pace:
    """How many tokens may be read in a step, from how long the last ones took on this machine."""

    def __init__(self) -> None:
        self._writing: dict[int, float] = {}
        """Seconds a step by how many write, while nothing is read."""
        self._reading = 0.0
        """Seconds a token that is read, beside those that write or alone."""

    def observe(self, writing: int, read: int, seconds: float) -> None:
        if not read:
            self._writing[writing] = _smooth(self._writing.get(writing, 0.0), seconds)
        else:
            beside = max(seconds - self._usual(writing), 0.2 * seconds)
            self._reading = _smooth(self._reading, beside / read)

    def read_limit(self, writing: int, watched: bool) -> int:
        """Tokens; as many as fit into LONGEST_SECONDS if nobody watches.

        None are read while nobody knows how long a watched step takes: the next one tells.
        """
        usual = self._usual(writing)
        if watched and not usual:
            return 0
        if not self._reading:
            return FIRST
        seconds = LONGEST_SECONDS
        if watched:
            seconds = GAP * max(usual, SHORTEST_SECONDS) - usual
        return max(int(seconds / self._reading), LEAST)

    def _usual(self, writing: int) -> float:
        """Of the nearest number of lanes that was seen."""
        if not writing or not self._writing:
            return 0.0
        return self._writing[min(self._writing, key=lambda seen: abs(seen - writing))]


def _smooth(old: float, new: float) -> float:
    return new if not old else old + SMOOTHING * (new - old)
