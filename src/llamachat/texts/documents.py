"""Files as text (plain in any common encoding, HTML, subtitles, PDF, DOCX), and pictures as data URLs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from llamachat.core import pictures
from llamachat.errors import UsageError
from llamachat.language import _, reason
from llamachat.texts import encodings

MOST_BYTES = 64 * 2**20


def read_text(path: Path) -> str:
    """The text of a file. Raises UsageError if it can't be read, or is not a text."""
    return text_of(path, read_bytes(path))


def text_of(path: Path, data: bytes) -> str:
    """The text of a file's bytes; its kind is known by the name's ending. Raises UsageError."""
    convert = _CONVERTERS.get(path.suffix.lower())
    if convert is None and data.startswith(b"%PDF-"):
        convert = _pdf
    if convert is not None:
        return convert(path, data)
    return _plain(path, data)


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    try:
        if not path.is_file():
            raise UsageError(
                _("{path} is not a file.").format(path=path)
                if path.exists()
                else _("There is no file {path}.").format(path=path)
            )
        if path.stat().st_size > most:
            raise UsageError(_("{path} is larger than {most} MiB.").format(path=path, most=most // 2**20))
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            _("{path} can't be read: {reason}.").format(path=path, reason=reason(error))
        ) from error


def picture_url(data: bytes, name: str) -> str:
    """A picture as a `data:` URL. Raises UsageError if the bytes are not a picture that models take."""
    if len(data) > pictures.MOST_BYTES:
        raise UsageError(
            _("{name} is larger than {most} MiB.").format(name=name, most=pictures.MOST_BYTES // 2**20),
            _("Make it smaller."),
        )
    kind = pictures.kind_of(data)
    if kind is None and pictures.is_webp(data):
        raise UsageError(
            _("{name} is a WebP picture, which the engine can't read.").format(name=name),
            _("Convert it to PNG or JPEG."),
        )
    if kind is None:
        raise UsageError(
            _("{name} is not a picture.").format(name=name), _("PNG, JPEG, GIF and BMP can be sent.")
        )
    return pictures.to_url(data, kind)


def _plain(path: Path, data: bytes) -> str:
    text = encodings.decode(data)
    if text is None:
        raise UsageError(_("{path} is not a text file.").format(path=path))
    return text


def _library(name: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            _("Reading {path} needs the package {name}.").format(path=path, name=name),
            _("Install it with: pip install 'llamachat[files]'"),
        ) from error


def _pdf(path: Path, data: bytes) -> str:
    import io

    pypdf: Any = _library("pypdf", path)
    try:
        pages = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages]
    except Exception as error:
        raise UsageError(
            _("{path} is not a PDF that can be read: {error}.").format(path=path, error=error)
        ) from error
    text = "\n\n".join(pages)
    if not text.strip():
        raise UsageError(
            _("{path} holds no text.").format(path=path),
            _("It may be a scan: send its pages as pictures with -a."),
        )
    return text


def _docx(path: Path, data: bytes) -> str:
    import io

    mammoth: Any = _library("mammoth", path)
    try:
        return str(mammoth.extract_raw_text(io.BytesIO(data)).value)
    except Exception as error:
        raise UsageError(
            _("{path} is not a Word document that can be read: {error}.").format(path=path, error=error)
        ) from error


def _html(path: Path, data: bytes) -> str:
    bs4: Any = _library("bs4", path)
    markdownify: Any = _library("markdownify", path)
    soup = bs4.BeautifulSoup(_plain(path, data), "html.parser")
    for tag in soup(["script", "style", "head", "title", "img"]):
        tag.decompose()
    return str(markdownify.MarkdownConverter(heading_style="atx").convert_soup(soup)).strip()


def _subtitles(path: Path, data: bytes) -> str:
    pysubs2: Any = _library("pysubs2", path)
    try:
        lines = pysubs2.SSAFile.from_string(_plain(path, data))
    except Exception as error:
        raise UsageError(
            _("{path} is not a subtitle file that can be read: {error}.").format(path=path, error=error)
        ) from error
    return "\n".join(line.plaintext for line in lines)


_CONVERTERS: Mapping[str, Callable[[Path, bytes], str]] = {
    ".pdf": _pdf,
    ".docx": _docx,
    ".html": _html,
    ".htm": _html,
    ".srt": _subtitles,
    ".vtt": _subtitles,
    ".ass": _subtitles,
}
