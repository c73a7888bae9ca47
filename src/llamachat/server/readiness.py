"""The server is ready when it has generated a token: asked over HTTP, without a proxy."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llamachat.errors import ServerError
from llamachat.language import _
from llamachat.server import bind
from llamachat.server.child import Child

POLL_SECONDS = 0.1
DEATH_SECONDS = 2.0
HEALTH_SECONDS = 10.0
"""A busy machine may take some: no answer by then is taken for an engine that is gone."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the child answers, and its key."""

    scheme: str
    host: str
    port: int
    api_key: str | None = None
    embeds: bool = False
    """The model makes embeddings, not text."""


def wait_until_ready(child: Child, endpoint: Endpoint, tick: Callable[[], bool]) -> bool:
    """Wait for the child's first token; return False as soon as `tick`, which is polled, does.

    Raises ServerError if the child dies or answers with an error, and AddressError if another program took
    the port while the model was loaded.
    """
    while not (listens(endpoint) and child.listens_on(endpoint.port)):
        if not child.alive:
            if listens(endpoint):
                raise bind.in_use(endpoint.port)
            raise ServerError(
                _("The server did not start: {cause}.").format(cause=child.cause_of_death()),
                _("--verbose shows its log."),
            )
        if not tick():
            return False
        time.sleep(POLL_SECONDS)
    return _first_token(child, endpoint, tick)


def _first_token(child: Child, endpoint: Endpoint, tick: Callable[[], bool]) -> bool:
    errors: list[str] = []
    asker = threading.Thread(target=lambda: errors.append(_ask(endpoint)), name="first-token", daemon=True)
    asker.start()
    while asker.is_alive() and child.alive:
        if not tick():
            return False
        asker.join(POLL_SECONDS)
    # A crash closes the connection before the system reports the death.
    if not child.alive or (errors[0] and child.dies_within(DEATH_SECONDS)):
        raise ServerError(
            _("The server died at its first token: {cause}.").format(cause=child.cause_of_death()),
            _("--verbose shows its log."),
        )
    if errors[0]:
        raise ServerError(
            _("The server could not generate a token: {error}.").format(error=errors[0]),
            _("--verbose shows its log."),
        )
    return True


def _connect(endpoint: Endpoint, timeout: float | None) -> http.client.HTTPConnection:
    if endpoint.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(endpoint.host, endpoint.port, timeout=timeout, context=context)
    return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout)


def listens(endpoint: Endpoint) -> bool:
    """Whether a program listens there, the child or another."""
    connection = _connect(endpoint, timeout=1)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def is_drained(endpoint: Endpoint) -> bool:
    """Whether it has no request any more and refuses new ones; also if it no longer answers."""
    said = health(endpoint)
    return not said or (said.get("state") == "draining" and not said.get("busy"))


def health(endpoint: Endpoint) -> dict[str, Any]:
    """What the engine says of itself; nothing if it does not answer."""
    connection = _connect(endpoint, timeout=HEALTH_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/health")
            said: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return {}
    return said


def _question(endpoint: Endpoint) -> tuple[str, str]:
    if endpoint.embeds:
        return "/v1/embeddings", json.dumps({"input": "Hi"})
    return "/v1/completions", json.dumps({"prompt": "Hi", "max_tokens": 1})


def _ask(endpoint: Endpoint) -> str:
    """Have one token generated; return what went wrong, or an empty string."""
    connection = _connect(endpoint, timeout=None)
    headers = {"Content-Type": "application/json"}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    try:
        connection.request("POST", *_question(endpoint), headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return "" if answer.status == 200 else f"HTTP {answer.status} {body[:200].decode('utf-8', 'replace')}"
