"""Where the bytes of a file are, and whether they are still those of the file that was asked for."""

from __future__ import annotations

import urllib.parse

import httpx2

from llamachat.hub.journal import Identity
from llamachat.hub.spans import Span


class FileChanged(Exception):
    """The server has another file under this address than it had before."""


class Address:
    """Where the bytes are: the hub's address, and the one it redirected to while that is good."""

    def __init__(self, url: str, identity: Identity, token: str | None) -> None:
        self.url = url
        self.identity = identity
        self.token = token
        self.redirected: str | None = None

    def request(self, span: Span | None) -> tuple[str, dict[str, str]]:
        url = self.redirected or self.url
        headers = {"Accept-Encoding": "identity"}
        if span:
            headers["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        if self.token and origin(url) == origin(self.url):
            headers["Authorization"] = f"Bearer {self.token}"
        return url, headers

    def learn(self, response: httpx2.Response) -> None:
        """Keep the address that the hub redirected to. Raises FileChanged where it named another file."""
        for answer in response.history:
            etag = answer.headers.get("X-Linked-Etag", "").strip('W/"')
            if self.identity.sha256 and len(etag) == 64 and etag != self.identity.sha256:
                raise FileChanged(f"its sha256 is {etag} now")
        version, known = version_of(response), self.identity.etag
        if known and version and not self.identity.sha256 and response.is_success and version != known:
            raise FileChanged(f"its ETag is {version} now")
        if response.history and response.is_success:
            self.redirected = str(response.url)


def version_of(response: httpx2.Response) -> str | None:
    """What tells one state of a file from another."""
    return response.headers.get("ETag") or response.headers.get("Last-Modified")


def origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
