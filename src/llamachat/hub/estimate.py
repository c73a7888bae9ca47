"""How much memory a model needs, from its header or its shape: pure arithmetic.

The formulas were checked against the buffer sizes that llama.cpp prints (`--verbose true`): SmolLM2-135M at
n_ctx 2048 and 8192, n_batch 256 and 512, K cache in f16 and q8_0: weights and KV cache to the byte, compute
buffers within 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from llamachat.hub.gguf import GGUFHeader

N_UBATCH = 512
PARALLEL = 4
FLOAT32 = 4
KV_BYTES = {
    "f32": 4.0,
    "f16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
}
"""Bytes for one value of the KV cache."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes by part."""

    weights: int
    kv_cache: int
    buffers: int

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.buffers

    def plus(self, other: Estimate) -> Estimate:
        """For two models at a time."""
        return Estimate(
            self.weights + other.weights, self.kv_cache + other.kv_cache, self.buffers + other.buffers
        )

    def with_weights(self, more: int) -> Estimate:
        return replace(self, weights=self.weights + more)

    def times(self, parallel: int) -> Estimate:
        """For `parallel` windows: each has a KV cache, and all share the compute buffers."""
        return replace(self, kv_cache=self.kv_cache * parallel)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the sizes of cache and buffers depend on.

    `head_size` is that of keys and of values alike, `n_head_kv` the mean of the layers: some have no cache.
    """

    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: float
    head_size: float
    n_vocab: int


def shape_of(header: GGUFHeader) -> Shape:
    """From the header's hyperparameters; keys and values of different sizes count with their mean."""
    n_embd = header.hyperparameter("embedding_length") or 0
    n_head = header.hyperparameter("attention.head_count") or 1
    default = n_embd // n_head
    k_size = header.hyperparameter("attention.key_length") or default
    kv_heads = header.by_layer("attention.head_count_kv") or (n_head,)
    v_size = header.hyperparameter("attention.value_length") or default
    return Shape(
        n_layer=header.hyperparameter("block_count") or 0,
        n_embd=n_embd,
        n_head=n_head,
        n_head_kv=sum(kv_heads) / len(kv_heads),
        head_size=(k_size + v_size) / 2,
        n_vocab=header.n_vocab,
    )


def served(one: Estimate, available: int, *, alone: bool) -> tuple[int, Estimate]:
    """How many windows `llamachat serve` keeps by default, and the need with all of them.

    Four, or what fits into half of the free memory; `alone`, one. `one` is the need with that; bytes.
    """
    spare = 0 if alone else max(available - one.total, 0) // 2
    parallel = 1 + min(PARALLEL - 1, spare // max(one.kv_cache, 1))
    return parallel, one.times(parallel)


def default_kv_park(need: Estimate, available: int) -> int:
    """Bytes for parked KV cache by default: a quarter of what the model leaves free.

    The weights count as taken, although the system reports those that are mapped as free.
    """
    return max(available - need.total, 0) // 4


def estimate(header: GGUFHeader, n_ctx: int, kv_type: str = "f16", n_ubatch: int = N_UBATCH) -> Estimate:
    """Bytes that `header`'s model takes with a window of `n_ctx` tokens, `logits_all` off."""
    return estimate_shape(shape_of(header), header.weight_bytes, n_ctx, kv_type, n_ubatch)


def estimate_shape(
    shape: Shape, weights: int, n_ctx: int, kv_type: str = "f16", n_ubatch: int = N_UBATCH
) -> Estimate:
    """The same for a model of this shape whose weights take `weights` bytes.

    The compute buffer is reused along the graph: what counts is the larger of its two peaks, the logits of a
    batch, and (without flash attention) its attention scores with their mask.
    """
    values = shape.n_layer * n_ctx * shape.n_head_kv * shape.head_size * 2
    row = n_ubatch * FLOAT32
    logits = row * (shape.n_vocab + 3 * shape.n_embd)
    scores = row * (n_ctx * (shape.n_head + 1) + 6 * shape.n_embd)
    return Estimate(weights, int(values * KV_BYTES[kv_type]), max(logits, scores))
