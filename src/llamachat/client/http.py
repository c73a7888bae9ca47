"""HTTP without the `openai` package or httpx2: their import takes longer than a whole command may take."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import BaseHandler, HTTPHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from llamachat import __version__
from llamachat.client import address
from llamachat.client.error_translation import unreachable

if TYPE_CHECKING:
    from ssl import SSLContext

FAILURES = (URLError, OSError, http.client.HTTPException)
"""What is raised if no server answers, or the connection breaks off."""
_TIMEOUT = 5.0
_CONNECT_TIMEOUT = 10.0
_LIMIT = 4 * 2**20


def call(base_url: str, api_key: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
    """Status and JSON of `path`, requested with GET if there is no body; None for what is not JSON.

    Raises ServerError if no server answers.
    """
    data = None if body is None else json.dumps(body).encode()
    try:
        with send(address.root(base_url) + path, api_key, data, timeout=_TIMEOUT) as response:
            return response.status, parsed(response.read(_LIMIT))
    except HTTPError as error:
        with error:
            return error.code, None
    except FAILURES as error:
        raise unreachable(base_url, error) from error


def send(
    url: str,
    api_key: str,
    body: bytes | None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float | None = None,
) -> http.client.HTTPResponse:
    """The response to JSON; its connection is closed with it.

    `timeout` in seconds is that of each step; by default only connecting has one, for a model takes its time.
    Raises HTTPError if the status is not 2xx, and the other `FAILURES`.
    """
    proxies = [ProxyHandler({})] if address.is_loopback(url) else []
    opener = build_opener(*proxies, *_handlers(url, patient=timeout is None))
    said = {
        "Authorization": f"Bearer {api_key}",
        "Content-Type": "application/json",
        "User-Agent": f"llamachat/{__version__}",
        **(headers or {}),
    }
    response: http.client.HTTPResponse = opener.open(
        Request(url, body, said), timeout=_CONNECT_TIMEOUT if timeout is None else timeout
    )
    return response


def parsed(text: bytes) -> Any:
    """What `text` is as JSON; None if it is not."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _handlers(url: str, *, patient: bool) -> list[BaseHandler]:
    if not url.startswith("https:"):
        return [_Handler()] if patient else []
    import httpx2

    # The certificates that the chat trusts.
    context = httpx2.create_ssl_context()
    return [_TLSHandler(context) if patient else HTTPSHandler(context=context)]


class _Connection(http.client.HTTPConnection):
    """Only connecting has a time limit."""

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(None)


class _TLSConnection(_Connection, http.client.HTTPSConnection):
    pass


class _Handler(HTTPHandler):
    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _TLSHandler(HTTPSHandler):
    def __init__(self, context: SSLContext) -> None:
        super().__init__(context=context)
        self._trusted = context

    def https_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_TLSConnection, req, context=self._trusted)
