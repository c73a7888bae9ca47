"""From options to an `Asker`: the server that is running, or its own if none was named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from llamachat.client import ServerFacts, facts, http, server_window
from llamachat.client.completions import Completions
from llamachat.core import presets
from llamachat.errors import Unavailable
from llamachat.programs.asking import Asker
from llamachat.programs.own_server import OwnServer

ROWS_PRIORITY = 1
"""That of a batch's rows: lower goes first, so that somebody's question (0) does."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask. `named` says that the user chose it, so that no other is started in its place."""

    base_url: str
    api_key: str
    named: bool
    model: str = presets.MODEL
    keep: bool = False


@contextmanager
def reached(server: Server, starting: Callable[[Server], None]) -> Iterator[tuple[str, str, ServerFacts]]:
    """Address, key, and what the server says of itself. `starting` is told when one has to be started.

    Raises Unavailable if the server that was named does not answer.
    """
    url, key = server.base_url, server.api_key
    try:
        said = facts.fetch(url, key)
    except Unavailable:
        if server.named:
            raise
    else:
        yield url, key, said
        return
    starting(server)
    # One that stays is where the next program looks for it.
    port = urlsplit(url).port if server.keep else 0
    with OwnServer(f"--port={port}", keep=server.keep) as own:
        yield own.base_url, own.api_key, facts.fetch(own.base_url, own.api_key)


@contextmanager
def connected(
    server: Server, starting: Callable[[Server], None], *, session: str = "", priority: int = 0
) -> Iterator[tuple[Asker, ServerFacts]]:
    """An `Asker` for the server that is `reached`."""
    with reached(server, starting) as (url, key, said):
        model = said.asked(server.model)
        window = server_window(lambda path, body: http.call(url, key, path, body)[1], model, said.n_ctx)
        yield Asker(Completions(url, key, session, priority), window, said), said
