"""The address of a server, and how it is reached."""

from __future__ import annotations

from urllib.parse import urlsplit

from llamachat.core import hosts
from llamachat.core.base_url import checked
from llamachat.errors import UsageError
from llamachat.language import _


def check(base_url: str) -> str:
    """`base_url` without a slash at its end; UsageError if it is not an http address."""
    try:
        return checked(base_url)
    except ValueError as error:
        raise UsageError(_("{base_url!r} is {error}.").format(base_url=base_url, error=error)) from error


def root(base_url: str) -> str:
    """The server's root, where `/health` is: the address without `/v1`."""
    return base_url.removesuffix("/v1")


def is_loopback(base_url: str) -> bool:
    """Whether the address is this machine's own, which no proxy is asked for."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    address = hosts.ip_address(host)
    return hosts.is_loopback(host) or (address is not None and address.is_unspecified)
