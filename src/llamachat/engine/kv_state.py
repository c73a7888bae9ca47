"""The few calls of llama.cpp that move KV cells; sequence 0 is the only one that llama-cpp-python uses."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np

from llamachat.engine.kv_parked import State
from llamachat.engine.kv_plan import Reuse
from llamachat.errors import ServerError

SEQUENCE = 0
HOOKS = (
    "llama_get_memory",
    "llama_memory_can_shift",
    "llama_memory_clear",
    "llama_memory_seq_add",
    "llama_memory_seq_pos_max",
    "llama_memory_seq_pos_min",
    "llama_memory_seq_rm",
    "llama_model_n_swa",
    "llama_state_seq_get_data",
    "llama_state_seq_get_size",
    "llama_state_seq_set_data",
)


def require_hooks() -> None:
    """Stop the start where the library has lost a function that is needed here."""
    missing = [name for name in HOOKS if not hasattr(llama_cpp, name)]
    missing += [
        f"Llama.{name}" for name in ("generate", "eval", "reset") if not hasattr(llama_cpp.Llama, name)
    ]
    if missing:
        raise ServerError(
            f"This llama-cpp-python has no {', '.join(missing)}, which llamachat's memory needs.",
            "Install a version that pyproject.toml names, or use --plain.",
        )


class Cells:
    """The cells of one context's KV cache."""

    def __init__(self, llama: Any) -> None:
        self._ctx = llama.ctx
        self._memory = llama_cpp.llama_get_memory(llama.ctx)

    def can_shift(self) -> bool:
        return bool(llama_cpp.llama_memory_can_shift(self._memory))

    def clear(self) -> None:
        llama_cpp.llama_memory_clear(self._memory, False)

    def hold(self, n_tokens: int) -> bool:
        """Remove what an aborted reading left behind the first `n_tokens`; whether these are all there."""
        llama_cpp.llama_memory_seq_rm(self._memory, SEQUENCE, n_tokens, -1)
        first = llama_cpp.llama_memory_seq_pos_min(self._memory, SEQUENCE)
        last = llama_cpp.llama_memory_seq_pos_max(self._memory, SEQUENCE)
        return bool(first == 0 and last == n_tokens - 1)

    def apply(self, reuse: Reuse) -> None:
        for start, end in reuse.removals:
            llama_cpp.llama_memory_seq_rm(self._memory, SEQUENCE, start, end)
        for shift in reuse.shifts:
            llama_cpp.llama_memory_seq_add(self._memory, SEQUENCE, shift.start, shift.end, shift.delta)

    def copy_out(self) -> State | None:
        """The sequence's state, None where llama.cpp gave less than it announced."""
        size = llama_cpp.llama_state_seq_get_size(self._ctx, SEQUENCE)
        state = np.empty(size, np.uint8)
        got = llama_cpp.llama_state_seq_get_data(self._ctx, _pointer(state), size, SEQUENCE)
        return state if got == size else None

    def copy_in(self, state: State) -> bool:
        """Replace the sequence by `state`; on False nothing is there."""
        self.clear()
        taken = llama_cpp.llama_state_seq_set_data(self._ctx, _pointer(state), len(state), SEQUENCE)
        if taken != len(state):
            self.clear()
        return bool(taken == len(state))


def _pointer(state: State) -> Any:
    return ctypes.cast(state.ctypes.data, ctypes.POINTER(ctypes.c_uint8))
