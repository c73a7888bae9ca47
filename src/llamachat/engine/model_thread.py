"""All that the model computes, it computes in one thread, however many requests there are.

llama.cpp is built with GNU's OpenMP, where there is one, and that keeps a team for each thread that computes.
Once all teams together have more threads than there are CPUs, they no longer spin at a barrier but sleep, and
a token has hundreds of barriers. With a second team the small model fell from 89 tokens/s to 31, on two
cores.

Each piece of work runs in a greenlet: plain code that stops where it needs the model and goes on when that
has computed, in one thread and without locks. So the library's own loops serve several requests at once.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from typing import Any, Protocol, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")


class Stepper(Protocol):
    def step(self) -> bool:
        """Compute once for those that wait, and let them go on; whether any are left. Never raises."""


_pool = ThreadPoolExecutor(1, thread_name_prefix="model")
_lock = threading.Lock()
_inbox: deque[tuple[Future[Any], Context, Callable[[], Any]]] = deque()
_running = False
_steppers: list[Stepper] = []
"""Those for whom work waits; in the model's thread only."""
_inside: ContextVar[bool] = ContextVar("inside", default=False)


def submit(work: Callable[..., T], *args: Any) -> Future[T]:
    """Do `work` in the model's thread, in the caller's context."""
    global _running
    future: Future[T] = Future()
    with _lock:
        _inbox.append((future, copy_context(), lambda: work(*args)))
        if not _running:
            _running = True
            _pool.submit(_run)
    return future


def run(work: Callable[[], T]) -> T:
    """Do `work` in the model's thread, from there or from another, and wait for what it returns or raises."""
    return work() if _inside.get() else submit(work).result()


def run_before(deadline: float, work: Callable[[], object]) -> None:
    """Do `work` if its turn comes before `deadline` (of time.monotonic), and wait for its end no longer."""
    running = submit(work)
    concurrent.futures.wait((running,), max(deadline - time.monotonic(), 0))
    running.cancel()


def wait_for(stepper: Stepper) -> None:
    """Within a piece of work: let others go on until `stepper` resumes this one, or throws into it."""
    if stepper not in _steppers:
        _steppers.append(stepper)
    getcurrent().parent.switch()


def _run() -> None:
    """Until all work is done: begin what has come, then compute a step for all that wait."""
    global _running
    while True:
        with _lock:
            if not _inbox and not _steppers:
                _running = False
                return
            begin = _inbox.popleft() if _inbox else None
        if begin:
            _begin(*begin)
        else:
            _steppers[:] = [stepper for stepper in _steppers if stepper.step()]


def _begin(future: Future[Any], context: Context, work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return

    def inside() -> None:
        _inside.set(True)
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001
            future.set_exception(error)
        else:
            future.set_result(result)

    started = greenlet(inside)
    started.gr_context = context
    started.switch()
