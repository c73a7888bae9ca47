"""Arithmetic of byte ranges: sorted, disjoint, half-open (start, end)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[int, int]


def merge(spans: Iterable[Span]) -> list[Span]:
    """The same bytes as few ranges in order."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def missing(done: Sequence[Span], size: int) -> list[Span]:
    """What `done` (merged) lacks of a file of `size` bytes."""
    edges = [0, *(edge for span in done for edge in span), size]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]


def total(done: Iterable[Span]) -> int:
    return sum(end - start for start, end in done)


def frontier(done: Sequence[Span]) -> int:
    """How many bytes there are from the start without a gap."""
    return done[0][1] if done and done[0][0] == 0 else 0
