"""What a server says about itself on `/health`, which takes no model's lock anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llamachat.client import http
from llamachat.client.error_translation import refused_key
from llamachat.core import presets
from llamachat.core.visible import one_line
from llamachat.errors import ServerError
from llamachat.language import _


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """None if the server does not say; a foreign server says nothing."""

    model: str | None = None
    n_ctx: int | None = None
    lanes: int | None = None
    bundled: bool = False
    vision: bool | None = None

    only_model: str | None = None
    """The one name that requests may give, at a server that has one model and checks names, as vLLM does."""

    def check_vision(self) -> None:
        """Raises ServerError if the server says that its model can't see pictures."""
        if self.vision is False:
            raise ServerError(
                _("{model} can't see pictures.").format(model=self.model or _("This model")),
                _("Start a model that can, with the projector beside it or named by `serve --mmproj FILE`."),
            )

    def asked(self, named: str) -> str:
        """The model to ask for: `named`, unless that is the default, which such a server refuses."""
        return self.only_model if self.only_model and named == presets.MODEL else named


def fetch(base_url: str, api_key: str) -> ServerFacts:
    """Ask the server once. Raises ServerError if none answers yet, AuthError if it refuses the key."""
    status, said = http.call(base_url, api_key, "/health")
    if status in (401, 403):
        raise refused_key()
    if status == 503:
        raise ServerError(
            _("The server at {base_url} is still loading its model.").format(base_url=base_url),
            _("Try --wait 60."),
        )
    if status == 200 and said is None:  # vLLM: /health is empty
        return _of_the_only(_listed(base_url, api_key))
    return _read(said)


def models(base_url: str, api_key: str) -> tuple[str, ...]:
    """The models that the server has; empty if it does not say."""
    return tuple(row["id"] for row in _listed(base_url, api_key))


def wait(
    base_url: str,
    api_key: str,
    seconds: float,
    on_wait: Callable[[ServerError], None],
    sleep: Callable[[float], None] = time.sleep,
) -> ServerFacts:
    """Like `fetch`, but a server that does not answer is asked again for that many seconds."""
    deadline = time.monotonic() + seconds
    told = False
    while True:
        try:
            return fetch(base_url, api_key)
        except ServerError as error:
            if time.monotonic() >= deadline:
                raise
            if not told:
                on_wait(error)
                told = True
        sleep(0.3)


def _read(said: Any) -> ServerFacts:
    if not isinstance(said, Mapping):
        return ServerFacts()
    model = said.get("model")
    return ServerFacts(
        model=one_line(model, 80) if isinstance(model, str) and model else None,
        n_ctx=_positive(said.get("n_ctx")),
        lanes=_positive(said.get("lanes")),
        vision=said["vision"] if isinstance(said.get("vision"), bool) else None,
        bundled=said.get("bundled", said.get("embedded")) is True,
    )


def _listed(base_url: str, api_key: str) -> list[Mapping[str, Any]]:
    """The rows of OpenAI's list of models, each with its `id`."""
    status, said = http.call(base_url, api_key, "/v1/models")
    rows = said.get("data") if status == 200 and isinstance(said, Mapping) else None
    if not isinstance(rows, list):
        return []
    return [row for row in rows if isinstance(row, Mapping) and isinstance(row.get("id"), str)]


def _of_the_only(rows: list[Mapping[str, Any]]) -> ServerFacts:
    """`max_model_len` is vLLM's. A server of several models says nothing of one."""
    if len(rows) != 1:
        return ServerFacts()
    name = rows[0]["id"]
    return ServerFacts(one_line(name, 80), _positive(rows[0].get("max_model_len")), only_model=name)


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
