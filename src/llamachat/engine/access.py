"""Who may use the server: not pages of other sites, rebound names or wrong keys.

The library's own server sends CORS `*` with credentials and ignores `Host`, so any web page that the user
opens could talk to the model. A foreign `Origin` is refused, not only answered without CORS headers: that
also stops the plain form posts that CORS lets through.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from llamachat.core import hosts
from llamachat.engine.failures import Refused, answer

LOOPBACK_ORIGIN = r"https?://(localhost|([^/:@]+\.)?localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?"
# Without a key, since whoever waits for the server asks it; `/health` hides the path from strangers.
OPEN_PATHS = ("/health", "/health/ready")


@dataclass(frozen=True)
class Rules:
    host: str
    origins: tuple[str, ...] = ()
    api_key: str | None = None
    own_names: tuple[str, ...] = ()

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Raise Refused for a request that is not allowed."""
        if not self.knows_host(headers.get("host", "")):
            raise Refused(403, f"Host {headers.get('host', '')!r} is not this server's name.")
        if "origin" in headers and not self.trusts(headers["origin"], headers.get("host", "")):
            raise Refused(
                403, f"Origin {headers['origin']!r} is not allowed; start with --cors-origin to add it."
            )
        if method != "OPTIONS" and self.needs_key(path) and not self.is_key(headers.get("authorization", "")):
            raise Refused(401, "Invalid API key", code="invalid_api_key")

    def knows_host(self, header: str) -> bool:
        return hosts.is_server_name(header, self.host, self.own_names)

    def trusts(self, origin: str, host: str) -> bool:
        """A loopback page, one that was added, or one that this server itself sent (its /docs)."""
        try:
            parts = urlsplit(origin)
        except ValueError:  # brackets without an address in them
            return False
        own = parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
        loopback = parts.scheme in ("http", "https") and hosts.is_loopback(hosts.host_name(parts.netloc))
        return own or loopback or origin in self.origins or "*" in self.origins

    def needs_key(self, path: str) -> bool:
        if self.api_key is None or path in OPEN_PATHS:
            return False
        return is_api(path) or not hosts.is_loopback(self.host.lower())

    def is_stranger(self, headers: Mapping[str, str]) -> bool:
        """Somebody who may be on another machine and has not shown the key that there is."""
        return (
            self.api_key is not None
            and not hosts.is_loopback(self.host.lower())
            and not self.is_key(headers.get("authorization", ""))
        )

    def is_key(self, authorization: str) -> bool:
        """Compared in constant time, so that it can't be guessed letter by letter."""
        scheme, _, key = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            key.strip().encode(), (self.api_key or "").encode()
        )


def is_api(path: str) -> bool:
    return not path.startswith(("/docs", "/redoc", "/openapi.json"))


class AccessMiddleware:
    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            try:
                self._rules.check(scope["method"], scope["path"], headers)
                scope.setdefault("state", {})["stranger"] = self._rules.is_stranger(headers)
            except Refused as error:
                return await answer(error)(scope, receive, send)
        return await self._app(scope, receive, send)
