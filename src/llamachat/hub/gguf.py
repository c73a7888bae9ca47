"""Read the header of a GGUF file.

The format is that of ggml's docs/gguf.md, versions 2 and 3, little endian.
"""

from __future__ import annotations

import itertools
import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from llamachat.errors import ModelError
from llamachat.hub import file_check
from llamachat.language import _, reason

MAGIC = b"GGUF"
CHUNK = 1 << 20
LONG_ARRAY = 4096  # longer arrays (a vocabulary, its merges) are skipped
LONGEST_STRING = 1 << 26
HEADER_LIMIT = 1 << 27  # vocabularies of 256,000 tokens take 16 MB
MOST_ENTRIES = 1 << 20

_STRING, _ARRAY = 8, 9
_length_at = struct.Struct("<Q").unpack_from
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


# ggml_type: (values in a block, bytes of a block), as in gguf-py's GGML_QUANT_SIZES; a test compares them.
TYPE_SIZES = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
    22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
    40: (64, 36), 41: (128, 18), 42: (64, 18),
}  # fmt: skip


class TruncatedHeader(ModelError):
    """The file ends before its header does."""


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """A long array of which only the length was kept."""

    length: int


Value = int | float | bool | str | tuple["Value", ...] | SkippedArray


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor; `offset` counts from the header's `data_offset`, `n_bytes` is its size in the file.

    The size of a type that is newer than this program is the room up to the next tensor.
    """

    name: str
    shape: tuple[int, ...]
    ggml_type: int
    offset: int
    n_bytes: int

    @property
    def n_values(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What comes before the weights."""

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
    def makes_embeddings(self) -> bool:
        """A model whose outputs are vectors of whole texts and not the next token."""
        pooled = self.hyperparameter("pooling_type")
        return bool(pooled) or self.architecture.endswith(("bert", "bert-v2", "bert-moe", "embedding"))

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
        """`<architecture>.<name>` as an int; the largest if there is one for each layer."""
        return max(self.by_layer(name), default=None)

    def by_layer(self, name: str) -> tuple[int, ...]:
        """`<architecture>.<name>` of each layer, or the one value for all of them; empty without it."""
        value = self.metadata.get(f"{self.architecture}.{name}")
        values = value if isinstance(value, tuple) else (value,)
        return tuple(number for number in values if isinstance(number, int))


