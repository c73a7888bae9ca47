"""The few calls of llama.cpp that move the KV cells of one sequence."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np

from llamachat.engine.kv_parked import State
from llamachat.engine.kv_plan import Reuse


class Cells:
    """The cells of sequence `seq` in the KV cache of context `ctx`; the library itself uses sequence 0."""

    def __init__(self, ctx: Any, seq: int = 0) -> None:
        self._ctx, self._seq = ctx, seq
        self._memory = llama_cpp.llama_get_memory(ctx)

    def can_shift(self) -> bool:
        return bool(llama_cpp.llama_memory_can_shift(self._memory))

    def clear(self) -> None:
        self.cut(0)

    def cut(self, start: int, end: int = -1) -> None:
        """Remove the cells at positions [start, end), to the last one where `end` is -1."""
        llama_cpp.llama_memory_seq_rm(self._memory, self._seq, start, end)

    def hold(self, n_tokens: int) -> bool:
        """Remove what an aborted reading left behind the first `n_tokens`; whether these are all there."""
        self.cut(n_tokens)
        first = llama_cpp.llama_memory_seq_pos_min(self._memory, self._seq)
        last = llama_cpp.llama_memory_seq_pos_max(self._memory, self._seq)
        return bool(first == 0 and last == n_tokens - 1)

    def apply(self, reuse: Reuse) -> None:
        for start, end in reuse.removals:
            self.cut(start, end)
        for shift in reuse.shifts:
            llama_cpp.llama_memory_seq_add(self._memory, self._seq, shift.start, shift.end, shift.delta)

    def state_size(self) -> int:
        """Bytes that `copy_out` would take."""
        return int(llama_cpp.llama_state_seq_get_size(self._ctx, self._seq))

    def copy_out(self) -> State | None:
        """The sequence's state, None if llama.cpp gave less than it announced."""
        size = self.state_size()
        state = np.empty(size, np.uint8)
        got = llama_cpp.llama_state_seq_get_data(self._ctx, _pointer(state), size, self._seq)
        return state if got == size else None

    def copy_in(self, state: State) -> bool:
        """Replace the sequence by `state`; on False nothing is there."""
        self.clear()
        taken = llama_cpp.llama_state_seq_set_data(self._ctx, _pointer(state), len(state), self._seq)
        if taken != len(state):
            self.clear()
        return bool(taken == len(state))


def _pointer(state: State) -> Any:
    return ctypes.cast(state.ctypes.data, ctypes.POINTER(ctypes.c_uint8))
