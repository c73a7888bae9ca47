"""Read a model's header before it is downloaded; what came stays as the beginning of the download."""

from __future__ import annotations

import contextlib
import io
import os
import time
from typing import BinaryIO, cast

import httpx2

from llamachat.errors import ModelError, NetworkError
from llamachat.hub import gguf
from llamachat.hub.address import Address
from llamachat.hub.download import RemoteFile, locked, open_journal
from llamachat.hub.journal import Journal
from llamachat.hub.records import Paths
from llamachat.hub.refusals import busy, is_busy, refusal, retry_after
from llamachat.hub.spans import frontier, merge
from llamachat.hub.transfer import Lost, Watcher, reason

STEP = 1 << 20
ATTEMPTS = 6
BACKOFF = 0.5  # seconds
LONGEST_WAIT = 60.0


def read_header(
    file: RemoteFile,
    paths: Paths,
    client: httpx2.Client,
    watcher: Watcher,
    patience: float,
    token: str | None = None,
) -> gguf.GGUFHeader:
    """The header of `file`, by range requests for as much of it as is not here yet, if it is not whole.

    A request that brings no byte for `patience` seconds is made again.

    Raises ModelError where the file is no GGUF, NetworkError when the connection breaks again and again.
    """
    with locked(paths, watcher):
        if paths.final.exists():
            with contextlib.suppress(ModelError):  # whether it is the hub's file is asked before it is used
                return gguf.open_header(paths.final)
        journal = open_journal(file, paths, watcher)
        try:
            with paths.part.open("r+b", buffering=0) as part:
                address = Address(file.url, file.identity, token)
                source = _Ahead(part, journal, client, address, watcher, patience)
                return gguf.read_header(cast(BinaryIO, io.BufferedReader(source, STEP)), file.name)
        finally:
            journal.close()


class _Ahead(io.RawIOBase):
    """A part file read from its start, which fetches what it lacks."""

    def __init__(
        self,
        part: io.FileIO,
        journal: Journal,
        client: httpx2.Client,
        address: Address,
        watcher: Watcher,
        patience: float,
    ) -> None:
        self._part = part
        self._journal = journal
        self._client = client
        self._address = address
        self._watcher = watcher
        self._patience = patience
        self._at = 0
        self._end = frontier(merge(journal.done))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        if self._at >= self._end:
            self._fetch()
        self._part.seek(self._at)
        n_bytes = self._part.readinto(view[: self._end - self._at]) or 0
        self._at += n_bytes
        return n_bytes

    def _fetch(self) -> None:
        """Bring the next step into the part file."""
        last: Exception | None = None
        for attempt in range(ATTEMPTS):
            stop = min(self._end + STEP, self._address.identity.size)
            if self._at < self._end or stop == self._end:
                return
            try:
                self._request(stop)
            except (Lost, httpx2.RequestError, httpx2.StreamError) as error:
                self._address.redirected = None
                last = error
                self._watcher.lost(reason(error, self._patience))
                pause = error.wait if isinstance(error, Lost) else 0
                time.sleep(max(pause, BACKOFF * 2**attempt if attempt else 0))
        if self._at >= self._end:
            raise NetworkError(
                f"The connection to {self._address.url} breaks again and again.", "Try again later."
            ) from last

    def _request(self, stop: int) -> None:
        start = self._end
        url, headers = self._address.request((start, stop))
        with self._client.stream("GET", url, headers=headers, timeout=self._patience) as response:
            self._address.learn(response)
            self._check(response)
            skip = 0 if response.status_code == 206 else start
            self._part.seek(start)
            try:
                for chunk in response.iter_raw():
                    passed = min(skip, len(chunk))
                    skip -= passed
                    self._end += os.write(self._part.fileno(), chunk[passed : passed + stop - self._end])
                    if self._end == stop and response.status_code != 206:
                        break  # of a 206 nothing is left, and its connection can be used again
            finally:  # what came before a cut counts
                self._journal.add((start, self._end))

    def _check(self, response: httpx2.Response) -> None:
        """Raise for what has not the bytes."""
        if is_busy(response.status_code):
            seconds = retry_after(response)
            if seconds > LONGEST_WAIT:
                raise busy(response, seconds)
            raise Lost(f"the server answered {response.status_code}", wait=max(BACKOFF, seconds))
        if "html" in response.headers.get("Content-Type", ""):
            raise Lost("something in between answered with a page of its own")
        if not response.is_success:
            raise refusal(response)
