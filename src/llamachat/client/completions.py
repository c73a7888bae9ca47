"""Chat completions for programs: a whole reply or its events."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from http.client import HTTPResponse
from typing import Any
from urllib.error import HTTPError

from llamachat.client import address, http
from llamachat.client.chunks import ChunkReader
from llamachat.client.error_translation import broken, from_message, from_status, unreachable
from llamachat.core.events import Event
from llamachat.core.visible import one_line
from llamachat.errors import LlamachatError, NetworkError
from llamachat.language import _

_FETCH_SECONDS = 30.0


class Completions:
    """The chat of one server; safe to use from several threads.

    `session` and the number of the thread are sent as `X-Session-ID`: a gateway spreads the threads over its
    replicas, and what a thread's requests begin with is read once.
    """

    def __init__(self, base_url: str, api_key: str, session: str = "", priority: int = 0) -> None:
        self._session, self._threads, self._thread = session, itertools.count(), threading.local()
        self.base_url = address.check(base_url)
        self._api_key, self._priority = api_key, priority

    def stream(self, body: Mapping[str, Any]) -> Iterator[Event]:
        """The events of one reply, the last a Done. Raises a LlamachatError if the server fails."""
        said = {**body, "stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
        reader = ChunkReader()
        try:
            with self._send(said) as response:
                for line in response:
                    data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
                    if data and data != b"[DONE]":
                        yield from reader.feed(_chunk(data))
        except http.FAILURES as error:
            raise broken(empty=False) if reader.started else unreachable(self.base_url, error) from error
        yield from reader.finish()

    def whole(self, body: Mapping[str, Any]) -> Iterator[Event]:
        """The same events from a reply in one piece: cheaper if nobody watches."""
        try:
            with self._send(body) as response:
                reply = http.parsed(response.read()) or {}
        except http.FAILURES as error:
            raise unreachable(self.base_url, error) from error
        reader = ChunkReader()
        choices = [{**choice, "delta": choice.get("message") or {}} for choice in reply.get("choices") or ()]
        yield from reader.feed({**reply, "choices": choices})
        yield from reader.finish()

    def _send(self, body: Mapping[str, Any]) -> HTTPResponse:
        """Raises what a server's refusal means, and `http.FAILURES`."""
        url = self.base_url + "/chat/completions"
        # ASCII: halves of surrogate pairs, which UTF-8 can't hold, reach the server, which refuses them.
        try:
            return http.send(url, self._api_key, json.dumps(body).encode(), self._headers)
        except HTTPError as error:
            with error:
                raise self._refusal(error.code, http.parsed(error.read()), body) from error

    @property
    def _headers(self) -> Mapping[str, str]:
        headers = {"X-Llamachat-Priority": str(self._priority)} if self._priority else {}
        if self._session:
            if not hasattr(self._thread, "number"):
                self._thread.number = next(self._threads)
            headers["X-Session-ID"] = f"{self._session}-{self._thread.number}"
        return headers

    def _refusal(self, status: int, reply: Any, body: Mapping[str, Any]) -> LlamachatError:
        error = reply.get("error") if isinstance(reply, Mapping) else None
        said = error if isinstance(error, Mapping) else {}
        message = str(said.get("message") or f"HTTP {status}")
        model = str(body.get("model"))
        return from_status(status, message, said.get("code"), said, base_url=self.base_url, model=model)


def _chunk(data: bytes) -> Mapping[str, Any]:
    """One chunk. Raises what the server says has gone wrong in the middle of a reply."""
    chunk: dict[str, Any] = json.loads(data)
    if isinstance(error := chunk.get("error"), Mapping):
        raise from_message(str(error.get("message")), error.get("code"), error)
    return chunk


def fetch(url: str, most_bytes: int) -> bytes:
    """The bytes at an http address, at most `most_bytes` + 1. Raises NetworkError if it can't be had."""
    import httpx2

    data = bytearray()
    try:
        with httpx2.stream("GET", url, follow_redirects=True, timeout=_FETCH_SECONDS) as response:
            response.raise_for_status()
            for piece in response.iter_bytes():
                data += piece
                if len(data) > most_bytes:
                    break
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NetworkError(
            _("{url} can't be fetched: {error}.").format(
                url=one_line(url, 80), error=one_line(str(error), 80)
            )
        ) from error
    return bytes(data)
