"""The record of what has arrived of a file, in an append-only text next to it.

The first line names the file (`Identity`) and the start of this computer, then each line is one of

    + START END        these bytes were written
    = START-END …      these bytes, and no others for sure, were on the disk itself (fsync)

A line is written after its bytes. After kill -9 the system still holds what was written, so the `+` lines
count; after a restart of the computer only the last `=` line does. A torn last line is ignored.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from llamachat.hub.spans import Span, merge, total

BOOT_TOLERANCE = 120.0  # seconds; the start time is derived from a clock that may be set


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file must be to be the same file: `sha256` or, where the server has none, its `etag`."""

    size: int
    sha256: str | None = None
    etag: str | None = None


class Journal:
    """Opened for one download at a time (the caller holds the lock)."""

    def __init__(self, path: Path, identity: Identity, boot_time: float) -> None:
        self._path = path
        self._identity = identity
        self._boot_time = boot_time
        self._file: BinaryIO | None = None
        self.changed = False
        self.done: list[Span] = []

    def open(self) -> None:
        """Read what is there and write it anew, compact.

        Sets `changed` where the record is that of another file, which then counts for nothing.
        """
        lines = self._lines()
        header = _header(lines[0]) if lines else {}
        if header and header.get("identity") != asdict(self._identity):
            self.changed = True
        elif header:
            same_boot = abs(float(str(header.get("boot", 0))) - self._boot_time) < BOOT_TOLERANCE
            written, durable = _read(lines[1:])
            self.done = merge([*written, *durable]) if same_boot else durable
            self._rewrite(durable)
            return
        self._rewrite([])

    def add(self, span: Span) -> None:
        assert self._file
        self._file.write(b"+ %d %d\n" % span)

    def mark_durable(self, done: list[Span]) -> None:
        """Note that these bytes have survived an fsync."""
        assert self._file
        self._file.write(_durable(done))

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)

    def _lines(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return self._path.read_text("ascii", "replace").split("\n")[:-1]
        return []

    def _rewrite(self, durable: list[Span]) -> None:
        header = json.dumps({"identity": asdict(self._identity), "boot": self._boot_time})
        fresh = self._path.with_name(self._path.name + ".new")
        with fresh.open("wb") as file:
            file.write(header.encode() + b"\n")
            file.write(b"".join(b"+ %d %d\n" % span for span in self.done) + _durable(durable))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        self._file = self._path.open("ab", buffering=0)


def _durable(done: list[Span]) -> bytes:
    return b"= " + b" ".join(b"%d-%d" % span for span in done) + b"\n"


def _header(line: str) -> dict[str, object]:
    with contextlib.suppress(json.JSONDecodeError, RecursionError):
        header = json.loads(line)
        if isinstance(header, dict):
            return header
    return {}


def _read(lines: list[str]) -> tuple[list[Span], list[Span]]:
    """What was written, and what was durable."""
    written: list[Span] = []
    durable: list[Span] = []
    with contextlib.suppress(ValueError):
        for line in lines:
            kind, _, rest = line.partition(" ")
            if kind == "+":
                start, end = map(int, rest.split())
                written.append((start, end))
            elif kind == "=":
                pairs = (pair.split("-") for pair in rest.split())
                durable = [(int(start), int(end)) for start, end in pairs]
    return merge(written), merge(durable)


def read_identity(path: Path) -> Identity | None:
    """Of which file a journal keeps the record, None where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        identity = _header(path.read_text("ascii", "replace").split("\n")[0]).get("identity")
        found = Identity(**identity) if isinstance(identity, dict) else None
        return found if found and isinstance(found.size, int) else None
    return None


def read_progress(path: Path) -> int:
    """How many bytes have arrived, by the journal alone."""
    with contextlib.suppress(OSError):
        lines = path.read_text("ascii", "replace").split("\n")[:-1]
        return total(_read(lines[1:])[0])
    return 0
