"""Who may come in: this server's own page with the cookie that its key gives, and nobody else.

A page of another site can make a browser send requests here. A `SameSite=Strict` cookie is not sent along
with them, and what changes something also needs JSON and this page's own Origin.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse

from llamachat.core import hosts

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
MOST_BYTES = 64 * 2**20


class Access:
    """Middleware around the page's app."""

    def __init__(self, app: App, *, host: str, key: str, cookie: str) -> None:
        self._app, self._host, self._key, self.cookie = app, host, key, cookie
        self._names = hosts.own_names()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refusal(scope["method"], scope["path"], headers)
        if refused:
            status, text = refused
            return await JSONResponse({"error": text}, status)(scope, receive, sending)
        return await self._app(scope, receive, sending)

    def _refusal(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not hosts.is_server_name(host, self._host, self._names):
            return 403, f"Host {host!r} is not this server's name."
        if not path.startswith("/api/"):
            return None
        if method != "GET":
            origin = urlsplit(headers.get("origin", ""))
            if origin.scheme not in ("http", "https") or origin.netloc.lower() != host.lower():
                return 403, "This request does not come from the page."
            if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return 415, "Send JSON."
            if "transfer-encoding" in headers:
                return 411, "Send Content-Length."  # without it there is no limit
            if int(headers.get("content-length") or 0) > MOST_BYTES:
                return 413, f"This is larger than {MOST_BYTES // 2**20} MiB."
        if path != "/api/sign-in" and not self.is_key(_cookie(headers.get("cookie", ""), self.cookie)):
            return 401, "The address needs its key."
        return None

    def is_key(self, given: str) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(given.encode(), self._key.encode())


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
