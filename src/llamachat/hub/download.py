"""Download one file: it gets its name only when it is complete, and an interrupted download resumes.

Next to the file `NAME` there are, while it is fetched, `NAME.part` (the bytes, each at its place) and in the
folder `.llamachat` the journal and the lock. Only the process that holds the lock writes; others wait.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

import filelock
import httpx2
import psutil

from llamachat.errors import ModelError, NetworkError
from llamachat.hub import gguf
from llamachat.hub.http_file import HttpFile, Lost, NoRanges, RemoteFile, TransferOptions
from llamachat.hub.model_folder import Paths
from llamachat.hub.segments import Journal, SegmentQueue, Span, total
from llamachat.language import _, reason

FETCHED_TWICE = 1 << 20
"""The most bytes that a killed process loses, all connections together."""
HASH_CHUNK = 1 << 20
HEADER_STEP = 1 << 20
DURABLE_EVERY = 2.0  # seconds between two fsyncs
LEAVE_WITHIN = 1.0  # seconds that connections get to record what came, when all is stopped
HEADER_PATIENCE = 60.0  # seconds


class Watcher(Protocol):
    """Gets the events of a transfer, from several threads."""

    def started(self, name: str, size: int, have: int) -> None: ...
    def advanced(self, n_bytes: int) -> None: ...
    def lost(self, reason: str) -> None: ...
    def noted(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Transport:
    """How a file is fetched."""

    client: httpx2.Client
    options: TransferOptions
    token: str | None
    watcher: Watcher


def fetch(file: RemoteFile, paths: Paths, transport: Transport) -> str:
    """Complete `paths.part` and return its sha256. The caller holds the lock.

    Raises FileChanged if the server has another file now, NetworkError after `options.patience` without a
    byte, ModelError for another hash than the hub's. KeyboardInterrupt leaves what has arrived.
    """
    with _opened(file, paths, transport.watcher) as journal:
        transport.watcher.started(file.name, file.size, total(journal.done))
        queue = SegmentQueue(journal, file.size, transport.options.connections)
        try:
            with _Digest(paths.part, queue) as digest:
                _transfer(file, paths.part, queue, transport)
            sha256 = digest.result()
            _check_size(paths.part, file.size)
        except _PartTruncated as error:
            os.truncate(paths.part, error.size)  # later writes have left a gap
            raise
    if file.identity.sha256 not in (None, sha256):
        discard(paths)
        raise ModelError(
            _("{name} arrived with sha256 {sha256}, but the hub says {expected}; it was deleted.").format(
                name=file.name, sha256=sha256, expected=file.identity.sha256
            ),
            _("Run the same command again, with `--connections 1` if you are behind a proxy."),
        )
    return sha256


def read_header(file: RemoteFile, paths: Paths, transport: Transport) -> gguf.GGUFHeader:
    """The header of `file`; only as much as that needs is fetched, and it counts for the download.

    Raises ModelError if the file is not a GGUF, and the errors of `fetch`.
    """
    options = transport.options
    patience = min(options.patience, HEADER_PATIENCE)
    options = replace(options, connections=1, stall_timeout=options.answer_within, patience=patience)
    with locked(paths, transport.watcher):
        if paths.final.exists():
            with contextlib.suppress(
                ModelError
            ):  # `install` compares it with the hub's file before it is used
                return gguf.open_header(paths.final)
        n_bytes = 0
        with _opened(file, paths, transport.watcher) as journal, paths.part.open("rb") as part:
            while True:
                n_bytes = min(n_bytes + HEADER_STEP, file.size)
                queue = SegmentQueue(journal, n_bytes, options.connections)
                if not queue.complete:
                    _transfer(file, paths.part, queue, replace(transport, options=options))
                part.seek(0)
                try:
                    return gguf.read_header(io.BytesIO(part.read(n_bytes)), file.name, file.size)
                except gguf.TruncatedHeader:
                    if n_bytes == file.size:
                        raise


@contextmanager
def locked(paths: Paths, watcher: Watcher) -> Iterator[None]:
    """Hold the lock of a file; if another process holds it, say so and wait."""
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(paths.lock)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        watcher.noted(_("another llamachat is fetching {name}; waiting for it").format(name=paths.name))
        lock.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_at_once(paths: Paths) -> Iterator[None]:
    """Hold the lock of a file. Raises ModelError if another process holds it."""
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(paths.lock, blocking=False):
            yield
    except filelock.Timeout as error:
        raise ModelError(
            _("{name} is being fetched.").format(name=paths.name), _("Stop that first.")
        ) from error


def publish(paths: Paths) -> None:
    """Give the verified part file its name."""
    paths.part.replace(paths.final)
    paths.journal.unlink(missing_ok=True)


def discard(paths: Paths) -> None:
    """Delete what has arrived of a file."""
    paths.part.unlink(missing_ok=True)
    paths.journal.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
        return digest.hexdigest()


@contextmanager
def _opened(file: RemoteFile, paths: Paths, watcher: Watcher) -> Iterator[Journal]:
    """The journal of what is here of `file`, with a part file that agrees. The caller holds the lock."""
    paths.journal.parent.mkdir(parents=True, exist_ok=True)
    paths.part.touch()
    journal = Journal(paths.journal, file.identity, psutil.boot_time(), paths.part.stat().st_size)
    try:
        if journal.changed:
            watcher.noted(_("{name} has changed on the hub: starting again").format(name=file.name))
        if not journal.done:
            os.truncate(paths.part, 0)
        yield journal
    finally:
        journal.close()


def _transfer(file: RemoteFile, part: Path, queue: SegmentQueue, transport: Transport) -> None:
    """Fetch what the queue is missing, and sync it to the disk; give up when nothing arrives for too long."""
    options = transport.options
    source = HttpFile(transport.client, file, transport.token, options)
    connections = [_Connection(source, queue, part, transport, n == 0) for n in range(options.connections)]
    for connection in connections:
        connection.start()
    try:
        with part.open("r+b") as handle:
            while not queue.wait(DURABLE_EVERY):
                _make_durable(handle, queue)
                if queue.silence() > options.patience:
                    share = 100 * total(queue.done) // max(1, file.size)
                    raise NetworkError(
                        _("No byte of {name} arrived for {duration}.").format(
                            name=file.name, duration=_duration(options.patience)
                        ),
                        _("{share} % is here: run the same command again to continue.").format(share=share),
                    )
            _make_durable(handle, queue)
    finally:
        queue.stop()
        deadline = time.monotonic() + LEAVE_WITHIN
        for connection in connections:
            connection.join(max(0.0, deadline - time.monotonic()))
    if queue.failure:
        raise queue.failure


def _make_durable(handle: BinaryIO, queue: SegmentQueue) -> None:
    done = queue.done
    os.fsync(handle.fileno())
    queue.mark_durable(done)


def _duration(seconds: float) -> str:
    return (
        _("{minutes:g} minutes").format(minutes=seconds / 60)
        if seconds >= 120
        else _("{seconds:g} seconds").format(seconds=seconds)
    )


class _PartTruncated(ModelError):
    """The part file has only `size` bytes, and had more."""

    def __init__(self, part: Path, size: int) -> None:
        super().__init__(
            _("{part} was truncated by another program.").format(part=part), _("Run the same command again.")
        )
        self.size = size


def _check_size(part: Path, size: int) -> None:
    """Raise _PartTruncated if the part file has less."""
    actual = part.stat().st_size
    if actual < size:
        raise _PartTruncated(part, actual)


class _Connection(threading.Thread):
    """Fetches one segment after the other; a connection that ends early is not the end of the file."""

    def __init__(
        self, source: HttpFile, queue: SegmentQueue, part: Path, transport: Transport, is_first: bool
    ) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._queue = queue
        self._part = part
        self._transport = transport
        self._is_first = is_first
        self._failures = 0  # in a row

    def run(self) -> None:
        """Any failure that another try can't fix stops the queue."""
        try:
            with self._part.open("r+b", buffering=0) as file:
                while segment := self._queue.take(self._is_first):
                    self._attempt(_Writer(file, self._part, segment, self._queue, self._transport))
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            self._queue.stop(error)

    def _attempt(self, writer: _Writer) -> None:
        options = self._transport.options
        start = writer.at
        try:
            self._fetch(writer)
            self._failures, rest = 0, 0.0
        except (Lost, httpx2.RequestError, httpx2.StreamError) as error:
            self._transport.watcher.lost(_reason(error, options.stall_timeout))
            if isinstance(error, NoRanges):
                self._queue.ranges_fail()
            if isinstance(error, Lost):
                self._queue.pause(error.wait)
            if writer.at > start:
                self._failures, rest = 0, 0.0
            else:
                self._source.forget_redirect()
                rest = min(options.longest_backoff, options.first_backoff * 2 ** min(self._failures, 10))
                self._failures += 1
        finally:
            self._queue.give_back((writer.at, writer.end))
        self._queue.rest(rest * random.uniform(0.5, 1))

    def _fetch(self, writer: _Writer) -> None:
        span = None if self._queue.single else (writer.at, writer.end)
        with self._source.read(span) as (whole, chunks), contextlib.closing(writer):
            if whole:
                self._queue.ranges_fail()
                if not self._is_first:
                    return
                writer.start_over()
            self._queue.ranges_work()
            for chunk in chunks:
                if self._queue.stopped:  # the next download may already write to the same file
                    return
                writer.write(chunk)
                if whole and writer.at == writer.end:
                    return
        if writer.at < writer.end:
            raise Lost(_("the connection was cut"))


