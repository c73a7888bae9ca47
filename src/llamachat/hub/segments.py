"""Which bytes of a file are here, and which to ask for next.

Several connections share one `SegmentQueue`. What has arrived is written to a `Journal`, an append-only text
next to the file, so that a download continues after its process was killed or the computer restarted.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SMALLEST_SEGMENT = 1 << 20
LARGEST_SEGMENT = 64 << 20
SEGMENTS_EACH = 4  # that are left for each connection when a segment is handed out
BOOT_TOLERANCE = 120.0  # seconds; the start time is derived from a clock that may be set

Span = tuple[int, int]
"""Bytes from the first offset up to, not including, the second."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a file the same file: `sha256` or, if the server has none, its `etag`."""

    size: int
    sha256: str | None = None
    etag: str | None = None


class Journal:
    """What has arrived. The first line is JSON, with `identity` and `boot`; each later one is one of

        + START END        these bytes were written
        = START-END …      these bytes, and no others for sure, are on the disk itself (fsync)

    A line is written after its bytes. After kill -9 the system still holds what was written, so the `+` lines
    count; after a restart of the computer only the last `=` line does. A torn last line is ignored.
    """

    def __init__(self, path: Path, identity: Identity, boot_time: float, part_size: int) -> None:
        """Read what is there, as far as a part file of `part_size` bytes has it, and compact it.

        `changed` is set if the journal is that of another file, which then counts for nothing.
        """
        header, written, durable = _read(path)
        known, boot = header.get("identity"), header.get("boot")
        same_boot = isinstance(boot, int | float) and abs(boot - boot_time) < BOOT_TOLERANCE
        self.changed = known is not None and known != asdict(identity)
        if known != asdict(identity):
            written = durable = []
        elif not same_boot:
            written = durable
        self.done = merge((start, min(end, part_size)) for start, end in [*written, *durable])
        durable = merge((start, min(end, part_size)) for start, end in durable)
        fresh = path.with_name(path.name + ".new")
        with fresh.open("wb") as file:
            file.write(json.dumps({"identity": asdict(identity), "boot": boot_time}).encode() + b"\n")
            file.write(b"".join(b"+ %d %d\n" % span for span in self.done) + _durable_line(durable))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        self._file = path.open("ab", buffering=0)

    def add(self, span: Span) -> None:
        """Note bytes that were written to the file."""
        self._file.write(b"+ %d %d\n" % span)
        self.done = merge([*self.done, span])

    def mark_durable(self, done: Sequence[Span]) -> None:
        """Note bytes that have survived an fsync."""
        self._file.write(_durable_line(done))

    def close(self) -> None:
        self._file.close()


def read_identity(path: Path) -> Identity | None:
    """Which file a journal is about, None if there is none that can be read."""
    with contextlib.suppress(TypeError):
        identity = _read(path)[0].get("identity")
        found = Identity(**identity) if isinstance(identity, dict) else None
        return found if found and isinstance(found.size, int) else None
    return None


def read_progress(path: Path) -> int:
    """The number of bytes that have arrived, by the journal alone."""
    return total(_read(path)[1])


def _durable_line(done: Iterable[Span]) -> bytes:
    return b"= " + b" ".join(b"%d-%d" % span for span in done) + b"\n"


def _read(path: Path) -> tuple[dict[str, object], list[Span], list[Span]]:
    """The header, what was written, and what was durable; empty if the file can't be read."""
    try:
        lines = path.read_text("ascii", "replace").split("\n")[:-1]
        header = json.loads(lines[0])
    except (OSError, ValueError, IndexError, RecursionError):
        return {}, [], []
    written: list[Span] = []
    durable: list[Span] = []
    with contextlib.suppress(ValueError):
        for line in lines[1:]:
            kind, _, rest = line.partition(" ")
            if kind == "+":
                start, end = map(int, rest.split())
                written.append((start, end))
            elif kind == "=":
                pairs = (pair.split("-") for pair in rest.split())
                durable = [(int(start), int(end)) for start, end in pairs]
    return header if isinstance(header, dict) else {}, merge(written), merge(durable)


