"""/file: text from a file that goes out with the next message."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from llamachat.chat.session import Session
from llamachat.core.conversation import Message
from llamachat.errors import UsageError

_RANGE = re.compile(r"(?P<path>.+?):(?P<first>\d+)(?:-(?P<last>\d*))?\Z")
_MOST_BYTES = 4 * 1024 * 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\r\f\x1b\b"))


def file(session: Session, argument: str) -> None:
    path, first, last = _parse(argument)
    text = decode(_read(path), path)
    if first is not None:
        lines = text.splitlines()
        if not 1 <= first <= len(lines) or (last is not None and last < first):
            raise UsageError(f"{path} has the lines 1 to {len(lines)}.")
        text = "\n".join(lines[first - 1 : last])
    where = path.name if first is None else f"{path.name}, lines {first} to {last or 'the end'}"
    session.attached.append(_quote(where, path.suffix.removeprefix("."), text))
    count = session.context.counter.message(Message("user", session.attached[-1]))
    session.terminal.notice(
        f"{where}: {len(text)} characters, about {count} tokens, go out with the next message."
    )


def decode(data: bytes, path: Path) -> str:
    """The text of `data`. UsageError where it is none: it has bytes that no text has."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if data.translate(None, _CONTROLS) != data:
        raise UsageError(f"{path} is not a text file.")
    for encoding in ("utf-8", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _parse(argument: str) -> tuple[Path, int | None, int | None]:
    """The path and the first and last line, None where all are meant."""
    name = argument.strip("\"'") if argument[:1] in "\"'" else argument
    if not name:
        raise UsageError("Which file?", "/file PATH or /file PATH:10-20")
    match = _RANGE.match(name)
    if match is None or Path(name).expanduser().exists():
        return Path(name).expanduser(), None, None
    first = int(match["first"])
    last = first if match["last"] is None else int(match["last"]) if match["last"] else None
    return Path(match["path"].strip("\"'")).expanduser(), first, last


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UsageError(f"{path} is no file." if path.exists() else f"There is no file {path}.")
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(
                f"{path} is larger than {_MOST_BYTES // 2**20} MiB.", "Attach lines of a smaller copy."
            )
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.") from error


def _quote(where: str, language: str, text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{where}:\n{fence}{language}\n{text.rstrip()}\n{fence}"
