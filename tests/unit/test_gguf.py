"""Reading GGUF headers, and saying what else a file is."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import llama_cpp
import pytest
from gguf import GGML_QUANT_SIZES, LlamaFileType
from hypothesis import given, settings
from hypothesis import strategies as st

from llamachat.errors import ModelError
from llamachat.hub.estimate import Estimate, default_kv_park, estimate
from llamachat.hub.gguf import TYPE_SIZES, SkippedArray, open_header, read_header
from llamachat.hub.quants import FILE_TYPES
from tests.gguf_files import LLAMA, gguf


class ForwardOnly(io.RawIOBase):
    """A stream that gives a few bytes at a time and can't go back."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(7)

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize("version", [2, 3])
def test_reads_metadata_and_tensors(version: int) -> None:
    header = read_header(io.BytesIO(gguf(version=version, shapes=((64, 32), (5,)))))
    assert (header.version, header.architecture, header.name) == (version, "llama", "Tiny")
    assert header.n_ctx_train == 512
    assert header.chat_template == "{{ messages }}"
    assert [(t.name, t.shape, t.n_bytes) for t in header.tensors] == [
        ("blk.0.weight", (64, 32), 8192),
        ("blk.1.weight", (5,), 20),
    ]
    assert header.weight_bytes == 8212


def test_reads_from_a_stream_that_only_moves_forward() -> None:
    assert read_header(ForwardOnly(gguf())).architecture == "llama"  # type: ignore[arg-type]


def test_long_arrays_are_counted_and_short_ones_kept() -> None:
    tokens = [f"token{n}" for n in range(5000)]
    metadata = {
        **LLAMA,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": range(5000),
        "few": ["a", "b"],
    }
    header = read_header(io.BytesIO(gguf(metadata)))
    assert header.metadata["tokenizer.ggml.tokens"] == SkippedArray(5000)
    assert header.metadata["tokenizer.ggml.token_type"] == SkippedArray(5000)
    assert header.metadata["few"] == ("a", "b")
    assert header.n_vocab == 5000


def test_the_real_model_is_read_whole(small_model: Path) -> None:
    header = open_header(small_model)
    assert header.file_size == small_model.stat().st_size
    assert (header.architecture, header.n_ctx_train, header.n_vocab) == ("llama", 8192, 49152)


def test_memory_is_weights_cache_and_buffers() -> None:
    parts = estimate(read_header(io.BytesIO(gguf())), n_ctx=256)
    assert parts.weights == 64 * 32 * 4
    assert parts.kv_cache == 2 * 256 * 2 * (16 + 16) * 2  # layers × n_ctx × KV heads × (K + V) × float16
    assert parts.total == parts.weights + parts.kv_cache + parts.buffers


def test_layers_without_a_cache_take_none() -> None:
    hybrid = {**LLAMA, "llama.attention.head_count_kv": [0, 2]}
    parts = estimate(read_header(io.BytesIO(gguf(hybrid))), n_ctx=256)
    assert parts.kv_cache == 256 * 2 * (16 + 16) * 2


def test_parked_conversations_get_a_quarter_of_what_the_model_leaves_free() -> None:
    need = Estimate(weights=600, kv_cache=150, buffers=50)
    assert default_kv_park(need, available=1000) == 50
    assert default_kv_park(need, available=700) == 0


def _claim(n_tensors: int, n_metadata: int, *values: int) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_metadata)
    return head + struct.pack("<Q", 1) + b"a" + struct.pack(f"<{'IIQ' * (len(values) // 3)}", *values)


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (_claim(1, 1, 9, 9, 1), "a list of 1 lists"),
        (_claim(1, 1, 9, 10, 1 << 62), "a list of .* values"),
        (_claim(1 << 60, 0), "declares .* tensors"),
        (_claim(0, 1 << 60), "declares .* entries"),
    ],
)
def test_a_claim_that_no_model_makes_is_refused(claim: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=f"damaged: it .*{words}"):
        read_header(io.BytesIO(claim + b"\0" * 1000))


def test_lists_that_are_too_long_for_a_header_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    with path.open("wb") as file:
        file.write(_claim(1, 1, 9, 10, 1 << 26))
        file.truncate(1 << 30)
    with pytest.raises(ModelError, match="header is longer than"):
        open_header(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\0" * 600, "only zeros"),
        (b"<!DOCTYPE html><html><head>", "HTML page"),
        (b"\n\n<html>", "HTML page"),
        (b'{"error":"Repository not found"}', "JSON"),
        (b'\x40\0\0\0\0\0\0\0{"__metadata__":{}}', "safetensors"),
        (b"PK\x03\x04\x00\x00", "zip archive or a PyTorch"),
        (b"\x80\x02}q\x00", "PyTorch"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git-lfs pointer"),
        (b"tjgg\x03\0\0\0", "older format"),
        (b"\x1f\x8b\x08", "archive"),
        (b"hello world", "begins with b'hello wo'"),
    ],
)
def test_says_what_else_a_file_is(content: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read_header(io.BytesIO(content), "it.gguf")


def test_big_endian_and_unknown_versions_are_named() -> None:
    with pytest.raises(ModelError, match="big-endian"):
        read_header(io.BytesIO(gguf(order=">")))
    with pytest.raises(ModelError, match="version 9"):
        read_header(io.BytesIO(gguf(version=9)))


def test_a_truncated_file_is_named_with_both_sizes(tmp_path: Path) -> None:
    whole = gguf()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[:-100])
    with pytest.raises(
        ModelError, match=f"truncated: it has {len(whole) - 100:,} of at least {len(whole):,} bytes"
    ):
        open_header(path)


def test_a_type_that_is_not_known_takes_the_room_up_to_the_next_tensor(tmp_path: Path) -> None:
    """A newer llama.cpp has more types; their weights count all the same."""
    path = tmp_path / "new.gguf"
    path.write_bytes(gguf(shapes=((64, 32), (64, 2), (64, 16)), types=(0, 0, 0)))
    whole = open_header(path)
    for newer in ((999, 0, 0), (0, 999, 0), (0, 0, 999), (999, 999, 999)):
        path.write_bytes(gguf(shapes=((64, 32), (64, 2), (64, 16)), types=newer))
        assert open_header(path).weight_bytes == whole.weight_bytes == 64 * (32 + 2 + 16) * 4


def test_sizes_of_types_are_those_of_the_gguf_package() -> None:
    assert {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}.items() <= TYPE_SIZES.items()


def test_names_of_file_types_are_those_of_the_gguf_package_and_the_engine() -> None:
    package = {kind.value: kind.name for kind in LlamaFileType}
    engine = {value: name for name, value in vars(llama_cpp).items() if name.startswith("LLAMA_FTYPE_")}
    for known in (package, engine):
        bare = {
            value: re.sub("^(LLAMA_FTYPE_)?(MOSTLY|ALL)_|_MOE$", "", name) for value, name in known.items()
        }
        del bare[1024]  # GUESSED
        assert bare.items() <= FILE_TYPES.items()
    assert set(FILE_TYPES) <= {*package, *engine}


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=len(gguf()) - 1))
def test_every_cut_is_found(size: int) -> None:
    data = gguf()[:size]
    try:
        header = read_header(io.BytesIO(data))
    except ModelError:
        return
    assert size < header.file_size


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_noise_after_the_magic_never_crashes(noise: bytes) -> None:
    with pytest.raises(ModelError):
        read_header(io.BytesIO(b"GGUF\x03\0\0\0\x01" + noise[:7] + b"\x01" + noise))