class _Writer:
    """Writes a segment, and records it in steps small enough to lose."""

    def __init__(
        self, file: BinaryIO, part: Path, segment: Span, queue: SegmentQueue, transport: Transport
    ) -> None:
        self._file = file
        self._part = part
        self._queue = queue
        self._watcher = transport.watcher
        self._step = FETCHED_TWICE // (2 * transport.options.connections)
        self._skip = 0
        self.at, self.end = segment
        self._recorded = self.at

    def start_over(self) -> None:
        """The server sends the file from its start: skip what is here already."""
        self._recorded = self.at = self._skip = self._queue.frontier
        self.end = self._queue.wanted

    def write(self, chunk: bytes) -> None:
        if self._skip:
            passed = min(self._skip, len(chunk))
            self._skip -= passed
            chunk = chunk[passed:]
            self._queue.last_byte = time.monotonic()
        try:
            _check_size(self._part, max((end for _, end in self._queue.done), default=0))
            self._file.seek(self.at)
            left = memoryview(chunk)[: self.end - self.at]
            while left:
                written = self._file.write(left)
                self.at += written
                left = left[written:]
        except OSError as error:
            raise ModelError(
                _("{name} can't be written: {reason}.").format(name=self._file.name, reason=reason(error)),
                _("What has arrived is kept; run the same command again when that is fixed."),
            ) from error
        if self.at - self._recorded >= self._step:
            self.close()

    def close(self) -> None:
        """Record what was written."""
        if self.at > self._recorded:
            self._watcher.advanced(self._queue.arrived((self._recorded, self.at)))
            self._recorded = self.at


