#!/usr/bin/env python3
"""How far a closed gap is from a fresh reading: equal next tokens and perplexity of a held-out continuation.

Each sample is a conversation about one topic of Python's own documentation. Its two oldest turns of eight are
dropped; the cells behind the gap are moved (as `--kv-shift` does), or the shortened prompt is read afresh.
Both then score the same held-out text, token by token.
"""

from __future__ import annotations

import argparse
import pydoc_data.topics

import llama_cpp
import numpy as np
import numpy.typing as npt
from engine import small_model

from llamachat.core.engine_options import EngineOptions
from llamachat.engine.engine import engine_class

TURN = 400
"""Characters of documentation a turn."""
TURNS = 8
DROPPED = 2
HELD_OUT = 64

Logits = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=8)
    samples = parser.parse_args().samples
    options = EngineOptions(cache_dir=None, kv_park=0)
    llama = engine_class(options)(str(small_model()), n_ctx=2048, verbose=False)
    measured = []
    for text in texts(samples):
        measured.append(compare(llama, text))
        same, *log_probabilities = measured[-1]
        print(
            f"sample: equal {same:.1%}, perplexities",
            *(f"{np.exp(-p):.3f}" for p in log_probabilities),
            flush=True,
        )
    equal = sum(same for same, _, _ in measured) / len(measured)
    shifted, fresh = (np.exp(-np.mean([m[i] for m in measured])) for i in (1, 2))
    print(f"{samples} samples, {samples * HELD_OUT} tokens: equal next tokens {equal:.1%},", end=" ")
    print(f"perplexity {shifted:.3f} behind a closed gap, {fresh:.3f} after a fresh reading")


def texts(count: int) -> list[str]:
    long_enough = (text for text in pydoc_data.topics.topics.values() if len(text) > (TURNS + 1) * TURN)
    return [text for _, text in zip(range(count), long_enough, strict=False)]


def compare(llama: llama_cpp.Llama, text: str) -> tuple[float, float, float]:
    """Share of equal next tokens; mean log probability of the held-out text behind a gap, and afresh."""
    turns = [text[i * TURN : (i + 1) * TURN] for i in range(TURNS)]
    held_out = tokenize(llama, text[TURNS * TURN :])[:HELD_OUT]
    whole, short = prompt(llama, turns), prompt(llama, turns[DROPPED:])
    read(llama, whole)
    behind_gap = score(llama, short, held_out)
    llama.reset()
    afresh = score(llama, short, held_out)
    equal = float(np.mean(behind_gap.argmax(1) == afresh.argmax(1)))
    return equal, log_probability(behind_gap, held_out), log_probability(afresh, held_out)


def prompt(llama: llama_cpp.Llama, turns: list[str]) -> list[int]:
    parts = ["<|im_start|>system\nYou continue what you are given.<|im_end|>\n"]
    for turn in turns:
        parts.append(f"<|im_start|>user\n{turn}<|im_end|>\n<|im_start|>assistant\nGo on.<|im_end|>\n")
    return tokenize(
        llama, "".join(parts) + "<|im_start|>user\nGo on yourself.<|im_end|>\n<|im_start|>assistant\n"
    )


def tokenize(llama: llama_cpp.Llama, text: str) -> list[int]:
    return llama.tokenize(text.encode(), add_bos=False, special=True)


def read(llama: llama_cpp.Llama, tokens: list[int]) -> None:
    next(llama.generate(tokens, temp=0.0))


def score(llama: llama_cpp.Llama, tokens: list[int], held_out: list[int]) -> Logits:
    """Logits before each token of `held_out`, (len(held_out), n_vocab)."""
    read(llama, tokens)
    batch = [tokens[-1], *held_out[:-1]]
    llama._ctx.kv_cache_seq_rm(-1, len(tokens) - 1, -1)
    llama._batch.set_batch(batch=batch, n_past=len(tokens) - 1, logits_all=True)
    llama._ctx.decode(llama._batch)
    llama.n_tokens = len(tokens) - 1
    shape = (len(batch), llama.n_vocab())
    return np.ctypeslib.as_array(llama._ctx.get_logits(), shape=shape).copy()


def log_probability(logits: Logits, tokens: list[int]) -> float:
    chosen = logits[np.arange(len(tokens)), tokens]
    top = logits.max(1)
    return float(np.mean(chosen - top - np.log(np.exp(logits - top[:, None]).sum(1))))


if __name__ == "__main__":
    main()
