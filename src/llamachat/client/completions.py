"""Chat completions for programs: a whole reply or its events.

Without the `openai` package: its import alone takes longer than `llamachat ask` may take compared with curl.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from llamachat.client import address
from llamachat.client.chunks import ChunkReader
from llamachat.client.error_translation import broken, from_message, from_status, unreachable
from llamachat.core.events import Event
from llamachat.core.visible import one_line
from llamachat.errors import LlamachatError, NetworkError
from llamachat.language import _

_CONNECT_SECONDS = 10.0
_FETCH_SECONDS = 30.0


class Completions:
    """A connection to one server; safe to use from several threads.

    `session` and the number of the thread are sent as `X-Session-ID`: a gateway spreads the threads over its
    replicas, and what a thread's requests begin with is read once.
    """

    def __init__(self, base_url: str, api_key: str, session: str = "", priority: int = 0) -> None:
        import httpx2

        self._session, self._threads, self._thread = session, itertools.count(), threading.local()
        self.base_url = address.check(base_url)
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        if priority:
            headers["X-Llamachat-Priority"] = str(priority)
        self._http = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            trust_env=not address.is_loopback(self.base_url),
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    def __enter__(self) -> Completions:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def stream(self, body: Mapping[str, Any]) -> Iterator[Event]:
        """The events of one reply, the last a Done. Raises a LlamachatError if the server fails."""
        import httpx2

        said = {**body, "stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
        reader = ChunkReader()
        try:
            with self._http.stream(
                "POST", self._url, content=_encoded(said), headers=self._headers
            ) as response:
                if response.status_code != 200:
                    raise self._refusal(response.status_code, _json(response.read()), body)
                for line in response.iter_lines():
                    data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                    if data and data != "[DONE]":
                        yield from reader.feed(_chunk(data))
        except httpx2.TransportError as error:
            raise broken(empty=False) if reader.started else unreachable(self.base_url, error) from error
        yield from reader.finish()

    def whole(self, body: Mapping[str, Any]) -> Iterator[Event]:
        """The same events from a reply in one piece: cheaper if nobody watches."""
        import httpx2

        try:
            response = self._http.post(self._url, content=_encoded(body), headers=self._headers)
        except httpx2.TransportError as error:
            raise unreachable(self.base_url, error) from error
        reply = _json(response.content)
        if response.status_code != 200:
            raise self._refusal(response.status_code, reply, body)
        reader = ChunkReader()
        choices = [{**choice, "delta": choice.get("message") or {}} for choice in reply.get("choices") or ()]
        yield from reader.feed({**reply, "choices": choices})
        yield from reader.finish()

    @property
    def _headers(self) -> Mapping[str, str]:
        if not self._session:
            return {}
        if not hasattr(self._thread, "number"):
            self._thread.number = next(self._threads)
        return {"X-Session-ID": f"{self._session}-{self._thread.number}"}

    @property
    def _url(self) -> str:
        return self.base_url + "/chat/completions"

    def _refusal(self, status: int, reply: Any, body: Mapping[str, Any]) -> LlamachatError:
        error = reply.get("error") if isinstance(reply, Mapping) else None
        said = error if isinstance(error, Mapping) else {}
        message = str(said.get("message") or f"HTTP {status}")
        model = str(body.get("model"))
        return from_status(status, message, said.get("code"), said, base_url=self.base_url, model=model)


def _encoded(body: Mapping[str, Any]) -> bytes:
    """ASCII: halves of surrogate pairs, which UTF-8 can't hold, reach the server, which refuses them."""
    return json.dumps(body).encode()


def _chunk(data: str) -> Mapping[str, Any]:
    """One chunk. Raises what the server says has gone wrong in the middle of a reply."""
    chunk: dict[str, Any] = json.loads(data)
    if isinstance(error := chunk.get("error"), Mapping):
        raise from_message(str(error.get("message")), error.get("code"), error)
    return chunk


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return {}


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
