"""Never read the same tokens twice.

The library keeps one sequence and reuses a common prefix of it. Here the KV cache also closes gaps, copies
what another lane has read, parks sequences that another conversation replaces, and keeps them on disk between
two runs. `kv_plan` decides; this carries it out before the library's own prefix match, which then finds what
is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import llama_cpp
import numpy as np

from llamachat.core.engine_options import EngineOptions
from llamachat.engine.kv_identity import identity
from llamachat.engine.kv_keep import KeepFolder
from llamachat.engine.kv_parked import Parked, ParkingLot, State
from llamachat.engine.kv_plan import (
    MIN_LOST,
    MIN_READ,
    Held,
    Reuse,
    Tokens,
    choose_lane,
    common_prefix,
    is_coming,
    plan,
)
from llamachat.engine.kv_state import Cells

if TYPE_CHECKING:
    from llamachat.engine.engine import Engine

SETTLE_TOKENS = 16
"""Read at once after a shift, which llama.cpp does with the next batch: stopped in it, the cells are lost."""


class Slot:
    """One lane's sequence: its cells, who has it and since when."""

    def __init__(self, lane: Engine) -> None:
        self.lane = lane
        self.free = True
        self.conversation = False
        self.used = 0
        self.coming: Tokens | None = None
        self.settled = True
        """False while cells are moved and llama.cpp has not done it yet: they can't be copied."""

    @property
    def cells(self) -> Cells:
        return self.lane.cells

    @property
    def tokens(self) -> Tokens:
        return np.array(self.lane.input_ids[: self.lane.n_tokens], np.int32)

    def held(self) -> Held:
        return Held(self.tokens, self.free, self.conversation, self.used, self.coming)

    def hold(self, tokens: Tokens) -> None:
        """Tell the lane that these are its cells."""
        self.lane.input_ids[: len(tokens)] = tokens
        self.lane.n_tokens = len(tokens)

    def forget(self) -> None:
        self.lane.reset()
        self.cells.clear()


@dataclass(frozen=True, slots=True)
class Suspended:
    """A sequence that waits for its lane: the view that computes it, its cells, and what its slot knew."""

    view: Engine
    state: State
    coming: Tokens | None
    conversation: bool


