#!/usr/bin/env python3
"""Write a GGUF with Llama 3's real tokenizer, chat template and shape, and random weights.

What it says is noise; what it costs is not: the size in memory, the tokens per second and the
token counts are those of the real model with the same shape. Use it where a real
Meta-Llama-3-8B-Instruct file would stand: benchmarks, memory figures, context-window tests.

    make_llama3_gguf.py VOCAB.gguf OUT.gguf --shape tiny|1b|8b [--quant q4_k|q8_0]

VOCAB.gguf is ggml-vocab-llama-bpe.gguf (shared/data/, or llama-cpp-python's source archive).
Needs: gguf, numpy. Peak memory: one tensor. `tiny` is about 70 MB, `1b` 0.9 GB, `8b` 4.9 GB.
"""

from __future__ import annotations

import argparse

import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf import GGUFReader, GGUFWriter

# n_layer, n_embd, n_head, n_head_kv, n_ff
SHAPES = {"tiny": (2, 512, 8, 2, 1024), "1b": (16, 2048, 32, 8, 8192), "8b": (32, 4096, 32, 8, 14336)}
# block size in values, bytes a block
BLOCK = {Q.Q4_K: (256, 144), Q.Q6_K: (256, 210), Q.Q8_0: (32, 34)}

TEMPLATE = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


def blocks(rng: np.random.Generator, rows: int, cols: int, kind: Q) -> np.ndarray:
    """Random quantised blocks, (rows, bytes a row), with small scales so that activations stay finite."""
    values, size = BLOCK[kind]
    raw = rng.integers(0, 256, (rows, cols // values, size), dtype=np.uint8)
    scale = np.frombuffer(np.float16(2e-4).tobytes(), dtype=np.uint8)
    if kind is Q.Q4_K:  # d, dmin, scales[12], qs[128]
        raw[..., 0:2] = scale
        raw[..., 2:4] = scale
        raw[..., 4:16] &= 0x0F
    elif kind is Q.Q6_K:  # ql[128], qh[64], scales[16] int8, d
        raw[..., 192:208] &= 0x03
        raw[..., 208:210] = scale
    else:  # d, qs[32]
        raw[..., 0:2] = scale
    return raw.reshape(rows, -1)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("vocab")
    p.add_argument("out")
    p.add_argument("--shape", choices=SHAPES, default="tiny")
    p.add_argument("--quant", choices=["q4_k", "q8_0"], default="q4_k")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    layers, embd, heads, kv_heads, ff = SHAPES[a.shape]
    rng = np.random.default_rng(a.seed)
    src = GGUFReader(a.vocab).fields
    vocab = 128256

    w = GGUFWriter(a.out, "llama", use_temp_file=False)
    w.add_name(f"random Llama-3-shaped {a.shape}")
    w.add_block_count(layers)
    w.add_context_length(8192)
    w.add_embedding_length(embd)
    w.add_feed_forward_length(ff)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_rope_freq_base(500000.0)
    w.add_rope_dimension_count(embd // heads)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(vocab)
    w.add_file_type(15 if a.quant == "q4_k" else 7)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    for key in ("tokens", "merges"):
        f = src[f"tokenizer.ggml.{key}"]
        (w.add_token_list if key == "tokens" else w.add_token_merges)([bytes(f.parts[i]) for i in f.data])
    f = src["tokenizer.ggml.token_type"]
    w.add_token_types([int(f.parts[i][0]) for i in f.data])
    w.add_bos_token_id(128000)
    w.add_eos_token_id(128009)  # <|eot_id|>, as in the repaired Instruct files
    w.add_chat_template(TEMPLATE)

    body = Q.Q4_K if a.quant == "q4_k" else Q.Q8_0
    head = Q.Q6_K if a.quant == "q4_k" else Q.Q8_0
    kv = embd // heads * kv_heads
    plan: list[tuple[str, int, int, Q | None]] = [("token_embd.weight", vocab, embd, body)]
    for i in range(layers):
        b = f"blk.{i}."
        # Q4_K_M keeps half of attn_v and ffn_down at Q6_K
        big = head if i % 2 else body
        plan += [
            (b + "attn_norm.weight", 1, embd, None),
            (b + "ffn_norm.weight", 1, embd, None),
            (b + "attn_q.weight", embd, embd, body),
            (b + "attn_k.weight", kv, embd, body),
            (b + "attn_v.weight", kv, embd, big),
            (b + "attn_output.weight", embd, embd, body),
            (b + "ffn_gate.weight", ff, embd, body),
            (b + "ffn_up.weight", ff, embd, body),
            (b + "ffn_down.weight", embd, ff, big),
        ]
    plan += [("output_norm.weight", 1, embd, None), ("output.weight", vocab, embd, head)]
    for name, rows, cols, kind in plan:
        if kind is None:
            w.add_tensor_info(name, (cols,), np.dtype(np.float32), cols * 4)
        else:
            values, size = BLOCK[kind]
            w.add_tensor_info(
                name,
                (rows, cols // values * size),
                np.dtype(np.uint8),
                rows * cols // values * size,
                raw_dtype=kind,
            )
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    for _, rows, cols, kind in plan:
        w.write_tensor_data(np.ones(cols, np.float32) if kind is None else blocks(rng, rows, cols, kind))
    w.close()


if __name__ == "__main__":
    main()
