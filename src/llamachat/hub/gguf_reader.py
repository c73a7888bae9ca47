"""Read GGUF's scalars, texts and lists from a stream that only ever moves forward."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from llamachat.errors import ModelError
from llamachat.hub import impostors

CHUNK = 1 << 20
LONG_ARRAY = 4096  # longer arrays (a vocabulary, its merges) are skipped
LONGEST_STRING = 1 << 26
HEADER_LIMIT = 1 << 27  # vocabularies of 256,000 tokens take 16 MB
MOST_ENTRIES = 1 << 20

_STRING, _ARRAY = 8, 9
_length_at = struct.Struct("<Q").unpack_from
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """A long array of which only the length was kept."""

    length: int


Value = int | float | bool | str | tuple["Value", ...] | SkippedArray


class Reader:
    """A cursor over a binary stream that only ever moves forward."""

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
        return ModelError(f"{self._source} is damaged: {why}.", impostors.HINT)

    def peek(self, n_bytes: int) -> bytes:
        """Up to `n_bytes` of what comes next, fewer only at the end."""
        while len(self._buffer) - self._at < n_bytes:
            more = self._file.read(max(CHUNK, n_bytes))
            if not more:
                break
            self._before += self._at
            self._buffer, self._at = self._buffer[self._at :] + more, 0
            if self._before > HEADER_LIMIT:
                raise self.broken(f"its header is longer than {HEADER_LIMIT:,} bytes")
        return self._buffer[self._at : self._at + n_bytes]

    def skip(self, n_bytes: int) -> None:
        self.take(n_bytes)

    def take(self, n_bytes: int) -> bytes:
        """Exactly `n_bytes`."""
        taken = self.peek(n_bytes)
        if len(taken) < n_bytes:
            raise ModelError(
                f"{self._source} is cut off: its header ends at byte {self.position + len(taken):,}.",
                impostors.HINT,
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
            raise self.broken(f"it claims a text of {length:,} bytes")
        return length

    def value(self, kind: int) -> Value:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self._array(self.scalar("I"), self.scalar("Q"))
        return self._numbers(kind, 1)[0]

    def _numbers(self, kind: int, count: int) -> tuple[Value, ...]:
        if kind not in _SCALARS:
            raise self.broken(f"it has a value of unknown type {kind}")
        layout = f"<{count}{_SCALARS[kind]}"
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def count(self, what: str) -> int:
        """How many `what` follow."""
        number = self.scalar("Q")
        if number > MOST_ENTRIES:
            raise self.broken(f"it claims {number:,} {what}")
        return number

    def _array(self, kind: int, count: int) -> Value:
        """Lists of lists are none that llama.cpp reads."""
        if count > HEADER_LIMIT or kind == _ARRAY:
            raise self.broken(f"it claims a list of {count:,} {'lists' if kind == _ARRAY else 'values'}")
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
        """Pass over those of `count` that the buffer has whole, and one more; how many it were.

        A vocabulary and its merges are 400,000: one call for each would be felt at every start.
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
