from __future__ import annotations

import pytest

from llamachat.core.hosts import host_name, is_loopback
from llamachat.engine.access import LOOPBACK_ORIGIN, Rules
from llamachat.engine.failures import Refused


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost:8000", "localhost"),
        ("Example.COM.", "example.com"),
        ("[::1]:8000", "::1"),
        ("::1", "::1"),
        ("[fe80::1]", "fe80::1"),
        ("", ""),
    ],
)
def test_host_name_is_what_stands_before_the_port(header: str, name: str) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize("name", ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_names(name: str) -> None:
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name", ["", "localhost.evil", "evil-localhost", "10.0.0.1", "0.0.0.0", "127.0.0.1.x"]
)
def test_names_that_only_look_like_loopback(name: str) -> None:
    assert not is_loopback(name)


def test_a_bound_host_answers_to_its_own_name_only() -> None:
    rules = Rules("192.168.1.9")
    assert rules.knows_host("192.168.1.9:8000") and rules.knows_host("localhost:8000")
    assert not rules.knows_host("192.168.1.10:8000") and not rules.knows_host("evil.example")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_bound_to_all_addresses_any_address_and_own_name_will_do(host: str) -> None:
    rules = Rules(host, own_names=("laptop", "laptop.local"))
    assert rules.knows_host("10.1.2.3:8000") and rules.knows_host("laptop.local:8000")
    assert not rules.knows_host("rebound.example:8000")


@pytest.mark.parametrize(
    "origin",
    ["null", "file://", "https://evil.example", "ftp://localhost", "localhost", "http://[::1", "http://[x]"],
)
def test_foreign_origins_are_not_trusted(origin: str) -> None:
    assert not Rules("127.0.0.1").trusts(origin, "localhost:8000")


def test_the_servers_own_pages_and_added_origins_are_trusted() -> None:
    rules = Rules("0.0.0.0", origins=("https://chat.example",))
    assert rules.trusts("http://192.168.1.9:8000", "192.168.1.9:8000")
    assert rules.trusts("https://chat.example", "192.168.1.9:8000")
    assert not rules.trusts("http://chat.example", "192.168.1.9:8000")
    assert Rules("0.0.0.0", origins=("*",)).trusts("https://any.example", "192.168.1.9:8000")


def test_only_the_whole_key_opens() -> None:
    rules = Rules("127.0.0.1", api_key="schlüssel")
    assert rules.is_key("Bearer schlüssel") and rules.is_key("bearer schlüssel")
    assert not any(map(rules.is_key, ("", "schlüssel", "Bearer ", "Bearer schlüsse", "Basic schlüssel")))


def test_docs_are_open_on_this_machine_and_need_the_key_elsewhere() -> None:
    at_home, abroad = Rules("127.0.0.1", api_key="k"), Rules("0.0.0.0", api_key="k")
    assert not at_home.needs_key("/docs") and at_home.needs_key("/v1/models")
    assert abroad.needs_key("/docs") and abroad.needs_key("/openapi.json") and not abroad.needs_key("/health")
    assert not Rules("0.0.0.0").needs_key("/v1/models")


def test_preflights_carry_no_key() -> None:
    rules = Rules("127.0.0.1", api_key="k")
    rules.check("OPTIONS", "/v1/models", {"host": "localhost"})
    with pytest.raises(Refused):
        rules.check("GET", "/v1/models", {"host": "localhost"})


def test_the_pattern_for_cors_and_the_check_agree() -> None:
    import re

    for origin in ("http://localhost:3", "https://a.localhost", "http://127.0.0.1", "http://[::1]:8"):
        assert re.fullmatch(LOOPBACK_ORIGIN, origin) and Rules("127.0.0.1").trusts(origin, "x")
    for origin in ("http://localhost.evil", "http://evil", "null"):
        assert not re.fullmatch(LOOPBACK_ORIGIN, origin)
