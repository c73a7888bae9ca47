"""Small JSON calls to a server's root, apart from the chat: without the SDK, which is slow to import."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError

from llamachat.client import address
from llamachat.client.error_translation import unreachable

TIMEOUT = 5.0
_LIMIT = 4 * 2**20


def call(base_url: str, api_key: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
    """Status and JSON of `path`, requested with GET if there is no body; None for what is not JSON.

    Raises ServerError if no server answers.
    """
    request = urllib.request.Request(
        address.root(base_url) + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
    )
    no_proxy = [urllib.request.ProxyHandler({})] if address.is_loopback(base_url) else []
    try:
        with urllib.request.build_opener(*no_proxy).open(request, timeout=TIMEOUT) as response:
            return response.status, _parse(response.read(_LIMIT))
    except HTTPError as error:
        with error:
            return error.code, None
    except (URLError, OSError, http.client.HTTPException) as error:
        raise unreachable(base_url, error) from error


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
