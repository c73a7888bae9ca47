"""Reading a prompt can be watched and stopped.

llama.cpp calls an abort callback some hundred times a batch: it is the clock for progress and the way to stop
in the middle of a batch. Reading in smaller pieces instead would be slower: see docs/engine.md.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

import llama_cpp

from llamachat.engine.jobs import Cancelled, Job

if TYPE_CHECKING:
    from llamachat.engine.engine import Engine

REPORT_SECONDS = 0.5


class PrefillClock:
    """The abort callback of one reading; llama.cpp calls it between two operations, in the same thread."""

    def __init__(self, llama: Engine, job: Job) -> None:
        self._llama, self._job = llama, job
        self._callback = llama_cpp.ggml_abort_callback(self._tick)
        self._ticks, self._told = 0, time.monotonic()
        self._batch = 0

    def __enter__(self) -> PrefillClock:
        llama_cpp.llama_set_abort_callback(self._llama.ctx, self._callback, None)
        self._tell(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        llama_cpp.llama_set_abort_callback(self._llama.ctx, llama_cpp.ggml_abort_callback(), None)
        if error is None:
            return
        if self._llama._is_recurrent or self._llama._is_hybrid:
            self._llama.reset()  # their state can't be cut back to before the broken batch
        if self._job.cancelled:
            raise Cancelled from error

    def begin_batch(self, n_tokens: int) -> None:
        self._batch = n_tokens

    def end_batch(self) -> None:
        self._job.read_tokens += self._batch
        if self._ticks:
            self._llama._callbacks_a_ubatch = self._ticks // self._ubatches()
        self._ticks = 0
        self._tell(0)

    def _tick(self, _: object) -> bool:
        self._ticks += 1
        if time.monotonic() - self._told >= REPORT_SECONDS:
            self._tell(int(self._batch * self._share()))
        return self._job.cancelled

    def _share(self) -> float:
        """How much of this batch is done, by the operations that the last one took."""
        expected = self._llama._callbacks_a_ubatch * self._ubatches()
        return min(self._ticks / expected, 0.99) if expected else 0.0

    def _ubatches(self) -> int:
        return -(-self._batch // int(self._llama.context_params.n_ubatch))

    def _tell(self, done: int) -> None:
        self._told = time.monotonic()
        self._job.tell_progress(done)
