"""Never read the same tokens twice.

The library keeps one sequence and reuses a common prefix of it. Here the KV cache also closes gaps, parks
sequences that another conversation replaces, and keeps them on disk between two runs. `kv_plan` decides; this
carries it out before the library's own prefix match, which then finds what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import llama_cpp
import numpy as np

from llamachat.core.engine_options import EngineOptions
from llamachat.engine.kv_identity import identity
from llamachat.engine.kv_keep import KeepFolder
from llamachat.engine.kv_parked import Parked, ParkingLot
from llamachat.engine.kv_plan import MIN_LOST, MIN_READ, Reuse, Tokens, plan
from llamachat.engine.kv_state import Cells

if TYPE_CHECKING:
    from llamachat.engine.engine import Engine

SETTLE_TOKENS = 16
"""Read at once after a shift, which llama.cpp does with the next batch: stopped in it, the cells are lost."""


class KvCache:
    """What is in one engine's KV cache, parked and kept, and how a new prompt finds it."""

    def __init__(self, llama: Engine, options: EngineOptions, *, multimodal: bool = False) -> None:
        self._llama = llama
        self._cells = Cells(llama.ctx)
        self.can_copy = not multimodal and _is_plain(llama)
        self.can_shift = self.can_copy and options.kv_shift and self._cells.can_shift()
        self._parked = ParkingLot(options.kv_park if self.can_copy else 0)
        self._continued = False
        self._taken_files: list[Path] = []
        self._keep: KeepFolder | None = None
        if options.cache_dir and self.can_copy:
            self._keep = KeepFolder(Path(options.cache_dir), identity(llama))
            for kept in self._keep.find():
                self._parked.put(kept)

    def prepare(self, prompt: Sequence[int]) -> None:
        """Bring the cells that serve `prompt` to its front, and tell the engine how many they are."""
        if not self.can_copy:
            return
        tokens = np.asarray(prompt, np.int32)
        if self._llama.n_tokens and not self._cells.hold(self._llama.n_tokens):
            self._forget()
        chosen = plan(self._live(), self._parked.tokens, tokens, can_shift=self.can_shift)
        taken = None if chosen.take is None else self._parked.take(chosen.take)
        if chosen.park:
            self._park()
        if taken is not None and not self._take(taken):
            self.prepare(prompt)
            return
        if taken is not None and chosen.leave:
            self._parked.put(taken)
        elif taken is not None and taken.path is not None:
            self._taken_files.append(taken.path)
        self._continued = chosen.continues
        self._apply(chosen.reuse, tokens)

    @property
    def parked_bytes(self) -> int:
        return self._parked.n_bytes

    def save(self, deadline: float) -> None:
        """Write the live and the most recent parked sequences to the folder before `deadline`."""
        if self._keep is None:
            return
        live = self._copy()
        parked = [p for p in self._parked.by_recency() if p.state is not None]
        written = [self._keep.write(p, deadline=deadline) for p in ([live] if live else []) + parked]
        self._keep.finish([path for path in written if path], self._taken_files if all(written) else ())

    def _live(self) -> Tokens:
        return np.array(self._llama.input_ids[: self._llama.n_tokens], np.int32)

    def _copy(self) -> Parked | None:
        """The live sequence, where it is long enough to be worth it and its cells are all there."""
        n_tokens = self._llama.n_tokens
        if n_tokens < MIN_LOST or not self._cells.hold(n_tokens):
            return None
        state = self._cells.copy_out()
        return None if state is None else Parked(self._live(), state, continued=self._continued)

    def _park(self) -> None:
        if self._cells.state_size() <= self._parked.budget and (copy := self._copy()):
            self._parked.put(copy)

    def _take(self, parked: Parked) -> bool:
        """Make a parked sequence the live one; where that fails, nothing is live."""
        state = parked.state
        if parked.path is not None and self._keep is not None:
            state = self._keep.read(parked.path)
        self._forget()
        if state is None or not self._cells.copy_in(state):
            return False
        self._hold(parked.tokens)
        return True

    def _apply(self, reuse: Reuse, prompt: Tokens) -> None:
        if not reuse.shifts:
            self._llama.n_tokens = reuse.kept
            return
        self._cells.apply(reuse)
        self._hold(prompt[: reuse.kept])
        try:
            self._llama.eval(prompt[reuse.kept : -MIN_READ][:SETTLE_TOKENS].tolist())
        except BaseException:
            self._forget()
            raise

    def _hold(self, tokens: Tokens) -> None:
        """Tell the engine that these are its cells."""
        self._llama.input_ids[: len(tokens)] = tokens
        self._llama.n_tokens = len(tokens)

    def _forget(self) -> None:
        self._llama.reset()
        self._cells.clear()


def _is_plain(llama: Engine) -> bool:
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
