"""Which hosts and ports the server can bind, who uses a port already, and how other computers reach it."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

import psutil

from llamachat.errors import AddressError
from llamachat.language import _, reason


def is_loopback(host: str) -> bool:
    """Whether `host` can only be reached from this computer."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def reachable_host(host: str) -> str:
    """Where this computer itself reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def outside_host(host: str) -> str:
    """Where other computers most likely reach a server that listens on `host`."""
    if host not in ("0.0.0.0", "::"):
        return host
    # On `::` the server does not accept IPv4: asyncio asks for IPv6 only.
    family, far = (socket.AF_INET6, "2001:db8::1") if host == "::" else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))  # this sends nothing on a datagram socket, it only picks a route
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


def base_url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/v1"


def claim(host: str, port: int) -> int:
    """Check that `host` and `port` can be listened on, and return the port: a free one if it is 0.

    Raises AddressError. The port is not reserved: the server binds it itself when the model is loaded.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise AddressError(
            _("Unknown host {host!r}.").format(host=host), _("Use --host 127.0.0.1 or 0.0.0.0.")
        ) from error
    for family, kind, protocol, _name, address in found:
        port = _try_bind(family, kind, protocol, (address[0], port, *address[2:]), host)
    if _answers(reachable_host(host), port):
        raise in_use(port)
    return port


def _try_bind(family: int, kind: int, protocol: int, address: tuple[object, ...], host: str) -> int:
    try:
        with socket.socket(family, kind, protocol) as probe:  # raises if the kernel has no IPv6
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise _translate(error, host, int(str(address[1]))) from error


def _translate(error: OSError, host: str, port: int) -> AddressError:
    if error.errno == errno.EADDRINUSE:
        return in_use(port)
    if error.errno == errno.EADDRNOTAVAIL:
        return AddressError(
            _("{host} is not an address of this computer.").format(host=host),
            _("Use --host 127.0.0.1, or 0.0.0.0 for the network."),
        )
    if error.errno == errno.EACCES:
        return AddressError(
            _("This account may not use port {port}.").format(port=port),
            _("Choose another, like --port 8001."),
        )
    return AddressError(
        _("Cannot listen on {host}:{port}: {reason}.").format(host=host, port=port, reason=reason(error)),
        _("Try another --host or --port."),
    )


def _answers(host: str, port: int) -> bool:
    """Whether a program listens there: some systems let two bind the same port."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def in_use(port: int) -> AddressError:
    """An error that says which process uses `port`, if that can be found out, and which port is free."""
    owner = _owner(port)
    by = _(" by {owner}").format(owner=owner) if owner else ""
    return AddressError(
        _("Port {port} is in use{by}.").format(port=port, by=by),
        _("Stop that, or choose another: --port {port}.").format(port=_next_free(port)),
    )


def _owner(port: int) -> str:
    """The process that listens on `port`, or nothing if the system does not tell."""
    try:
        pids = [c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid]
        if not pids:
            return ""
        process = psutil.Process(pids[0])
        ours = any("llamachat.engine" in part or "llama_cpp.server" in part for part in process.cmdline())
        return _("{name} (process {pid})").format(
            name=_("a llama server") if ours else process.name(), pid=process.pid
        )
    except (psutil.Error, OSError):
        return ""


def _next_free(port: int) -> int:
    for candidate in range(port + 1, min(port + 50, 65536)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return candidate
    return 0
