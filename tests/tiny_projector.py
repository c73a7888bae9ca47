"""A projector for pictures with random weights: the path is real, what the model sees is not."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

SIZE, PATCH, WIDTH = 56, 14, 64
TOKENS = (SIZE // PATCH) ** 2
"""Of one picture."""


def write(path: Path, n_embd: int) -> Path:
    """A ViT of two layers, and LLaVA's projector into a model of `n_embd`."""
    draw = np.random.default_rng(7)

    def random(*shape: int) -> np.ndarray:
        return (draw.standard_normal(shape) * 0.02).astype(np.float32)

    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    sizes = {
        "image_size": SIZE,
        "patch_size": PATCH,
        "embedding_length": WIDTH,
        "feed_forward_length": WIDTH,
        "projection_dim": n_embd,
        "block_count": 2,
        "attention.head_count": 2,
    }
    for name, value in sizes.items():
        writer.add_uint32(f"clip.vision.{name}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for name in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{name}", [0.5, 0.5, 0.5])
    tensors = {
        "v.patch_embd.weight": random(WIDTH, 3, PATCH, PATCH),
        "v.position_embd.weight": random(TOKENS, WIDTH),
        "v.pre_ln.weight": np.ones(WIDTH, np.float32),
        "v.pre_ln.bias": np.zeros(WIDTH, np.float32),
        "mm.0.weight": random(WIDTH, WIDTH),
        "mm.0.bias": random(WIDTH),
        "mm.2.weight": random(n_embd, WIDTH),
        "mm.2.bias": random(n_embd),
    }
    for block in ("v.blk.0", "v.blk.1"):
        for name in ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down"):
            tensors[f"{block}.{name}.weight"] = random(WIDTH, WIDTH)
            tensors[f"{block}.{name}.bias"] = random(WIDTH)
        for name in ("ln1", "ln2"):
            tensors[f"{block}.{name}.weight"] = np.ones(WIDTH, np.float32)
            tensors[f"{block}.{name}.bias"] = np.zeros(WIDTH, np.float32)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def png(colour: tuple[int, int, int]) -> bytes:
    """A picture of one colour."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 32
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(colour) * side) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