def _reason(error: Exception, stall_timeout: float) -> str:
    if isinstance(error, httpx2.ReadTimeout):
        return _("no byte for {stall_timeout:g} s").format(stall_timeout=stall_timeout)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return _("no connection")
    return str(error) if isinstance(error, Lost) else _("the connection was cut")


class _Digest(threading.Thread):
    """Computes the sha256 of a file while it arrives, as far as it has no gap."""

    def __init__(self, part: Path, queue: SegmentQueue) -> None:
        super().__init__(daemon=True)
        self._part = part
        self._queue = queue
        self._sha256 = hashlib.sha256()

    def __enter__(self) -> _Digest:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.join(timeout=None if self._queue.complete else 1)

    def result(self) -> str:
        """Raises what ended the thread early."""
        if self._queue.failure:
            raise self._queue.failure
        return self._sha256.hexdigest()

    def run(self) -> None:
        try:
            with self._part.open("rb", buffering=0) as file:
                at = 0
                while (end := self._queue.wait_beyond(at)) > at:
                    while at < end:
                        chunk = file.read(min(HASH_CHUNK, end - at))
                        if not chunk:
                            raise _PartTruncated(self._part, at)
                        self._sha256.update(chunk)
                        at += len(chunk)
        except (OSError, ModelError) as error:
            self._queue.stop(error)
