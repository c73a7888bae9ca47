"""Pictures in prompts, through llama.cpp's mtmd.

The library's handlers clear the cache at each request, compute beside the model's thread, and read what
users type with control tokens on. Here a message's picture becomes a mark in its text, and the mark a run of
ids below zero, made from the picture's bytes. So a prompt with pictures is counted, found in the cache and
held to a schema as any other, and only where its ids are read is the picture encoded.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llama_cpp
import llama_cpp.mtmd_cpp as mtmd

from llamachat.core import pictures
from llamachat.engine.failures import Refused
from llamachat.errors import ServerError

if TYPE_CHECKING:
    from llamachat.engine.engine import Engine

MOST_KEPT = 32
"""Pictures whose pixels are kept, prepared for the encoder: some MB each."""
_MARK = re.compile(rb"<__picture_([0-9a-f]{32})__>")


@dataclass(frozen=True, slots=True)
class Piece:
    """A picture or a tile of it as mtmd has it: `positions` in the context, all under one `id` below zero."""

    id: int
    positions: int
    chunk: Any


@dataclass(frozen=True, slots=True)
class Picture:
    """`pieces` in order: what is encoded, and tokens of text that the model wants between them."""

    pieces: Sequence[Piece | list[int]]

    @property
    def ids(self) -> list[int]:
        ids: list[int] = []
        for piece in self.pieces:
            ids += [piece.id] * piece.positions if isinstance(piece, Piece) else piece
        return ids


class Pictures:
    """What a projector file makes of pictures. Raises ServerError if it does not fit the model."""

    def __init__(self, path: str, engine: Engine) -> None:
        settings = mtmd.mtmd_context_params_default()
        settings.use_gpu = engine.model_params.n_gpu_layers != 0
        settings.print_timings = settings.warmup = False
        settings.n_threads = engine.n_threads
        settings.flash_attn_type = engine.context_params.flash_attn_type
        self._context = mtmd.mtmd_init_from_file(path.encode(), engine.model, settings)
        if self._context is None or not mtmd.mtmd_support_vision(self._context):
            raise ServerError(
                f"The projector {Path(path).name} does not fit this model.", "Name its own with --mmproj."
            )
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Picture] = OrderedDict()
        engine._stack.callback(self.close)

    def close(self) -> None:
        for picture in self._known.values():
            _free(picture)
        self._known.clear()
        mtmd.mtmd_free(self._context)

    def put(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The messages with a mark for each picture. Raises Refused for what can't be read as one."""
        return [
            {**message, "content": self._text(message["content"], f"messages[{index}]")}
            for index, message in enumerate(messages)
        ]

    def _text(self, content: Any, where: str) -> Any:
        if not isinstance(content, list):
            return content
        return "\n".join(self._part(part, where) for part in content)

    def _part(self, part: Any, where: str) -> str:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            return str(part.get("text", ""))
        if kind != "image_url":
            raise Refused(400, f"{where} has a part of the type {kind!r}.", param=where)
        url = part["image_url"]
        data = pictures.from_url(str(url["url"] if isinstance(url, dict) else url))
        if data is None:
            raise Refused(
                400,
                "A picture must be sent as a data: URL in base64; the server fetches no addresses.",
                param=where,
            )
        if len(data) > pictures.MOST_BYTES or pictures.kind_of(data) is None:
            limit = f"{pictures.MOST_BYTES // 2**20} MiB"
            raise Refused(400, f"A picture must be one of {pictures.FORMATS}, up to {limit}.", param=where)
        key = hashlib.sha256(data).hexdigest()[:32].encode()
        with self._lock:
            if key not in self._known:
                self._keep(key, self._prepared(key, data, where))
            self._known.move_to_end(key)
        return f"<__picture_{key.decode()}__>"

    def _keep(self, key: bytes, picture: Picture) -> None:
        self._known[key] = picture
        if len(self._known) > MOST_KEPT:
            _free(self._known.popitem(last=False)[1])

    def _prepared(self, key: bytes, data: bytes, where: str) -> Picture:
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        bitmap = mtmd.mtmd_helper_bitmap_init_from_buf(self._context, buffer, len(data), False)
        if bitmap is None:
            raise Refused(400, "A picture is damaged: it can't be decoded.", param=where)
        chunks = mtmd.mtmd_input_chunks_init()
        try:
            text = mtmd.mtmd_input_text()
            marker = mtmd.mtmd_default_marker()
            text.text, text.text_len, text.add_special, text.parse_special = marker, len(marker), False, True
            bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
            if mtmd.mtmd_tokenize(self._context, chunks, ctypes.byref(text), bitmaps, 1):
                raise Refused(400, "A picture can't be prepared for this model.", param=where)
            count = mtmd.mtmd_input_chunks_size(chunks)
            found = (mtmd.mtmd_input_chunks_get(chunks, i) for i in range(count))
            return Picture([_piece(key, i, chunk) for i, chunk in enumerate(found)])
        finally:
            mtmd.mtmd_input_chunks_free(chunks)
            mtmd.mtmd_bitmap_free(bitmap)

    def are_in(self, prompt: bytes) -> bool:
        return _MARK.search(prompt) is not None

    def split(self, prompt: bytes) -> Iterator[bytes | list[int]]:
        """Text as it is, and the ids of pictures; a mark of an unknown one is text."""
        for index, part in enumerate(_MARK.split(prompt)):
            picture = self._known.get(part) if index % 2 else None
            yield picture.ids if picture else b"<__picture_%s__>" % part if index % 2 else part

    def runs(self, tokens: Sequence[int]) -> Iterator[tuple[Sequence[int], Piece | None]]:
        """`tokens` cut where pictures begin and end."""
        at = 0
        while at < len(tokens):
            end = at + 1
            if tokens[at] < 0:
                piece = self._piece(tokens[at])
                end = at + piece.positions
                yield tokens[at:end], piece
            else:
                while end < len(tokens) and tokens[end] >= 0:
                    end += 1
                yield tokens[at:end], None
            at = end

    def _piece(self, wanted: int) -> Piece:
        with self._lock:
            for picture in reversed(self._known.values()):
                for piece in picture.pieces:
                    if isinstance(piece, Piece) and piece.id == wanted:
                        return piece
        raise Refused(503, "Too many pictures at once.", retry_after=1)

    def read(self, engine: Engine, piece: Piece) -> bool:
        """Encode it, and decode it behind what the engine has read; False if that was stopped."""
        end = llama_cpp.llama_pos(0)
        status = mtmd.mtmd_helper_eval_chunk_single(
            self._context,
            engine.ctx,
            piece.chunk,
            engine.n_tokens,
            engine.seq,
            engine.n_batch,
            False,
            ctypes.byref(end),
        )
        return bool(status == 0)


def _piece(key: bytes, index: int, chunk: Any) -> Piece | list[int]:
    if mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
        count = ctypes.c_size_t()
        tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
        return [tokens[i] for i in range(count.value)]
    digest = hashlib.sha256(b"%s %d" % (key, index)).digest()
    below_zero = -1 - int.from_bytes(digest[:4], "big") % (2**31 - 1)
    return Piece(below_zero, mtmd.mtmd_input_chunk_get_n_pos(chunk), mtmd.mtmd_input_chunk_copy(chunk))


def _free(picture: Picture) -> None:
    for piece in picture.pieces:
        if isinstance(piece, Piece):
            mtmd.mtmd_input_chunk_free(piece.chunk)
