"""What counts as a picture: the formats that llama.cpp reads, known by their first bytes."""

from __future__ import annotations

import base64
import binascii

MOST_BYTES = 20 * 2**20
FORMATS = "PNG, JPEG, GIF, BMP"
_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


def kind_of(data: bytes) -> str | None:
    """The media type, None for anything else."""
    if data[:2] == b"BM" and data[6:10] == bytes(4):  # two letters alone also begin texts
        return "image/bmp"
    return next((kind for mark, kind in _MARKS if data.startswith(mark)), None)


def is_webp(data: bytes) -> bool:
    """A picture, too, but none that llama.cpp reads."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def is_picture(data: bytes) -> bool:
    """Also one that llama.cpp can't read, which is refused by name."""
    return kind_of(data) is not None or is_webp(data)


def to_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def from_url(url: str) -> bytes | None:
    """The bytes of a `data:` URL in base64, None for any other."""
    head, _, data = url.partition(";base64,")
    try:
        return base64.b64decode(data, validate=True) if head.startswith("data:") else None
    except (binascii.Error, ValueError):
        return None
