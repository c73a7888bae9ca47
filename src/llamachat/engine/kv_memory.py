"""Guard: never read the same tokens twice.

The stock server keeps one sequence and reuses a common prefix of it. Here the KV cache also closes gaps,
parks sequences that another conversation replaces, and keeps them on disk between two runs. `kv_plan`
decides; a subclass of `llama_cpp.Llama` carries it out before the ordinary prefix match, which then finds
what is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import llama_cpp.server.app as server
import numpy as np
import psutil

from llamachat.core import shutdown
from llamachat.core.engine_options import EngineOptions
from llamachat.engine import hooks
from llamachat.engine.kv_identity import identity
from llamachat.engine.kv_keep import KeepFolder
from llamachat.engine.kv_parked import Parked, ParkingLot
from llamachat.engine.kv_plan import MIN_LOST, MIN_READ, Reuse, Tokens, batches, plan
from llamachat.engine.kv_state import Cells, require_hooks

FREE_MEMORY_SHARE = 0.25
SETTLE_TOKENS = 16
"""Read at once after a shift, which llama.cpp does with the next batch: stopped in it, the cells are lost."""


def install(options: EngineOptions) -> None:
    """Put a subclass in the place of `llama_cpp.Llama`, and a save behind `create_app`'s shutdown."""
    require_hooks()
    memories: list[Memory] = []
    stock_create_app: Any = hooks.require(server, "create_app")

    def save() -> None:
        for memory in memories:
            memory.save()

    def create_app(*args: Any, **kwargs: Any) -> Any:
        app = stock_create_app(*args, **kwargs)
        app.router.on_shutdown.append(save)
        return app

    setattr(llama_cpp, "Llama", remembering(llama_cpp.Llama, options, memories))  # noqa: B010
    server.create_app = create_app


def remembering(stock: Any, options: EngineOptions, memories: list[Memory]) -> Any:
    """The subclass of `stock`; `memories` holds the memory of each instance that is open."""

    class RememberingLlama(stock):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._kv = Memory(self, options, multimodal=kwargs.get("chat_handler") is not None)
            memories.append(self._kv)

        def generate(
            self, tokens: Sequence[int], *args: Any, **kwargs: Any
        ) -> Generator[int, Sequence[int] | None, None]:
            if kwargs.get("reset", True):
                self._kv.prepare(tokens)
            generated: Generator[int, Sequence[int] | None, None] = super().generate(tokens, *args, **kwargs)
            return generated

        def eval(self, tokens: Sequence[int]) -> None:
            with self._kv.lock:
                for part in batches(tokens, self.n_batch):
                    super().eval(part)

        def close(self) -> None:
            memories[:] = [memory for memory in memories if memory is not getattr(self, "_kv", None)]
            super().close()

    return RememberingLlama


class Memory:
    """What is in one `Llama`'s KV cache, parked and kept, and how a new prompt finds it."""

    def __init__(self, llama: Any, options: EngineOptions, *, multimodal: bool = False) -> None:
        self.lock = threading.RLock()
        self._llama = llama
        self._cells = Cells(llama)
        self.can_copy = not multimodal and _is_plain(llama)
        self.can_shift = self.can_copy and options.kv_shift and self._cells.can_shift()
        self._parked = ParkingLot(_budget(options) if self.can_copy else 0)
        self._taken_files: list[Path] = []
        self._keep: KeepFolder | None = None
        if options.cache_dir and self.can_copy:
            self._keep = KeepFolder(Path(options.cache_dir), identity(llama))
            for kept in self._keep.find():
                self._parked.put(kept)

    def prepare(self, prompt: Sequence[int]) -> None:
        """Bring the cells that serve `prompt` to its front, and tell `Llama` how many they are."""
        if not self.can_copy:
            return
        tokens = np.asarray(prompt, np.int32)
        with self.lock:
            if self._llama.n_tokens and not self._cells.hold(self._llama.n_tokens):
                self._forget()
            chosen = plan(
                self._live(), self._parked.tokens, tokens, can_shift=self.can_shift, can_copy=self.can_copy
            )
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
            self._apply(chosen.reuse, tokens)

    def save(self) -> None:
        """Write the live and the most recent parked sequences to the folder, as far as the time allows."""
        if self._keep is None or not self.lock.acquire(timeout=shutdown.BUSY):
            return
        try:
            deadline = time.monotonic() + shutdown.SAVE
            sequences = [*self._live_copy(), *(p for p in self._parked.by_recency() if p.state is not None)]
            written = [self._keep.write(sequence, deadline=deadline) for sequence in sequences]
            self._keep.finish([path for path in written if path], self._taken_files if all(written) else ())
        finally:
            self.lock.release()

    def _live(self) -> Tokens:
        return np.array(self._llama.input_ids[: self._llama.n_tokens], np.int32)

    def _live_copy(self) -> list[Parked]:
        n_tokens = self._llama.n_tokens
        if n_tokens < MIN_LOST or not self._cells.hold(n_tokens):
            return []
        state = self._cells.copy_out()
        return [] if state is None else [Parked(self._live(), state)]

    def _park(self) -> None:
        for copy in self._live_copy() if self._parked.budget else ():
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
        """Tell `Llama` that these are its cells."""
        self._llama.input_ids[: len(tokens)] = tokens
        self._llama.n_tokens = len(tokens)

    def _forget(self) -> None:
        self._llama.reset()
        self._cells.clear()


def _is_plain(llama: Any) -> bool:
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


def _budget(options: EngineOptions) -> int:
    if options.kv_park is not None:
        return options.kv_park
    return int(psutil.virtual_memory().available * FREE_MEMORY_SHARE)
