"""What a model needs in memory, worked out from its header: pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from llamachat.hub.gguf import GGUFHeader

KV_BYTES = 2  # float16
N_UBATCH = 512


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes by part."""

    weights: int
    kv_cache: int
    buffers: int

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.buffers


def estimate(header: GGUFHeader, n_ctx: int) -> Estimate:
    """Bytes that `header`'s model takes with a window of `n_ctx` tokens, `logits_all` off.

    The buffers are those of llama.cpp's compute graph: the logits of one batch, and its activations.
    """
    n_layer = header.hyperparameter("block_count") or 0
    n_embd = header.hyperparameter("embedding_length") or 0
    n_head = header.hyperparameter("attention.head_count") or 1
    n_head_kv = header.hyperparameter("attention.head_count_kv") or n_head
    head_size = n_embd // n_head
    k_size = header.hyperparameter("attention.key_length") or head_size
    v_size = header.hyperparameter("attention.value_length") or head_size
    kv_cache = n_layer * n_ctx * n_head_kv * (k_size + v_size) * KV_BYTES
    buffers = N_UBATCH * 4 * (header.n_vocab + n_embd)
    return Estimate(header.weight_bytes, kv_cache, buffers)
