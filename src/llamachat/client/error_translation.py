"""Foreign exceptions, translated into ours where they enter."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llamachat.core.visible import one_line
from llamachat.errors import (
    AuthError,
    BrokenAnswer,
    ContextExceeded,
    LlamachatError,
    ModelError,
    ServerError,
    Unavailable,
)
from llamachat.language import _

if TYPE_CHECKING:
    from openai import APIStatusError

_TOO_LONG = re.compile(r"context (length|size|window)|context_length_exceeded|exceed_context_size", re.I)
_SIZES = (
    # llama_cpp.server and vLLM: "maximum context length is 2048 tokens. However, you requested 3010 tokens
    # (2498 in the messages, 512 in the completion)."
    re.compile(r"context length is (?P<n_ctx>\d+) tokens.*?\((?P<prompt>\d+) in ", re.I | re.S),
    # The same if only the sum is given, which is on the safe side.
    re.compile(r"context length is (?P<n_ctx>\d+) tokens.*?requested (?P<prompt>\d+) tokens", re.I | re.S),
    # llamachat's engine: "maximum context length is 2048 tokens, but the prompt has 3010 tokens."
    re.compile(r"context length is (?P<n_ctx>\d+) tokens.*?prompt has (?P<prompt>\d+) tokens", re.I | re.S),
    # Newer vLLM: "maximum context length is 2048 tokens. However, your request has 3010 input tokens."
    re.compile(r"context length is (?P<n_ctx>\d+) tokens.*?request has (?P<prompt>\d+) input", re.I | re.S),
    # llama-server: "request (3010 tokens) exceeds the available context size (2048 tokens)"
    re.compile(r"request \((?P<prompt>\d+) tokens\) exceeds .*?size \((?P<n_ctx>\d+) tokens\)", re.I | re.S),
    # llama_cpp's own: "Requested tokens (3010) exceed context window of 2048"
    re.compile(r"requested tokens \((?P<prompt>\d+)\) exceed context window of (?P<n_ctx>\d+)", re.I),
)


def translate(error: Exception, base_url: str, model: str, *, started: bool) -> LlamachatError:
    """The error of a turn; `started` says whether anything of the answer had come."""
    import openai

    if isinstance(error, openai.APIConnectionError):
        return broken(empty=False) if started else unreachable(base_url, error)
    if isinstance(error, openai.APIStatusError):
        return _from_status(error, base_url, model)
    if isinstance(error, openai.APIError):
        return from_message(error.message, error.code, error.body)
    return ServerError(
        _("What the server sent can't be read: {error}.").format(error=one_line(str(error), 120))
    )


def refused_key() -> AuthError:
    return AuthError(
        _("The server refused the key."),
        _("Give the one it was started with: --api-key or LLAMACHAT_API_KEY."),
    )


def broken(*, empty: bool) -> BrokenAnswer:
    if empty:
        return BrokenAnswer(
            _("The server closed the stream without an answer."),
            _("Its window may be full: send less at once, or start a new conversation."),
            command_hint=_("Its window may be full: send less at once, or /clear starts a new conversation."),
            empty=True,
        )
    return BrokenAnswer(_("The connection broke off before the answer was complete."), "", empty=False)


def unreachable(base_url: str, error: BaseException) -> ServerError:
    """No connection, with the reason if the user can do something about it."""
    causes = list(_causes(error))
    if any(isinstance(c, socket.gaierror) for c in causes):
        return ServerError(
            _("The address of {base_url} is not known.").format(base_url=base_url), _("Check --base-url.")
        )
    if any(isinstance(c, TimeoutError) or "imeout" in type(c).__name__ for c in causes):
        return Unavailable(
            _("The server at {base_url} does not answer in time.").format(base_url=base_url),
            _("Check --base-url."),
        )
    if any("SSL" in type(c).__name__ or "SSL" in str(c) for c in causes):
        return ServerError(
            _("The TLS connection to {base_url} failed.").format(base_url=base_url),
            _("Check its certificate, or use http:// if it has none."),
        )
    return Unavailable(
        _("No server answers at {base_url}.").format(base_url=base_url),
        _("Start one with `llamachat serve` in another terminal; one that died is back in a few seconds."),
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and all that led to it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        reason = getattr(seen, "reason", None)
        seen = reason if isinstance(reason, BaseException) else seen.__cause__ or seen.__context__


def _from_status(error: APIStatusError, base_url: str, model: str) -> LlamachatError:
    message = error.body.get("message") if isinstance(error.body, Mapping) else None
    return from_status(
        error.status_code,
        str(message or error.message),
        error.code,
        error.body,
        base_url=base_url,
        model=model,
    )


def from_status(
    status: int, message: str, code: str | None, body: object, *, base_url: str, model: str
) -> LlamachatError:
    """The error of an HTTP `status`; `body` is what it has under `error`."""
    if status in (401, 403):
        return refused_key()
    if status == 404:
        if "model" in message.lower():
            return ModelError(
                _("The server has no model {model!r}.").format(model=model),
                _("Name another with --model or /model."),
            )
        return ServerError(
            _("No chat is served at {base_url}.").format(base_url=base_url),
            _("Should --base-url end in /v1?"),
        )
    if status == 503:
        loading = "oading" in message
        why = (
            _("The server is still loading its model.")
            if loading
            else _("The server has no room: {message}.").format(message=one_line(message).rstrip("."))
        )
        return Unavailable(why, _("Try again in a moment."))
    return from_message(message, code, body)


def from_message(message: str, code: str | None, body: object) -> LlamachatError:
    """The error that a server put into words."""
    text = one_line(message)
    if code != "context_length_exceeded" and not _TOO_LONG.search(message):
        known = _(text).rstrip(".。")  # the engine's own words
        return ServerError(_("The server answered with an error: {text}.").format(text=known))
    found = next((m for m in (p.search(message) for p in _SIZES) if m), None)
    said: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    return ContextExceeded(
        _("The conversation is larger than the model's window: {text}.").format(text=text.rstrip(".")),
        _("Start a new one; `llamachat serve --n-ctx` makes the window larger."),
        command_hint=_("/clear starts a new one; `llamachat serve --n-ctx` makes the window larger."),
        prompt_tokens=int(found["prompt"]) if found else _number(said.get("n_prompt_tokens")),
        n_ctx=int(found["n_ctx"]) if found else _number(said.get("n_ctx")),
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
