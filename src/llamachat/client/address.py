"""The address of a server, and how it is reached."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from llamachat.errors import UsageError


def check(base_url: str) -> str:
    """`base_url` without a slash at its end; UsageError where it is no http address."""
    url = base_url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # Nothing else goes into the head of a request: a name in other letters has an ASCII form, xn--….
        usable = usable and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            f"--base-url: {base_url!r} is no address.", "It looks like http://localhost:8000/v1."
        )
    return url


def root(base_url: str) -> str:
    """The server's root, where `/health` is: the address without `/v1`."""
    return base_url.removesuffix("/v1")


def is_loopback(base_url: str) -> bool:
    """Whether the address is this machine's own, which no proxy is asked for."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
