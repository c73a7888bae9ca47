"""Guard: reading a prompt can be watched and stopped, and a request knows what it took.

Stock, nothing is said while a prompt is read, and a client that hangs up is noticed between tokens only
(abetlen/llama-cpp-python #599, #733). llama.cpp's abort callback is called some hundred times a batch: it is
the clock for progress and the way to stop in the middle of a batch. It is set only while a prompt is read,
where it costs nothing that can be measured; reading in smaller pieces instead would: see docs/engine.md.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from llamachat.core.engine_options import EngineOptions
from llamachat.engine import call as calls
from llamachat.engine import hooks
from llamachat.engine.kv_plan import batches

if TYPE_CHECKING:
    from llama_cpp import Llama as Base
else:
    Base = object

REPORT_SECONDS = 0.5


class Reading(Base):
    """Reports to, and obeys, the call in whose context the model runs."""

    _callbacks_a_ubatch = 0

    def generate(self, tokens: Sequence[int], *args: Any, **kwargs: Any) -> Generator[int, Any, None]:
        call = calls.current.get()
        if call is None:
            yield from super().generate(tokens, *args, **kwargs)
            return
        call.started, call.read, call.prompt_tokens = time.monotonic(), None, len(tokens)
        call.read_tokens = 0
        for token in super().generate(tokens, *args, **kwargs):
            call.sampled_tokens += 1
            call.completion_tokens += not _ends_generation(self, token)
            yield token
            call.check()

    def eval(self, tokens: Sequence[int]) -> None:
        call = calls.current.get()
        if call is None:
            super().eval(tokens)
            return
        call.check()
        if call.read is not None:
            super().eval(tokens)
            return
        call.cached_tokens = self.n_tokens - call.read_tokens
        with _Clock(self, call) as clock:
            for part in batches(tokens, self.n_batch):
                clock.batch = len(part)
                super().eval(part)
                call.read_tokens += len(part)
                clock.batch_done()
        if self.n_tokens >= call.prompt_tokens:
            call.read = time.monotonic()


class _Clock:
    """The abort callback of one reading; llama.cpp calls it between two operations, in the same thread."""

    def __init__(self, llama: Reading, call: calls.Call) -> None:
        import llama_cpp

        self._library, self._llama, self._call = llama_cpp, llama, call
        self._callback = llama_cpp.ggml_abort_callback(self._tick)
        self._ticks, self._told = 0, time.monotonic()
        self.batch = 0

    def __enter__(self) -> _Clock:
        self._library.llama_set_abort_callback(self._llama.ctx, self._callback, None)
        self._tell(0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._library.llama_set_abort_callback(self._llama.ctx, self._library.ggml_abort_callback(), None)
        if error is None:
            return
        if self._llama._is_recurrent or self._llama._is_hybrid:
            self._llama.reset()  # type: ignore[no-untyped-call]  # their state can't be cut back to before the broken batch
        if self._call.cancelled:
            raise calls.Cancelled from error

    def batch_done(self) -> None:
        if self._ticks:
            self._llama._callbacks_a_ubatch = self._ticks // self._ubatches()
        self._ticks = 0
        self._tell(0)

    def _tick(self, _: object) -> bool:
        self._ticks += 1
        if time.monotonic() - self._told >= REPORT_SECONDS:
            self._tell(int(self.batch * self._share()))
        return self._call.cancelled

    def _share(self) -> float:
        """How much of this batch is done, by the operations that the last one took."""
        expected = self._llama._callbacks_a_ubatch * self._ubatches()
        return min(self._ticks / expected, 0.99) if expected else 0.0

    def _ubatches(self) -> int:
        return -(-self.batch // int(self._llama.context_params.n_ubatch))

    def _tell(self, done: int) -> None:
        """Report what is read, and `done` tokens of the batch under way."""
        call, self._told = self._call, time.monotonic()
        if call.report:
            call.report(
                {
                    "total": call.prompt_tokens,
                    "cache": call.cached_tokens,
                    "processed": call.cached_tokens + call.read_tokens + done,
                    "time_ms": int((self._told - call.started) * 1000),
                }
            )


def _ends_generation(llama: Reading, token: int) -> bool:
    import llama_cpp

    return bool(llama_cpp.llama_vocab_is_eog(llama_cpp.llama_model_get_vocab(llama.model), token))


def install(options: EngineOptions) -> None:
    import llama_cpp

    for name in ("llama_set_abort_callback", "ggml_abort_callback", "llama_vocab_is_eog"):
        hooks.require(llama_cpp, name)
    hooks.extend_llama(Reading, "generate", "eval")
