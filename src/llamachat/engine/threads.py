"""How many threads compute, by what other programs leave of the CPU.

llama.cpp's threads meet at a barrier some hundred times a token. One that has lost its core to another
program keeps all others waiting there, so a token takes many times as long. Fewer threads, each with a core
of its own, are faster. A prompt is read with all of them where a thread that waits long sleeps
(`server.command.SPINS`): there is more to do between two barriers. See docs/engine.md.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import llama_cpp
import psutil
from llama_cpp._ggml import libggml

WINDOW = 0.2
"""Seconds over which the load is measured; the system counts in hundredths of a second."""
PAUSE = 1.0
"""Seconds without a step, as between two questions; a client that starts would count as another program."""
STALE = 60.0
"""Seconds since the last look from which on what was used since then is not about now."""
ROUNDED_UP, ROUNDED_OFF = 0.6, 0.4
"""The part of a core that others must use to have it to themselves, and to lose it again."""
READING = 32
"""Tokens of a step from which it counts as reading a prompt."""


def next_count(n_max: int, n_threads: int, others: float) -> int:
    """How many of `n_max` threads compute next, after `n_threads`, if other programs use `others` cores.

    They keep what they use, up to half of the cores: a share that two servers on one computer agree on.
    """
    least = n_max - int(others + 1 - ROUNDED_OFF)
    most = n_max - int(others + 1 - ROUNDED_UP)
    return max(min(max(n_threads, least), most), -(-n_max // 2))


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds: the time, and for how long all programs, and this one, have used the CPUs that it may use."""

    now: float
    used: float
    own: float


class Load:
    """How many cores other programs use, from one look to the next; safe in any thread."""

    def __init__(
        self, clock: Callable[[], Clock] | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock, self._now = clock or system_clock, now
        self._lock = threading.Lock()
        self._last = self._clock()
        self._others = 0.0
        self._step_ended = self._last.now

    def others(self) -> float:
        """Cores that other programs used since the last look, which is at least a WINDOW ago."""
        with self._lock:
            if self._now() - self._last.now >= WINDOW:
                last, self._last = self._last, self._clock()
                used = (self._last.used - last.used) - (self._last.own - last.own)
                self._others = max(used / (self._last.now - last.now), 0.0)
            return self._others

    def others_now(self) -> float | None:
        """The same, but None if the last look was long ago; who asks again hears about the time from here."""
        with self._lock:
            if self._now() - self._last.now >= STALE:
                self._last = self._clock()
                return None
        return self.others()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around a step of the model. What was used in a pause before it is left out: it is not about now."""
        with self._lock:
            if self._now() - self._step_ended >= PAUSE:
                self._last = self._clock()
        try:
            yield
        finally:
            self._step_ended = self._now()


class ThreadCount:
    """Sets how many threads one context computes with; in the model's thread, but `load` is anybody's."""

    def __init__(self, ctx: Any, *, adapts: bool, n_spare: int) -> None:
        self._ctx, self._adapts, self._n_spare, self.load = ctx, adapts, n_spare, Load()
        self.n_max = self.n_threads = int(llama_cpp.llama_n_threads(ctx))
        self._n_max_batch = int(llama_cpp.llama_n_threads_batch(ctx))
        self._set = (self.n_max, self._n_max_batch)
        self._reads_with_all = waits_asleep(libggml, os.environ)

    @contextmanager
    def step(self, n_tokens: int) -> Iterator[None]:
        """Around a step in which `n_tokens` are computed."""
        with self.load.step():
            if self._adapts:
                self._adapt(n_tokens)
            yield

    def _adapt(self, n_tokens: int) -> None:
        others = max(self.load.others() - self._n_spare, 0.0)
        self.n_threads = next_count(self.n_max, self.n_threads, others)
        all_of_them = self._reads_with_all and not 1 < n_tokens < READING
        n_batch = self._n_max_batch if all_of_them else min(self.n_threads, self._n_max_batch)
        if self._set != (self.n_threads, n_batch):
            self._set = (self.n_threads, n_batch)
            llama_cpp.llama_set_n_threads(self._ctx, *self._set)

    def facts(self) -> dict[str, float | None]:
        """Threads that write, of how many, and the cores that others use, None if nobody looked lately."""
        others = self.load.others_now()
        return {
            "threads": self.n_threads,
            "threads_max": self.n_max,
            "others_busy": None if others is None else round(others, 2),
        }


def waits_asleep(library: Any, environ: Mapping[str, str]) -> bool:
    """Whether a thread that waits long at a barrier sleeps.

    GNU's OpenMP does if it was told so when it was loaded. ggml's own threads never do, and another OpenMP
    does not know the variable.
    """
    gnu = hasattr(library, "GOMP_barrier") and not hasattr(library, "__kmpc_barrier")
    return gnu and ("GOMP_SPINCOUNT" in environ or environ.get("OMP_WAIT_POLICY") == "passive")


def system_clock() -> Clock:
    """psutil has these figures on Linux, macOS and Windows."""
    process = psutil.Process()
    try:
        allowed = set(process.cpu_affinity() or ())
    except (AttributeError, psutil.Error):  # macOS has none
        allowed = set()
    cpus = [t for i, t in enumerate(psutil.cpu_times(percpu=True)) if not allowed or i in allowed]
    used = sum(t.user + t.system for t in cpus)
    if process.nice() > 0:  # else Linux's `nice` is the time of those that give way to this program
        used += sum(getattr(t, "nice", 0.0) for t in cpus)
    return Clock(time.monotonic(), used, time.process_time())
