"""KV states in files between two runs: written whole or not at all, read only where they fit.

A file is MAGIC, the length of a JSON header (4 bytes, little endian), the header, the tokens (int32, little
endian) and the state as llama.cpp gave it. The header has the key that says which model and settings the
state belongs to, both sizes, and the CRC-32 of what follows it. Nothing in it is ever unpickled or run.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import psutil

from llamachat.engine.kv_parked import Parked, State
from llamachat.engine.kv_plan import Tokens

MAGIC = b"LCKV\x00\x01\r\n"
SUFFIX = ".kv"
UNFINISHED = ".kv-unfinished"
UNFINISHED_SECONDS = 600
"""A file that was being written this long ago is a dead process's."""
MAX_BYTES = 1 << 30
MAX_FREE_SHARE = 0.1
CHUNK = 16 << 20
MAX_HEADER = 1 << 16

Key = Mapping[str, str]


class _Misfit(Exception):
    """A file that is damaged, or of a format or library that is not in use."""


@dataclass(frozen=True, slots=True)
class _Header:
    key: Key
    n_tokens: int
    n_state: int
    crc: int
    start: int

    @property
    def end(self) -> int:
        return self.start + 4 * self.n_tokens + self.n_state


class KeepFolder:
    """The states kept for `key`. Those of other models stay until the folder grows over its bound."""

    def __init__(self, folder: Path, key: Key, *, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self.key = dict(key)
        self.max_bytes = max_bytes

    def find(self) -> list[Parked]:
        """The sequences that fit here, oldest first; files that will fit nowhere any more are removed."""
        found = []
        for path in self._files():
            try:
                header, tokens = _read_tokens(path)
                if header.key.get("library") != self.key.get("library"):
                    raise _Misfit
                if header.key == self.key:
                    found.append(Parked(tokens, None, path))
            except (_Misfit, OSError):
                _remove(path)
        for path in self.folder.glob(f"*{UNFINISHED}"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - UNFINISHED_SECONDS:
                    _remove(path)
        return found

    def read(self, path: Path) -> State | None:
        """The state in a file of `find`; None, and the file gone, where it is damaged."""
        try:
            header, _ = _read_tokens(path)
            with path.open("rb") as file:
                file.seek(header.start)
                body = file.read(header.end - header.start)
            if header.key != self.key or zlib.crc32(body) != header.crc:
                raise _Misfit
        except (_Misfit, OSError):
            _remove(path)
            return None
        return np.frombuffer(body, np.uint8)[4 * header.n_tokens :]

    def write(self, parked: Parked, *, deadline: float) -> Path | None:
        """Write one sequence before `deadline` (of time.monotonic), else leave nothing behind."""
        if parked.state is None or parked.n_bytes > self._room() or time.monotonic() > deadline:
            return None
        tokens = parked.tokens.astype("<i4").view(np.uint8)
        crc = zlib.crc32(parked.state.data, zlib.crc32(tokens.data))
        values = {"key": self.key, "tokens": len(parked.tokens), "state": len(parked.state), "crc": crc}
        header = json.dumps(values).encode()
        name = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode() + tokens.tobytes()).hexdigest()[
            :32
        ]
        path = self.folder / f"{name}{SUFFIX}"
        prologue = np.frombuffer(MAGIC + len(header).to_bytes(4, "little") + header, np.uint8)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_atomically(path, (prologue, tokens, parked.state), deadline)
        except (OSError, TimeoutError):
            return None
        return path

    def finish(self, written: Sequence[Path], superseded: Iterable[Path] = ()) -> None:
        """Remove what the files `written`, most recent first, replace; then the oldest beyond the bound."""
        for path in set(superseded) - set(written):
            _remove(path)
        with contextlib.suppress(OSError):
            for path in reversed(written):
                os.utime(path)
        total = 0
        for path in reversed(self._files()):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
                if total > self.max_bytes:
                    _remove(path)

    def _files(self) -> list[Path]:
        """Oldest first; another process may remove one at any time."""
        dated = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                dated.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(dated)]

    def _room(self) -> float:
        existing = next((p for p in (self.folder, *self.folder.parents) if p.exists()), Path("."))
        return min(self.max_bytes, MAX_FREE_SHARE * psutil.disk_usage(str(existing)).free)


def _read_tokens(path: Path) -> tuple[_Header, Tokens]:
    with path.open("rb") as file:
        header = _read_header(file)
        if header.end != path.stat().st_size:
            raise _Misfit
        return header, np.frombuffer(file.read(4 * header.n_tokens), "<i4").astype(np.int32)


def _read_header(file: BinaryIO) -> _Header:
    """The header; `file` is then where the tokens begin."""
    if file.read(len(MAGIC)) != MAGIC:
        raise _Misfit
    length = int.from_bytes(file.read(4), "little")
    if length > MAX_HEADER:
        raise _Misfit
    try:
        values = json.loads(file.read(length))
        sizes = (int(values["tokens"]), int(values["state"]), int(values["crc"]))
        return _Header(dict(values["key"]), *sizes, start=len(MAGIC) + 4 + length)
    except (ValueError, KeyError, TypeError) as error:
        raise _Misfit from error


def _write_atomically(path: Path, parts: Iterable[npt.NDArray[np.uint8]], deadline: float) -> None:
    """Give `path` its content at once; raises TimeoutError, and leaves nothing, when `deadline` passes."""
    handle, name = tempfile.mkstemp(suffix=UNFINISHED, dir=path.parent)  # 0600
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            for part in parts:
                for start in range(0, len(part), CHUNK):
                    _write_all(file, part[start : start + CHUNK].data)
                    os.fsync(file.fileno())  # else the last one would take the time of all
                    if time.monotonic() > deadline:
                        raise TimeoutError
        os.replace(unfinished, path)
    except BaseException:
        _remove(unfinished)
        raise


def _write_all(file: io.RawIOBase, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