def read_header(file: BinaryIO, source: str = "", size: int = 0) -> GGUFHeader:
    """Read from the start of `file`, which may be forward-only.

    `source` is the name to use in messages; `size` is that of the whole file, 0 if it is not known. Raises
    TruncatedHeader if the file is too short, ModelError if it is not a GGUF file or is damaged.
    """
    source = source or str(getattr(file, "name", _("the file")))
    reader = _Reader(file, source)
    head = reader.peek(512)
    if head[:4] != MAGIC:
        raise ModelError(
            _("{source} is not a GGUF file: {describe}.").format(
                source=source, describe=file_check.describe(head)
            ),
            _(file_check.HINT),
        )
    reader.skip(4)
    version = reader.scalar("I")
    if version not in (2, 3):
        raise ModelError(
            _("{source}: {reason}.").format(source=source, reason=_explain_version(version)),
            _("Look for another conversion."),
        )
    n_tensors, n_metadata = reader.count(_("tensors")), reader.count(_("entries"))
    metadata = {reader.string(): reader.value(reader.scalar("I")) for _ in range(n_metadata)}
    tensors = [_read_tensor(reader) for _ in range(n_tensors)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise reader.broken(_("its alignment is not a number"))
    data_offset = -(-reader.position // alignment) * alignment
    return GGUFHeader(version, metadata, _sized(tensors, size - data_offset), data_offset)


def _sized(tensors: Sequence[TensorInfo], data_bytes: int) -> tuple[TensorInfo, ...]:
    """Give the tensors of an unknown type the room up to the next one, or to the end if that is known."""
    starts = sorted({tensor.offset for tensor in tensors} | {max(data_bytes, 0)})
    room = {start: end - start for start, end in itertools.pairwise(starts)}
    return tuple(
        tensor if tensor.ggml_type in TYPE_SIZES else replace(tensor, n_bytes=room.get(tensor.offset, 0))
        for tensor in tensors
    )


def open_header(path: Path) -> GGUFHeader:
    """Read the header of the file at `path`, after checking that it is a file, and not truncated."""
    file_check.check_is_file(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = read_header(file, str(path), size)
    except OSError as error:
        raise ModelError(
            _("{path} can't be read: {reason}.").format(path=path, reason=reason(error))
        ) from error
    if size < header.file_size:
        raise ModelError(
            _("{path} is truncated: it has {size:,} of at least {file_size:,} bytes.").format(
                path=path, size=size, file_size=header.file_size
            ),
            _(file_check.HINT),
        )
    return header


def _explain_version(version: int) -> str:
    if version & 0xFFFF == 0:
        return _("a big-endian GGUF file, which this computer can't run")
    return _("GGUF version {version}, and only 2 and 3 are supported").format(version=version)


def _read_tensor(reader: _Reader) -> TensorInfo:
    name = reader.string()
    n_dims = reader.scalar("I")
    if n_dims > 8:
        raise reader.broken(_("tensor {name!r} has {n_dims} dimensions").format(name=name, n_dims=n_dims))
    shape = tuple(reader.scalar("Q") for _ in range(n_dims))
    ggml_type, offset = reader.scalar("I"), reader.scalar("Q")
    block, n_bytes = TYPE_SIZES.get(ggml_type, (1, 0))
    return TensorInfo(name, shape, ggml_type, offset, math.prod(shape) // block * n_bytes)


class _Reader:
    """Reads scalars, strings and lists from a stream that only ever moves forward."""

    def __init__(self, file: BinaryIO, source: str) -> None:
        self._file = file
        self._source = source
        self._buffer = b""
        self._at = 0
        self._before = 0

    @property
    def position(self) -> int:
        return self._before + self._at

    def broken(self, why: str) -> ModelError:
        return ModelError(
            _("{source} is damaged: {why}.").format(source=self._source, why=why), _(file_check.HINT)
        )

    def peek(self, n_bytes: int) -> bytes:
        """Up to `n_bytes` of what comes next, fewer only at the end."""
        while len(self._buffer) - self._at < n_bytes:
            more = self._file.read(max(CHUNK, n_bytes))
            if not more:
                break
            self._before += self._at
            self._buffer, self._at = self._buffer[self._at :] + more, 0
            if self._before > HEADER_LIMIT:
                raise self.broken(
                    _("its header is longer than {header_limit:,} bytes").format(header_limit=HEADER_LIMIT)
                )
        return self._buffer[self._at : self._at + n_bytes]

    def skip(self, n_bytes: int) -> None:
        self.take(n_bytes)

    def take(self, n_bytes: int) -> bytes:
        """Exactly `n_bytes`."""
        taken = self.peek(n_bytes)
        if len(taken) < n_bytes:
            raise TruncatedHeader(
                _("{source} is truncated: it ends within its header, at byte {position:,}.").format(
                    source=self._source, position=self.position + len(taken)
                ),
                _(file_check.HINT),
            )
        self._at += n_bytes
        return taken

    def scalar(self, code: str) -> int:
        """One little-endian integer of struct's format `code`."""
        (number,) = struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))
        return int(number)

    def string(self) -> str:
        return self.take(self._string_length()).decode("utf-8", "replace")

    def _string_length(self) -> int:
        length = self.scalar("Q")
        if length > LONGEST_STRING:
            raise self.broken(_("it declares a text of {length:,} bytes").format(length=length))
        return length

    def value(self, kind: int) -> Value:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self._array(self.scalar("I"), self.scalar("Q"))
        return self._numbers(kind, 1)[0]

    def _numbers(self, kind: int, count: int) -> tuple[Value, ...]:
        if kind not in _SCALARS:
            raise self.broken(_("it has a value of unknown type {kind}").format(kind=kind))
        layout = f"<{count}{_SCALARS[kind]}"
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def count(self, what: str) -> int:
        """The number of `what` that follow."""
        number = self.scalar("Q")
        if number > MOST_ENTRIES:
            raise self.broken(_("it declares {number:,} {what}").format(number=number, what=what))
        return number

    def _array(self, kind: int, count: int) -> Value:
        """llama.cpp does not read lists of lists."""
        if count > HEADER_LIMIT or kind == _ARRAY:
            raise self.broken(
                _("it declares a list of {count:,} {what}").format(
                    count=count, what=_("lists") if kind == _ARRAY else _("values")
                )
            )
        if count > LONG_ARRAY:
            self._skip_array(kind, count)
            return SkippedArray(count)
        if kind == _STRING:
            return tuple(self.string() for _ in range(count))
        return self._numbers(kind, count)

    def _skip_array(self, kind: int, count: int) -> None:
        while count > 0 and kind == _STRING:
            count -= self._skip_strings(count)
        while count > 0:
            self._numbers(kind, min(count, LONG_ARRAY))
            count -= LONG_ARRAY

    def _skip_strings(self, count: int) -> int:
        """Pass over those of `count` strings that the buffer has whole, and one more; returns the number.

        A vocabulary and its merges are 400,000: one call for each would delay every start.
        """
        buffer, at, passed = self._buffer, self._at, 0
        end = at
        while passed < count and end + 8 <= len(buffer):
            end += 8 + _length_at(buffer, end)[0]
            if end > len(buffer):
                break
            at = end
            passed += 1
        self._at = at
        if passed < count:
            self.take(self._string_length())
            passed += 1
        return passed
