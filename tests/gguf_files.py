"""Write small GGUF files: a header with metadata and tensors, and zeros as weights."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

Metadata = Mapping[str, "str | int | Sequence[str] | Sequence[int]"]

LLAMA: Metadata = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "llama.context_length": 512,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.chat_template": "{{ messages }}",
}
F32 = 0


def gguf(
    metadata: Metadata = LLAMA,
    shapes: Sequence[Sequence[int]] = ((64, 32),),
    version: int = 3,
    order: str = "<",
    types: Sequence[int] = (),
) -> bytes:
    """A whole file, weights in float32, whatever `types` the header says that they have."""
    parts = [b"GGUF", struct.pack(order + "IQQ", version, len(shapes), len(metadata))]
    for key, value in metadata.items():
        parts += [_text(key, order), _value(value, order)]
    offset = 0
    for index, shape in enumerate(shapes):
        dims = struct.pack(f"{order}I{len(shape)}Q", len(shape), *shape)
        parts += [
            _text(f"blk.{index}.weight", order),
            dims,
            struct.pack(order + "IQ", types[index] if types else F32, offset),
        ]
        offset += -(-_size(shape) // 32) * 32
    head = b"".join(parts)
    padding = -len(head) % 32 if shapes else 0
    return head + b"\0" * (padding + sum(-(-_size(shape) // 32) * 32 for shape in shapes))


def _size(shape: Sequence[int]) -> int:
    values = 4
    for length in shape:
        values *= length
    return values


def _text(text: str, order: str) -> bytes:
    raw = text.encode()
    return struct.pack(order + "Q", len(raw)) + raw


def _value(value: str | int | Sequence[str] | Sequence[int], order: str) -> bytes:
    if isinstance(value, str):
        return struct.pack(order + "I", 8) + _text(value, order)
    if isinstance(value, int):
        return struct.pack(order + "II", 4, value)
    kind = 8 if value and isinstance(value[0], str) else 4
    items = (_text(v, order) if isinstance(v, str) else struct.pack(order + "I", v) for v in value)
    return struct.pack(order + "IIQ", 9, kind, len(value)) + b"".join(items)