class SegmentQueue:
    """The first `wanted` bytes of a file, handed out in order, so that the hash can follow closely.

    Only the first connection gets a segment before the server has shown that it answers ranges
    (`ranges_work`). Where it does not (`single`), the first connection takes all that is missing.
    """

    def __init__(self, journal: Journal, wanted: int, connections: int) -> None:
        self.wanted = wanted
        self.single = False
        self.stopped = False
        self.failure: BaseException | None = None
        self._ranges_work = False
        self._connections = connections
        self._journal = journal
        self._missing = deque(missing(journal.done, wanted))
        self._changed = threading.Condition()
        self.last_byte = time.monotonic()
        self._paused_until = 0.0

    @property
    def done(self) -> list[Span]:
        return self._journal.done

    @property
    def frontier(self) -> int:
        """The number of bytes from the start without a gap."""
        return frontier(self._journal.done)

    @property
    def complete(self) -> bool:
        return self.frontier >= self.wanted

    @property
    def over(self) -> bool:
        return self.stopped or self.complete

    def stop(self, failure: BaseException | None = None) -> None:
        """End every connection; the first failure is kept."""
        with self._changed:
            self.failure = self.failure or failure
            self.stopped = True
            self._changed.notify_all()

    def take(self, is_first: bool) -> Span | None:
        """The next segment. Waits while others hold them all; None when there is nothing left to do."""
        with self._changed:
            while not self.over:
                if self.single:
                    return (self.frontier, self.wanted) if is_first else None
                if self._missing and (is_first or self._ranges_work):
                    return self._cut()
                self._changed.wait()
            return None

    def _cut(self) -> Span:
        """A segment from the front; the last ones are small, so that several connections end together."""
        start, end = self._missing.popleft()
        if self._connections == 1:
            return start, end
        share = (end - start + total(self._missing)) // (self._connections * SEGMENTS_EACH)
        length = max(SMALLEST_SEGMENT, min(LARGEST_SEGMENT, share))
        if start + length < end:
            self._missing.appendleft((start + length, end))
            end = start + length
        return start, end

    def give_back(self, span: Span) -> None:
        """Return the rest of a segment, which may be empty."""
        with self._changed:
            if span[0] < span[1]:
                self._missing.appendleft(span)
            self._changed.notify_all()

    def ranges_fail(self) -> None:
        """From now on use one connection, because the server does not answer ranges."""
        with self._changed:
            self.single = True
            self._changed.notify_all()

    def ranges_work(self) -> None:
        """From now on use all connections."""
        with self._changed:
            self._ranges_work = True
            self._changed.notify_all()

    def arrived(self, span: Span) -> int:
        """Record bytes that were written; returns the number of those that are new."""
        with self._changed:
            before = total(self.done)
            self._journal.add(span)
            self.last_byte = time.monotonic()
            self._changed.notify_all()
            return total(self.done) - before

    def mark_durable(self, done: Sequence[Span]) -> None:
        with self._changed:
            self._journal.mark_durable(done)

    def pause(self, seconds: float) -> None:
        """Don't ask for anything for `seconds`: the server said so."""
        with self._changed:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def silence(self) -> float:
        """Seconds since the last byte, without those that the server asked for."""
        return time.monotonic() - max(self.last_byte, self._paused_until)

    def rest(self, seconds: float) -> None:
        """Wait for `seconds`, or as long as the server asked for, or until `stop`."""
        until = max(time.monotonic() + seconds, self._paused_until)
        with self._changed:
            self._changed.wait_for(lambda: self.stopped, until - time.monotonic())

    def wait(self, seconds: float) -> bool:
        """Wait until it is over, for at most `seconds`; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self.over, seconds)

    def wait_beyond(self, offset: int) -> int:
        """The frontier, once it is beyond `offset` or nothing more will arrive."""
        with self._changed:
            self._changed.wait_for(lambda: self.frontier > offset or self.over)
            return self.frontier


def merge(spans: Iterable[Span]) -> list[Span]:
    """The same bytes as few spans in order."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def missing(done: Sequence[Span], size: int) -> list[Span]:
    """What `done` (merged) lacks of the first `size` bytes."""
    edges = [0, *(min(edge, size) for span in done for edge in span), size]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]


def total(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)


def frontier(done: Sequence[Span]) -> int:
    """The number of bytes from the start without a gap; `done` is merged."""
    return done[0][1] if done and done[0][0] == 0 else 0
