"""Addresses, on real sockets."""

from __future__ import annotations

import os
import socket

import pytest

from llamachat.errors import AddressError
from llamachat.server import bind
from tests.support import free_port


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_loopback_is_known(host: str) -> None:
    assert bind.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_everything_else_is_not_loopback(host: str) -> None:
    assert not bind.is_loopback(host)


def test_a_free_port_is_claimed_and_not_kept() -> None:
    port = free_port()
    assert bind.claim("127.0.0.1", port) == port
    assert bind.claim("127.0.0.1", port) == port


def test_port_0_becomes_a_free_one() -> None:
    assert bind.claim("127.0.0.1", 0) > 0


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_names_its_owner_and_the_way_out(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=f"Port {port} is in use") as caught:
            bind.claim(host, port)
    assert f"process {os.getpid()}" in caught.value.message
    assert "--port " in caught.value.hint


def test_a_foreign_address_can_not_be_listened_on() -> None:
    with pytest.raises(AddressError, match=r"192\.0\.2\.77 is not an address of this computer"):
        bind.claim("192.0.2.77", free_port())


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(AddressError, match=r"no-such-host\.invalid"):
        bind.claim("no-such-host.invalid", free_port())


def test_ipv6_is_bracketed() -> None:
    assert bind.base_url("http", "::1", 8000) == "http://[::1]:8000/v1"


def test_a_server_on_every_address_is_reached_by_loopback() -> None:
    assert bind.reachable_host("0.0.0.0") == "127.0.0.1"


def test_a_server_on_every_address_is_named_to_others_in_its_own_kind_of_address() -> None:
    assert ":" not in bind.outside_host("0.0.0.0")
    found = bind.outside_host("::")
    assert ":" in found or found == socket.gethostname()
