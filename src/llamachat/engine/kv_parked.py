"""Sequences put aside in memory, or still in files of an earlier run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llamachat.engine.kv_plan import Tokens, common_prefix

State = npt.NDArray[np.uint8]
PROTECTED_SHARE = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class Parked:
    """A sequence's tokens and its KV state: at hand, or None if it is in `path`.

    `continued`: a later request went on with it, so it is a conversation, not a row of a batch.
    """

    tokens: Tokens
    state: State | None
    path: Path | None = None
    continued: bool = False

    @property
    def n_bytes(self) -> int:
        return 0 if self.state is None else len(self.state)


class ParkingLot:
    """Holds at most `budget` bytes of states; files cost nothing until they are taken.

    The least recently used goes first, as a segmented LRU: those that were continued are protected, in
    three quarters of the budget, so that the rows of a batch push each other out and no conversation.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._sequences: list[Parked] = []

    def __len__(self) -> int:
        return len(self._sequences)

    @property
    def n_bytes(self) -> int:
        return sum(parked.n_bytes for parked in self._sequences)

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
        self._sequences.append(parked)
        while sum(p.n_bytes for p in self._sequences if p.continued) > PROTECTED_SHARE * self.budget:
            index = next(i for i, p in enumerate(self._sequences) if p.continued and p.n_bytes)
            self._sequences[index] = dataclasses.replace(self._sequences[index], continued=False)
        while self.n_bytes > self.budget:
            self._sequences.remove(next(p for p in self._sequences if p.n_bytes and not p.continued))

    def take(self, index: int) -> Parked:
        return self._sequences.pop(index)


def _begins(tokens: Tokens, prefix: Tokens) -> bool:
    return common_prefix(tokens, prefix) == len(prefix)
