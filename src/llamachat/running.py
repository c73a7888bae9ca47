"""The servers of this user that run on this computer: a private file for each, with its address and its key.

A chat without a key finds it here, and `llamachat ps` lists them. The key that other computers need is made
once and kept.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

_ANY_HOST = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """`host` is what it is bound to, `base_url` how this computer reaches it; `pid` is that of `serve`.

    `created` is the process's start in seconds since the epoch, because pids are reused.
    """

    base_url: str
    host: str
    api_key: str | None
    model: str
    n_ctx: int
    pid: int
    created: float

    @property
    def alive(self) -> bool:
        import psutil

        try:
            return abs(psutil.Process(self.pid).create_time() - self.created) < 1
        except psutil.Error:
            return False

    def is_at(self, base_url: str) -> bool:
        """Whether a client that calls `base_url` reaches this server."""
        ours, theirs = urlsplit(self.base_url), urlsplit(base_url)
        if (ours.scheme, ours.port) != (theirs.scheme, theirs.port):
            return False
        host = (theirs.hostname or "").rstrip(".")
        if host == ours.hostname or (_is_loopback(host) and _is_loopback(ours.hostname or "")):
            return True
        return self.host in _ANY_HOST and host in _own_addresses()


@contextlib.contextmanager
def announced(folder: Path, server: RunningServer) -> Iterator[None]:
    """While entered, `server` is found in `folder`, if that can be written."""
    path = folder / f"{server.pid}.json"
    try:
        with contextlib.suppress(OSError):
            _write(path, json.dumps(asdict(server)))
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def running(folder: Path) -> list[RunningServer]:
    """The servers that are alive, oldest first; files that a kill left behind are removed."""
    found = []
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            server = RunningServer(**json.loads(path.read_text(encoding="utf-8")))
            if server.alive:
                found.append(server)
            else:
                path.unlink(missing_ok=True)
    return sorted(found, key=lambda server: server.created)


def key_for(folder: Path, base_url: str) -> str | None:
    """The key of the server at `base_url`, if this user runs it on this computer."""
    return next((server.api_key for server in running(folder) if server.is_at(base_url)), None)


def network_key(path: Path) -> str:
    """The key for other computers: the one in `path`, else a new one, which is kept there if possible."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if (kept := path.read_text(encoding="ascii").strip()).isalnum():
            return kept
    key = secrets.token_hex(16)
    with contextlib.suppress(OSError):
        _write(path, key + "\n")
    return key


def _write(path: Path, text: str) -> None:
    """Write a file that only the user can read, in a folder that only the user can list."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _own_addresses() -> set[str]:
    import psutil

    found = {socket.gethostname()}
    for addresses in psutil.net_if_addrs().values():
        found.update(address.address.split("%")[0] for address in addresses)
    return found
