"""From options to an `Asker`: the server that is running, or its own if none was named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

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
def connected(
    server: Server, starting: Callable[[], None], *, session: str = "", priority: int = 0
) -> Iterator[tuple[Asker, ServerFacts]]:
    """An `Asker` and what its server says of itself. `starting` is told when one has to be started.

    Raises Unavailable if the server that was named does not answer.
    """
    with ExitStack() as stack:
        url, key = server.base_url, server.api_key
        try:
            said = facts.fetch(url, key)
        except Unavailable:
            if server.named:
                raise
            starting()
            own = stack.enter_context(OwnServer("--port=0", keep=server.keep))
            url, key = own.base_url, own.api_key
            said = facts.fetch(url, key)
        model = said.asked(server.model)
        window = server_window(lambda path, body: http.call(url, key, path, body)[1], model, said.n_ctx)
        yield Asker(Completions(url, key, session, priority), window, said), said
