"""Fetch one file: it appears under its name only when it is whole, and is never begun anew for nothing.

Next to the file `NAME` there are, while it is fetched, `NAME.part` (the bytes, each at its place) and in the
folder `.llamachat` the journal and the lock. Whoever holds the lock writes; others wait for it.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import httpx2
import psutil

from llamachat.errors import ModelError, NetworkError
from llamachat.hub.address import Address
from llamachat.hub.board import Board
from llamachat.hub.journal import Identity, Journal
from llamachat.hub.records import Paths
from llamachat.hub.transfer import Connection, TransferOptions, Watcher

HASH_CHUNK = 1 << 20
DURABLE_EVERY = 2.0  # seconds between two fsyncs
LEAVE_WITHIN = 1.0  # seconds that connections get to record what came, when all is stopped


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a hub: where its bytes are, and what they must be."""

    name: str
    url: str
    identity: Identity

    @property
    def size(self) -> int:
        return self.identity.size


@contextmanager
def locked(paths: Paths, watcher: Watcher) -> Iterator[None]:
    """Hold the lock of a file; wait, and say so, where another process holds it."""
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(paths.lock)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        watcher.noted(f"another llamachat is fetching {paths.name}; waiting for it")
        lock.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_at_once(paths: Paths) -> Iterator[None]:
    """Hold the lock of a file. Raises ModelError where another process holds it."""
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(paths.lock, blocking=False):
            yield
    except filelock.Timeout as error:
        raise ModelError(f"{paths.name} is being fetched.", "Stop that first.") from error


def fetch(
    file: RemoteFile,
    paths: Paths,
    client: httpx2.Client,
    options: TransferOptions,
    watcher: Watcher,
    token: str | None = None,
) -> str:
    """Bring `paths.part` to be the whole file, and return its sha256. The caller holds the lock.

    Raises FileChanged where the server has another file now, NetworkError after `options.patience` without a
    byte, ModelError where the bytes are not those that the hub names; KeyboardInterrupt leaves what came.
    """
    journal = open_journal(file, paths, watcher)
    try:
        board = Board(file.size, journal, options.connections)
        watcher.started(file.name, file.size, board.n_done)
        address = Address(file.url, file.identity, token)
        digest = _Digest(paths.part, board)
        with digest, _connections(client, address, board, paths.part, options, watcher):
            _supervise(board, paths.part, file, options)
        sha256 = digest.result()
    finally:
        journal.close()
    _verify(file, paths, sha256)
    return sha256


def publish(paths: Paths) -> None:
    """Give the verified part file its name."""
    paths.part.replace(paths.final)
    paths.journal.unlink(missing_ok=True)


def discard(paths: Paths) -> None:
    """Forget what came of a file."""
    paths.part.unlink(missing_ok=True)
    paths.journal.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
        return digest.hexdigest()


def open_journal(file: RemoteFile, paths: Paths, watcher: Watcher) -> Journal:
    """The record of what is here of `file`, with a part file that agrees. The caller holds the lock."""
    paths.journal.parent.mkdir(parents=True, exist_ok=True)
    if not paths.part.exists():
        paths.journal.unlink(missing_ok=True)
        paths.part.touch()
    journal = Journal(paths.journal, file.identity, psutil.boot_time())
    journal.open()
    if journal.changed:
        watcher.noted(f"{file.name} has changed on the hub: starting anew")
    if journal.done and journal.done[-1][1] > paths.part.stat().st_size:
        journal.remove()
        return open_journal(file, paths, watcher)
    if not journal.done:
        os.truncate(paths.part, 0)
    return journal


@contextmanager
def _connections(
    client: httpx2.Client,
    address: Address,
    board: Board,
    part: Path,
    options: TransferOptions,
    watcher: Watcher,
) -> Iterator[None]:
    """One connection at first, the others as soon as the server has shown that it gives ranges."""
    threads: list[threading.Thread] = []

    def start(is_first: bool) -> None:
        connection = Connection(client, address, board, part, options, watcher, is_first)
        threads.append(threading.Thread(target=connection.run, daemon=True))
        threads[-1].start()

    def start_the_rest() -> None:
        while not board.wait_for_answer(0.2):
            if board.stopped or board.complete:
                return
        for _ in range(options.connections - 1):
            if not board.single:
                start(is_first=False)

    start(is_first=True)
    starter = threading.Thread(target=start_the_rest, daemon=True)
    starter.start()
    try:
        yield
    finally:
        board.stop()
        deadline = time.monotonic() + LEAVE_WITHIN
        for thread in (starter, *threads):
            thread.join(timeout=max(0.0, deadline - time.monotonic()))


def _supervise(board: Board, part: Path, file: RemoteFile, options: TransferOptions) -> None:
    """Wait for the end; make durable what came, and give up when nothing comes for too long."""
    with part.open("r+b") as handle:
        durable = -1
        while not board.wait(DURABLE_EVERY):
            done = board.done
            if (n_done := board.n_done) != durable:
                os.fsync(handle.fileno())
                board.mark_durable(done)
                durable = n_done
            if board.silence() > options.patience:
                raise NetworkError(
                    f"No byte of {file.name} came for {_duration(options.patience)}.",
                    f"{100 * n_done // max(1, file.size)} % are here: the same command goes on from there.",
                )
        if board.failure:
            raise board.failure
        os.fsync(handle.fileno())


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} seconds"


def _verify(file: RemoteFile, paths: Paths, sha256: str) -> None:
    wanted = file.identity.sha256
    if wanted is None or wanted == sha256:
        return
    discard(paths)
    raise ModelError(
        f"{file.name} came with sha256 {sha256}, the hub names {wanted}; it was thrown away.",
        "Run the same command again, with `--connections 1` where a proxy is in between.",
    )


class _Digest:
    """The sha256 of a growing file, computed as far as it has no gap."""

    def __init__(self, part: Path, board: Board) -> None:
        self._part = part
        self._board = board
        self._sha256 = hashlib.sha256()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Digest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(timeout=None if self._board.complete else 1)

    def result(self) -> str:
        return self._sha256.hexdigest()

    def _run(self) -> None:
        try:
            with self._part.open("rb", buffering=0) as file:
                at = 0
                while (end := self._board.wait_beyond(at)) > at:
                    while at < end and (chunk := file.read(min(HASH_CHUNK, end - at))):
                        self._sha256.update(chunk)
                        at += len(chunk)
        except OSError as error:
            self._board.stop(error)
