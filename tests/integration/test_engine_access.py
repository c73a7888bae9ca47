from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator

import pytest

from llamachat.core.engine_options import EngineOptions
from llamachat.engine.middleware import MAX_BODY_BYTES
from tests.integration.engine_process import Engine, question, running

KEY = "a long secret"


@pytest.fixture(scope="module")
def open_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Bound to every address, with a key and a page of another site let in."""
    options = EngineOptions(host="0.0.0.0", cors_origins=("https://chat.example",))
    with running(tmp_path_factory.mktemp("open") / "log", options, n_ctx=256, api_key=KEY) as engine:
        yield engine


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080"])
def test_pages_from_this_machine_may_ask(engine: Engine, origin: str) -> None:
    answer = engine.ask("GET", "/v1/models", headers={"Origin": origin})
    assert answer.status == 200 and answer.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example"])
def test_pages_of_other_sites_are_refused(engine: Engine, origin: str) -> None:
    answer = engine.ask("POST", "/v1/chat/completions", question("Hi."), {"Origin": origin})
    assert answer.status == 403 and "access-control-allow-origin" not in answer.headers
    assert "--cors-origin" in answer.json()["error"]["message"]


def test_preflight_tells_a_page_from_this_machine_what_it_may_send(engine: Engine) -> None:
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = engine.ask("OPTIONS", "/v1/chat/completions", headers=headers)
    assert answer.status == 200 and "authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


def test_an_added_origin_may_ask_with_the_key(open_engine: Engine) -> None:
    headers = {"Origin": "https://chat.example", "Authorization": f"Bearer {KEY}"}
    answer = open_engine.ask("GET", "/v1/models", headers=headers)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://chat.example"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]", "chat.localhost"])
def test_names_of_this_machine_are_its_names(engine: Engine, host: str) -> None:
    assert engine.ask("GET", "/health", headers={"Host": host}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "192.168.1.9:8000", "localhost.evil.example", ""])
def test_a_rebound_name_is_refused(engine: Engine, host: str) -> None:
    assert engine.ask("GET", "/health", headers={"Host": host}).status == 403


def test_bound_to_every_address_it_answers_to_addresses_and_its_own_name(open_engine: Engine) -> None:
    for host in ("192.168.1.9:8000", "[fe80::1]:8000", socket.gethostname()):
        assert open_engine.ask("GET", "/health", headers={"Host": host}).status == 200
    assert open_engine.ask("GET", "/health", headers={"Host": "evil.example"}).status == 403


@pytest.mark.parametrize("path", ["/v1/models", "/docs", "/openapi.json"])
def test_without_the_key_a_stranger_sees_nothing(open_engine: Engine, path: str) -> None:
    refused = open_engine.ask("GET", path, headers={"Authorization": "Bearer wrong"})
    assert refused.status == 401 and refused.json()["error"]["code"] == "invalid_api_key"
    assert open_engine.ask("GET", path).status == 401
    assert open_engine.ask("GET", path, headers={"Authorization": f"Bearer {KEY}"}).status == 200


def test_health_tells_a_stranger_no_path(open_engine: Engine) -> None:
    assert open_engine.ask("GET", "/health").json()["model_path"] is None
    known = open_engine.ask("GET", "/health", headers={"Authorization": f"Bearer {KEY}"}).json()
    assert known["model_path"].endswith(".gguf")


def test_a_body_larger_than_the_limit_is_refused_unread(engine: Engine) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_a_body_that_grows_over_the_limit_is_refused(engine: Engine) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 2**20 + 1):
            yield b" " * 2**20

    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/v1/embeddings")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces():
                connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            connection.send(b"0\r\n\r\n")
        assert connection.getresponse().status == 413
