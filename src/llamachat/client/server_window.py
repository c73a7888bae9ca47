"""The window of a server, and a counter for it: asked only when that can't disturb another client's reply.

The stock `llama_cpp.server` knows none of these addresses. Those that it has for counting take the lock,
which by default cuts off the reply that is streaming, so they are never called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llamachat.client.counting import EstimatingCounter, ServerCounter, TokenCounter, requests
from llamachat.core.conversation import Message
from llamachat.errors import CannotCount
from llamachat.language import _

Call = Callable[[str, Mapping[str, Any] | None], Any]
"""`call(path, body)`: JSON from the server's root, None if it has none; ServerError if none answers."""


@dataclass(frozen=True, slots=True)
class ServerWindow:
    """`n_ctx` in tokens, None if the server does not say; `counter` for the prompts sent to it."""

    n_ctx: int | None
    counter: TokenCounter


def server_window(call: Call, model: str, n_ctx: int | None = None) -> ServerWindow:
    """Find out how the server counts: as llamachat's engine, llama-server or vLLM do, or not at all.

    `n_ctx` is what its `/health` has just said, None to ask it. Raises ServerError if none answers.
    """
    for ask in (_engine, _llama_server, _vllm):
        try:
            return ask(call, model, n_ctx)
        except CannotCount:
            continue
    return ServerWindow(None, EstimatingCounter())


def _engine(call: Call, _model: str, n_ctx: int | None) -> ServerWindow:
    n_ctx = n_ctx or _number(_part(call("/health", None), "n_ctx"))

    def count(messages: Sequence[Message]) -> int:
        return _number(_part(call("/extras/chat/tokenize/count", {"messages": requests(messages)}), "count"))

    return ServerWindow(n_ctx, ServerCounter(count))


def _llama_server(call: Call, _model: str, _n_ctx: int | None) -> ServerWindow:
    n_ctx = _number(_part(_part(call("/props", None), "default_generation_settings"), "n_ctx"))

    def count(messages: Sequence[Message]) -> int:
        prompt = _part(call("/apply-template", {"messages": requests(messages)}), "prompt")
        body = {"content": prompt, "add_special": True, "parse_special": True}
        return len(_part(call("/tokenize", body), "tokens"))

    return ServerWindow(n_ctx, ServerCounter(count))


def _vllm(call: Call, model: str, _n_ctx: int | None) -> ServerWindow:
    def tokenize(messages: Sequence[Message]) -> Any:
        body = {"model": model, "messages": requests(messages), "add_generation_prompt": True}
        return call("/tokenize", body)

    n_ctx = _number(_part(tokenize([Message("user", "x")]), "max_model_len"))
    return ServerWindow(n_ctx, ServerCounter(lambda messages: _number(_part(tokenize(messages), "count"))))


def _part(answer: Any, key: str) -> Any:
    if not isinstance(answer, Mapping) or key not in answer:
        raise CannotCount(
            _("The server can't count tokens any more."), _("Was another one started in its place?")
        )
    return answer[key]


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise CannotCount(_("The server gave {value!r} instead of a number of tokens.").format(value=value))
    return value
