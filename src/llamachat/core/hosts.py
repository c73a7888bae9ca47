"""Names and addresses of hosts, as HTTP's `Host` header and a browser's `Origin` carry them."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

ANY_ADDRESS = ("0.0.0.0", "::", "")
"""What a server binds to that listens on every address."""


def host_name(header: str) -> str:
    """The name or address in a `Host` header, in lower case, without port, brackets and the root's dot."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    name = header if header.count(":") > 1 else header.partition(":")[0]
    return name.rstrip(".").lower()


def is_loopback(name: str) -> bool:
    address = ip_address(name)
    return address.is_loopback if address else name == "localhost" or name.endswith(".localhost")


def ip_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def own_names() -> tuple[str, ...]:
    """This machine's name, plain and as other machines of a home network find it."""
    name = socket.gethostname().lower()
    return name, name.partition(".")[0], name.partition(".")[0] + ".local"


def is_server_name(header: str, bound: str, names: Sequence[str]) -> bool:
    """Whether a `Host` header names the server that is bound to the address `bound`.

    That is a loopback name, the bound host, or, bound to every address, any address or one of `names`. A page
    that rebinds its own name to this machine (DNS rebinding) sends that name: never an address.
    """
    name = host_name(header)
    if is_loopback(name) or name == bound.lower():
        return True
    return bound in ANY_ADDRESS and (ip_address(name) is not None or name in names)