class KvCache:
    """What is in the KV cache, parked and kept, and how a new prompt finds it."""

    def __init__(self, lanes: Sequence[Engine], options: EngineOptions, *, multimodal: bool = False) -> None:
        self._slots = [Slot(lane) for lane in lanes]
        self.can_copy = not multimodal and is_plain(lanes[0])
        self.can_shift = self.can_copy and options.kv_shift and self._slots[0].cells.can_shift()
        self._parked = ParkingLot(options.kv_park if self.can_copy else 0)
        self._clock = 0
        self._taken_files: list[Path] = []
        self._keep: KeepFolder | None = None
        if options.cache_dir and self.can_copy:
            self._keep = KeepFolder(Path(options.cache_dir), identity(lanes[0]))
            for kept in self._keep.find():
                self._parked.put(kept)

    def occupy(self, prompt: Sequence[int]) -> int | None:
        """The lane that is best for `prompt`, which is busy until `release`; None if all are."""
        held = [slot.held() for slot in self._slots]
        chosen = choose_lane(held, np.asarray(prompt, np.int32), can_shift=self.can_shift)
        if chosen is not None:
            self._slots[chosen].free = False
        return chosen

    def release(self, lane: int) -> None:
        slot = self._slots[lane]
        slot.free, slot.coming = True, None
        self._clock += 1
        slot.used = self._clock

    def suspend(self, lane: int, view: Engine, aside: int) -> Suspended | None:
        """Put the sequence of a busy lane aside and give the lane to `view`; None if it can't be done now.

        With the `aside` bytes of others it takes as much memory as what is parked, at most.
        """
        slot = self._slots[lane]
        if not self.can_copy or not slot.settled or not slot.cells.hold(slot.lane.n_tokens):
            return None
        if aside + slot.cells.state_size() > self._parked.budget:
            return None
        state = slot.cells.copy_out()
        if state is None:
            return None
        suspended = Suspended(slot.lane, state, slot.coming, slot.conversation)
        slot.lane, slot.coming, slot.conversation = view, None, False
        slot.cells.clear()
        return suspended

    def resume(self, lane: int, suspended: Suspended) -> bool:
        """Give a free lane to a sequence that was put aside; False if its cells are lost."""
        slot = self._slots[lane]
        self._park(slot)
        slot.free, slot.lane = False, suspended.view
        slot.coming, slot.conversation = suspended.coming, suspended.conversation
        return slot.cells.copy_in(suspended.state)

    def is_coming(self, lane: int, prompt: Sequence[int]) -> bool:
        """Whether it is worth waiting: another lane is reading what `prompt` begins with."""
        tokens, held = np.asarray(prompt, np.int32), [slot.held() for slot in self._slots]
        if not is_coming(held, 0, tokens):
            return False
        there = [self._slots[lane].tokens, *(o.tokens for o in self._others(lane)), *self._parked.tokens]
        return is_coming(held, max(common_prefix(one, tokens) for one in there), tokens)

    def prepare(self, lane: int, prompt: Sequence[int], *, alone: bool = False) -> None:
        """Bring the cells that serve `prompt` to the front of the lane, and tell it how many they are.

        `alone`: without those of other lanes.
        """
        if not self.can_copy:
            return
        slot, tokens = self._slots[lane], np.asarray(prompt, np.int32)
        if slot.lane.n_tokens and not slot.cells.hold(slot.lane.n_tokens):
            slot.forget()
        lanes = [] if alone else self._others(lane)
        others = [other.tokens for other in lanes] + self._parked.tokens
        chosen = plan(slot.tokens, others, tokens, can_shift=self.can_shift)
        from_lane = chosen.take is not None and chosen.take < len(lanes)
        if chosen.take is not None and from_lane:
            taken = self._copy(lanes[chosen.take], least=1)
            if taken is None:
                self.prepare(lane, prompt, alone=True)
                return
        else:
            taken = None if chosen.take is None else self._parked.take(chosen.take - len(lanes))
        if chosen.park:
            self._park(slot)
        if taken is not None and not self._take(slot, taken):
            self.prepare(lane, prompt, alone=alone or from_lane)
            return
        if taken is not None and not from_lane:
            if chosen.leave:
                self._parked.put(taken)
            elif taken.path is not None:
                self._taken_files.append(taken.path)
        slot.conversation = chosen.continues
        slot.coming = tokens
        self._apply(slot, chosen.reuse, tokens)

    @property
    def is_settled(self) -> bool:
        """False while cells of any lane are to be moved with the next step."""
        return all(slot.settled for slot in self._slots)

    @property
    def parked_bytes(self) -> int:
        return self._parked.n_bytes

    def save(self, deadline: float) -> None:
        """Write the lanes and the most recent parked sequences to the folder before `deadline`."""
        if self._keep is None:
            return
        latest_first = sorted(self._slots, key=lambda slot: -slot.used)
        copies = (copy for slot in latest_first if (copy := self._copy(slot)))  # one at a time in memory
        parked = (p for p in self._parked.by_recency() if p.state is not None)
        written = [self._keep.write(sequence, deadline=deadline) for sequence in chain(copies, parked)]
        self._keep.finish([path for path in written if path], self._taken_files if all(written) else ())

    def _others(self, lane: int) -> list[Slot]:
        """The other lanes that can be copied."""
        return [slot for index, slot in enumerate(self._slots) if index != lane and slot.settled]

    def _copy(self, slot: Slot, least: int = MIN_LOST) -> Parked | None:
        """A lane's sequence, where it has at least so many tokens and their cells are all there."""
        n_tokens = slot.lane.n_tokens
        if n_tokens < least or not slot.settled or not slot.cells.hold(n_tokens):
            return None
        state = slot.cells.copy_out()
        return None if state is None else Parked(slot.tokens, state, continued=slot.conversation)

    def _park(self, slot: Slot) -> None:
        if slot.cells.state_size() <= self._parked.budget and (copy := self._copy(slot)):
            self._parked.put(copy)

    def _take(self, slot: Slot, parked: Parked) -> bool:
        """Make another sequence this lane's; where that fails, it is empty."""
        state: State | None = parked.state
        if parked.path is not None and self._keep is not None:
            state = self._keep.read(parked.path)
        slot.forget()
        if state is None or not slot.cells.copy_in(state):
            return False
        slot.hold(parked.tokens)
        return True

    def _apply(self, slot: Slot, reuse: Reuse, prompt: Tokens) -> None:
        if not reuse.shifts:
            slot.lane.n_tokens = reuse.kept
            return
        slot.cells.apply(reuse)
        slot.hold(prompt[: reuse.kept])
        slot.settled = False
        try:
            slot.lane.eval(prompt[reuse.kept : -MIN_READ][:SETTLE_TOKENS].tolist())
        except BaseException:
            slot.forget()
            raise
        finally:
            slot.settled = True


def is_plain(llama: Engine) -> bool:
    """Whether each cell is one token's, whatever came after it; recurrent and sliding-window layers differ.

    Where each token has its scores (`logits_all`), a moved or copied cell would lack its own.
    """
    return not (
        llama_cpp.llama_model_is_recurrent(llama.model)
        or llama_cpp.llama_model_is_hybrid(llama.model)
        or llama_cpp.llama_model_n_swa(llama.model) > 0
        or llama_cpp.llama_get_memory(llama.ctx) is None
        or llama.context_params.embeddings
        or llama._logits_all
    )
