"""Guard: all that the model computes, it computes in one thread.

llama.cpp is built with GNU's OpenMP, where there is one, and that keeps a team for each thread that computes.
Once all teams together have more threads than there are CPUs, they no longer spin at a barrier but sleep, and
a token has hundreds of barriers. Stock, a request runs in whichever thread of a pool is free: with the second
team the small model fell from 89 tokens/s to 31, on two cores.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from llamachat.core.engine_options import EngineOptions
from llamachat.engine import hooks

if TYPE_CHECKING:
    from llama_cpp import Llama as Base
else:
    Base = object

T = TypeVar("T")

_pool = ThreadPoolExecutor(1, thread_name_prefix="model")
_inside: ContextVar[bool] = ContextVar("inside", default=False)


def submit(work: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
    """Do `work` in the model's thread, in the caller's context."""

    def inside() -> T:
        _inside.set(True)
        return work(*args, **kwargs)

    return _pool.submit(copy_context().run, inside)


class OneThread(Base):
    """Whole replies; the events of a stream are made in the model's thread from the start."""

    def create_completion(self, *args: Any, **kwargs: Any) -> Any:
        return _there(partial(super().create_completion, *args, **kwargs))

    def create_embedding(self, *args: Any, **kwargs: Any) -> Any:
        return _there(partial(super().create_embedding, *args, **kwargs))


def _there(work: Callable[[], T]) -> T:
    return work() if _inside.get() else submit(work).result()


def install(options: EngineOptions) -> None:
    hooks.extend_llama(OneThread, "create_completion", "create_embedding")
