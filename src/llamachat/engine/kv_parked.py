"""Sequences put aside in memory, or still in files of an earlier run: least recently used first out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llamachat.engine.kv_plan import Tokens, common_prefix

State = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Parked:
    """A sequence's tokens and its KV state: at hand, or None where it is in `path`."""

    tokens: Tokens
    state: State | None
    path: Path | None = None

    @property
    def n_bytes(self) -> int:
        return 0 if self.state is None else len(self.state)


class ParkingLot:
    """Holds at most `budget` bytes of states; files cost nothing until they are taken."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._sequences: list[Parked] = []

    def __len__(self) -> int:
        return len(self._sequences)

    @property
    def tokens(self) -> list[Tokens]:
        """Of all sequences, in the order that `take` counts in."""
        return [parked.tokens for parked in self._sequences]

    def by_recency(self) -> Iterator[Parked]:
        return reversed(self._sequences)

    def put(self, parked: Parked) -> None:
        """Add one as the most recent; those that it begins with go, and the oldest until it fits."""
        if parked.n_bytes > self.budget:
            return
        self._sequences = [p for p in self._sequences if not _begins(parked.tokens, p.tokens)]
        while self._bytes() + parked.n_bytes > self.budget:
            oldest = next(p for p in self._sequences if p.n_bytes)
            self._sequences.remove(oldest)
        self._sequences.append(parked)

    def take(self, index: int) -> Parked:
        return self._sequences.pop(index)

    def _bytes(self) -> int:
        return sum(parked.n_bytes for parked in self._sequences)


def _begins(tokens: Tokens, prefix: Tokens) -> bool:
    return common_prefix(tokens, prefix) == len(prefix)
