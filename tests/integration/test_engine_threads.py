"""Where the model computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import llama_cpp
import pytest

from llamachat.engine.engine import Engine
from llamachat.engine.failures import Refused
from llamachat.engine.model_thread import submit
from tests.integration.engine_process import small_model


class Recording(llama_cpp.Llama):
    """Notes which threads compute."""

    threads: set[int]

    def eval(self, tokens: Sequence[int]) -> None:
        self.threads.add(threading.get_ident())
        super().eval(tokens)


@pytest.fixture
def llama() -> Any:
    llama: Any = type("Tested", (Engine, Recording), {"threads": set()})(
        small_model(), n_ctx=256, verbose=False
    )
    llama.threads = set()
    return llama


def in_another_thread(work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def test_whole_replies_and_streams_of_all_threads_are_computed_in_one(llama: Any) -> None:
    for _ in range(2):
        in_another_thread(lambda: llama("One, two,", max_tokens=2))
        in_another_thread(
            lambda: llama.create_chat_completion([{"role": "user", "content": "Hi"}], max_tokens=2)
        )
        submit(lambda: list(llama("One, two,", max_tokens=2, stream=True))).result()
    assert len(llama.threads) == 1
    assert threading.get_ident() not in llama.threads


def test_what_goes_wrong_there_is_raised_here(llama: Any) -> None:
    with pytest.raises(Refused, match="maximum context length is 256"):
        llama("One, two, " * 200, max_tokens=2)
