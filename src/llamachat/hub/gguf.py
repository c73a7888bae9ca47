"""Read the header of a GGUF file, and say what a file is that is none.

The format is that of ggml's docs/gguf.md, versions 2 and 3, little endian.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llamachat.errors import ModelError
from llamachat.hub import impostors
from llamachat.hub.gguf_reader import Reader, SkippedArray, Value

MAGIC = b"GGUF"

# ggml_type: (values in a block, bytes of a block), as in gguf-py's GGML_QUANT_SIZES.
TYPE_SIZES = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
    22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
    40: (64, 36), 41: (128, 18), 42: (64, 18),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor; `offset` counts from the header's `data_offset`."""

    name: str
    shape: tuple[int, ...]
    ggml_type: int
    offset: int

    @property
    def n_values(self) -> int:
        values = 1
        for length in self.shape:
            values *= length
        return values

    @property
    def n_bytes(self) -> int:
        """Bytes in the file; 0 for a type that is newer than this program."""
        block, size = TYPE_SIZES.get(self.ggml_type, (1, 0))
        return self.n_values // block * size


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What stands before the weights."""

    version: int
    metadata: dict[str, Value]
    tensors: tuple[TensorInfo, ...]
    data_offset: int

    @property
    def architecture(self) -> str:
        return self.text("general.architecture")

    @property
    def name(self) -> str:
        return self.text("general.name")

    @property
    def chat_template(self) -> str:
        return self.text("tokenizer.chat_template")

    @property
    def n_ctx_train(self) -> int | None:
        return self.hyperparameter("context_length")

    @property
    def n_vocab(self) -> int:
        tokens = self.metadata.get("tokenizer.ggml.tokens", ())
        return tokens.length if isinstance(tokens, SkippedArray) else len(tokens)  # type: ignore[arg-type]

    @property
    def weight_bytes(self) -> int:
        return sum(tensor.n_bytes for tensor in self.tensors)

    @property
    def file_size(self) -> int:
        """The smallest size that the whole file can have."""
        return max((self.data_offset + t.offset + t.n_bytes for t in self.tensors), default=0)

    def text(self, key: str) -> str:
        value = self.metadata.get(key, "")
        return value if isinstance(value, str) else ""

    def hyperparameter(self, name: str) -> int | None:
        """`<architecture>.<name>` as an int; the largest where the model gives one for each layer."""
        return max(self.by_layer(name), default=None)

    def by_layer(self, name: str) -> tuple[int, ...]:
        """`<architecture>.<name>` of each layer, or the one that is that of all; empty without it."""
        value = self.metadata.get(f"{self.architecture}.{name}")
        values = value if isinstance(value, tuple) else (value,)
        return tuple(number for number in values if isinstance(number, int))


def read_header(file: BinaryIO, source: str = "") -> GGUFHeader:
    """Read from the start of `file`, which may be forward-only (a download that has just begun).

    `source` is the name to use in messages. Raises ModelError for what is no GGUF, and for a header cut off.
    """
    source = source or str(getattr(file, "name", "the file"))
    reader = Reader(file, source)
    head = reader.peek(512)
    if head[:4] != MAGIC:
        raise ModelError(f"{source} is not a GGUF file: {impostors.describe(head)}.", impostors.HINT)
    reader.skip(4)
    version = reader.scalar("I")
    if version not in (2, 3):
        raise ModelError(f"{source}: {_explain_version(version)}.", "Look for another conversion.")
    n_tensors, n_metadata = reader.count("tensors"), reader.count("entries")
    metadata = {reader.string(): reader.value(reader.scalar("I")) for _ in range(n_metadata)}
    tensors = tuple(_read_tensor(reader) for _ in range(n_tensors))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise reader.broken("its alignment is no number")
    return GGUFHeader(version, metadata, tensors, -(-reader.position // alignment) * alignment)


def open_header(path: Path) -> GGUFHeader:
    """Read the header of the file at `path`, after checking that it is a file and that nothing is cut off."""
    impostors.check_is_file(path)
    try:
        with path.open("rb") as file:
            header = read_header(file, str(path))
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}.") from error
    if size < header.file_size:
        raise ModelError(
            f"{path} is cut off: it has {size:,} of at least {header.file_size:,} bytes.", impostors.HINT
        )
    return header


def _explain_version(version: int) -> str:
    if version & 0xFFFF == 0:
        return "a big-endian GGUF file, which this computer can't run"
    return f"GGUF version {version}, where this program knows 2 and 3"


def _read_tensor(reader: Reader) -> TensorInfo:
    name = reader.string()
    n_dims = reader.scalar("I")
    if n_dims > 8:
        raise reader.broken(f"tensor {name!r} has {n_dims} dimensions")
    shape = tuple(reader.scalar("Q") for _ in range(n_dims))
    return TensorInfo(name, shape, reader.scalar("I"), reader.scalar("Q"))
