"""All that the model computes, it computes in one thread.

llama.cpp is built with GNU's OpenMP, where there is one, and that keeps a team for each thread that computes.
Once all teams together have more threads than there are CPUs, they no longer spin at a barrier but sleep, and
a token has hundreds of barriers. With a second team the small model fell from 89 tokens/s to 31, on two
cores.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

_pool = ThreadPoolExecutor(1, thread_name_prefix="model")
_inside: ContextVar[bool] = ContextVar("inside", default=False)


def submit(work: Callable[..., T], *args: Any) -> Future[T]:
    """Do `work` in the model's thread, in the caller's context."""

    def inside() -> T:
        _inside.set(True)
        return work(*args)

    return _pool.submit(copy_context().run, inside)


def run(work: Callable[[], T]) -> T:
    """Do `work` in the model's thread, from there or from another, and wait for what it returns or raises."""
    return work() if _inside.get() else submit(work).result()


def run_before(deadline: float, work: Callable[[], object]) -> None:
    """Do `work` if its turn comes before `deadline` (of time.monotonic), and wait for its end no longer."""
    running = submit(work)
    concurrent.futures.wait((running,), max(deadline - time.monotonic(), 0))
    running.cancel()
