"""One connection: asks for segments of a file, writes what comes, and never takes a lost one for the end."""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import httpx2

from llamachat.errors import ModelError
from llamachat.hub.address import Address, FileChanged
from llamachat.hub.board import Board
from llamachat.hub.refusals import busy, is_busy, refusal, retry_after
from llamachat.hub.spans import Span

FETCHED_TWICE = 1 << 20
"""At most so many bytes are lost, all connections together, when the process is killed."""


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """Times in seconds. `patience` is how long to go on without a single byte."""

    connections: int = 4
    connect_timeout: float = 10.0
    stall_timeout: float = 20.0
    patience: float = 600.0
    answer_within: float = 14.0  # for what is asked before a transfer, name look-up included
    first_backoff: float = 0.5
    longest_backoff: float = 30.0


class Watcher(Protocol):
    """Who is told how a transfer goes; called from several threads."""

    def started(self, name: str, size: int, have: int) -> None: ...
    def advanced(self, n_bytes: int) -> None: ...
    def lost(self, reason: str) -> None: ...
    def noted(self, text: str) -> None: ...


class Lost(Exception):
    """A connection or reply that is worth another try, in `wait` seconds where the server said so."""

    def __init__(self, reason: str, wait: float = 0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Connection:
    """One of several that fetch a file; `is_first` stays when the server gives no ranges."""

    client: httpx2.Client
    address: Address
    board: Board
    part: Path
    options: TransferOptions
    watcher: Watcher
    is_first: bool

    def run(self) -> None:
        """Fetch segments until there are no more. A failure that no patience cures stops the board."""
        try:
            with self.part.open("r+b", buffering=0) as file:
                failures = 0
                while span := self.board.take(self.is_first):
                    failures = self._attempt(file, span, failures)
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            self.board.stop(error)

    def _attempt(self, file: BinaryIO, span: Span, failures: int) -> int:
        """Try one segment; the number of failures in a row."""
        cursor = _Cursor(
            file, span, self.board, self.watcher, FETCHED_TWICE // (2 * self.options.connections)
        )
        try:
            with contextlib.closing(cursor):
                self._fetch(cursor)
        except (Lost, httpx2.RequestError, httpx2.StreamError) as error:
            self.watcher.lost(reason(error, self.options.stall_timeout))
            self.address.redirected = None
            failures = 1 if cursor.moved else failures + 1
        else:
            return 0
        finally:
            self.board.give_back((cursor.at, cursor.end))
        longest = min(self.options.longest_backoff, self.options.first_backoff * 2 ** min(failures - 1, 10))
        self.board.rest(0 if cursor.moved else longest * random.uniform(0.5, 1))
        return failures

    def _fetch(self, cursor: _Cursor) -> None:
        url, headers = self.address.request(None if self.board.single else (cursor.at, cursor.end))
        with self.client.stream("GET", url, headers=headers) as response:
            self.address.learn(response)
            self._check_status(response)
            if "html" in response.headers.get("Content-Type", ""):
                raise Lost("something in between answered with a page of its own")
            if response.status_code == 200:
                if not self.board.single:
                    self.board.go_single()
                if not self.is_first:
                    return
                cursor.start_over(self.board)
            self._check_range(response, cursor)
            self.board.mark_answered()
            for chunk in response.iter_raw():
                if self.board.stopped:  # whoever stopped it may begin anew in the same file
                    return
                cursor.write(chunk)
        if cursor.at < cursor.end and not self.board.stopped:
            raise Lost("the connection was cut")

    def _check_status(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        if is_busy(status):
            seconds = retry_after(response)
            if seconds > self.options.patience:
                raise busy(response, seconds)
            self.board.pause(seconds)
            raise Lost(f"the server answered {status}" + (f", wait {seconds:.0f} s" if seconds else ""))
        if response.history or self.address.redirected:
            raise Lost(f"the address it redirected to answered {status}")
        raise refusal(response)

    def _check_range(self, response: httpx2.Response, cursor: _Cursor) -> None:
        """Raise for a reply that is not what was asked for, before a byte of it is written."""
        size, length = self.board.size, response.headers.get("Content-Length", "")
        asked = f"bytes {cursor.at}-{cursor.end - 1}/"
        got = response.headers.get("Content-Range", "") if response.status_code == 206 else f"{asked}{length}"
        whole = got.rpartition("/")[2]
        if whole.isdigit() and int(whole) != size:
            raise FileChanged(f"it has {int(whole):,} bytes now")
        expected = cursor.end - cursor.at
        if response.status_code == 206 and (
            not got.startswith(asked) or (length and length != str(expected))
        ):
            self.board.go_single()
            raise Lost(f"asked for {asked}{size}, the server gave {got or 'no range'}")


class _Cursor:
    """Writes a segment and records it in steps small enough to lose."""

    def __init__(self, file: BinaryIO, span: Span, board: Board, watcher: Watcher, step: int) -> None:
        self._file = file
        self._board = board
        self._watcher = watcher
        self._step = step
        self._skip = 0
        self._recorded, self.end = span
        self.at = self._recorded
        self.moved = False

    def start_over(self, board: Board) -> None:
        """The server sends the file from its start: pass over what is there already."""
        self._recorded = self.at = board.frontier
        self.end = board.size
        self._skip = self.at

    def write(self, chunk: bytes) -> None:
        if self._skip:
            passed = min(self._skip, len(chunk))
            self._skip -= passed
            chunk = chunk[passed:]
            self._board.last_byte = time.monotonic()
        chunk = chunk[: self.end - self.at]
        if chunk:
            self._write(chunk)
        if self.at - self._recorded >= self._step:
            self.record()

    def _write(self, chunk: bytes) -> None:
        try:
            self._file.seek(self.at)
            left = chunk
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise ModelError(
                f"{self._file.name} can't be written: {error.strerror}.",
                "What came so far is kept; run the same command again when that is mended.",
            ) from error
        self.at += len(chunk)
        self.moved = True

    def record(self) -> None:
        if self.at > self._recorded:
            self._watcher.advanced(self._board.arrived((self._recorded, self.at)))
            self._recorded = self.at

    close = record


def reason(error: Exception, stall_timeout: float) -> str:
    if isinstance(error, httpx2.ReadTimeout):
        return f"no byte for {stall_timeout:g} s"
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return "no connection"
    return str(error) if isinstance(error, Lost) else "the connection was cut"
