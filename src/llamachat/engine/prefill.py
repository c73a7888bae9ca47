"""Reading a prompt can be watched and stopped.

llama.cpp calls an abort callback some hundred times a batch: it is the clock for progress and the way to stop
in the middle of a batch. Reading in smaller pieces instead would be slower: see docs/engine.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import llama_cpp

from llamachat.engine.jobs import Job

if TYPE_CHECKING:
    from llamachat.engine.engine import Engine

TICKS = 8


class PrefillClock:
    """The abort callback of one batch; llama.cpp calls it between two operations, in the same thread.

    The batch has so many tokens of each job's prompt, and `others`. If it `stops`, it does where all jobs are
    cancelled.
    """

    def __init__(
        self, llama: Engine, parts: Sequence[tuple[Job, int]], others: int = 0, stops: bool = True
    ) -> None:
        self._llama, self._parts, self._stops = llama, parts, stops
        self._callback = llama_cpp.ggml_abort_callback(self._tick)
        self._ticks = 0
        self._n_tokens = sum(n for _, n in parts) + others

    def __enter__(self) -> PrefillClock:
        llama_cpp.llama_set_abort_callback(self._llama.ctx, self._callback, None)
        for job, _ in self._parts:
            if not job.read_tokens:
                job.tell_progress(now=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        llama_cpp.llama_set_abort_callback(self._llama.ctx, llama_cpp.ggml_abort_callback(), None)
        if error is None and self._ticks:
            self._llama.prefill_ticks = self._ticks // self._ubatches()

    def _tick(self, _: object) -> bool:
        self._ticks += 1
        if self._ticks % TICKS == 0:
            for job, n_tokens in self._parts:
                job.tell_progress(int(n_tokens * self._share()))
        return self._stops and all(job.cancelled for job, _ in self._parts)

    def _share(self) -> float:
        """How much of this batch is done, by the operations that the last one took."""
        expected = self._llama.prefill_ticks * self._ubatches()
        return min(self._ticks / expected, 0.99) if expected else 0.0

    def _ubatches(self) -> int:
        return -(-self._n_tokens // int(self._llama.context_params.n_ubatch))
