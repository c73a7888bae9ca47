"""What is too large for the model is refused before it costs something."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llamachat.engine.failures import Refused, context_exceeded
from llamachat.tools.request import MAX_TOOLS

MARKS = (b'"', b"[", b"{", b",")
MOST_MARKS = 4_000_000
"""So many of these take half a second to read, and as values many times their size."""
MOST_STOPS = 64
MOST_BIAS = 100


@dataclass(frozen=True)
class Limits:
    """What fits into the model. `longest_token` is in bytes of text."""

    n_ctx: int
    n_vocab: int
    longest_token: Callable[[], int]


def check_values(content: bytes) -> None:
    """Before JSON is read; raises Refused."""
    if sum(map(content.count, MARKS)) > MOST_MARKS:
        raise Refused(400, "The body has more values than a request can need.")


def check_body(body: Mapping[str, Any], limits: Limits) -> None:
    """Before a chat or a completion is looked at more closely; raises Refused."""
    messages, prompt = body.get("messages"), body.get("prompt")
    if isinstance(messages, list):
        _check_tokens(len(messages), "messages", limits)  # each takes one at least
        contents = (message.get("content") for message in messages if isinstance(message, dict))
        _check_text(sum(map(_length, contents)), "messages", limits)
    are_tokens = isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], int)
    for each in prompt if isinstance(prompt, list) and not are_tokens else [prompt]:
        _check_text(_length(each), "prompt", limits)
        _check_tokens(len(each) if isinstance(each, list) else 0, "prompt", limits)
    for name in ("tools", "functions"):
        if isinstance(body.get(name), list) and len(body[name]) > MAX_TOOLS:
            raise Refused(400, f"`{name}` must be a list of up to {MAX_TOOLS} functions.", param=name)
    if isinstance(body.get("stop"), list) and len(body["stop"]) > MOST_STOPS:
        raise Refused(400, f"stop must be a text or a list of up to {MOST_STOPS} texts.", param="stop")
    _check_bias(body, limits)


def _length(content: Any) -> int:
    """Characters, of which each has at least one byte."""
    if isinstance(content, list):
        return sum(_length(part.get("text")) for part in content if isinstance(part, dict))
    return len(content) if isinstance(content, str) else 0


def _check_text(length: int, param: str, limits: Limits) -> None:
    if length > limits.n_ctx:
        _check_tokens(length // limits.longest_token(), param, limits)


def _check_tokens(count: int, param: str, limits: Limits) -> None:
    if count > limits.n_ctx:
        raise context_exceeded(limits.n_ctx, count, param, at_least=True)


def check_ids(
    tokens: Iterable[int], n_vocab: int, param: str, where: str = "", of: str = "this model"
) -> None:
    """Raises Refused for a number that is no token; `where` it is within `param`, if that is a list."""
    for token in tokens:
        if not 0 <= token < n_vocab:
            raise Refused(400, f"{where or param}: {token} is not a token of {of}.", param=param)


def _check_bias(body: Mapping[str, Any], limits: Limits) -> None:
    """By token; the library's `logit_bias_type: "tokens"` has texts instead."""
    bias = body.get("logit_bias")
    if bias is None:
        return
    are_texts = body.get("logit_bias_type") == "tokens"
    if not isinstance(bias, dict) or len(bias) > limits.n_vocab:
        raise _wrong_bias(f"must be an object of up to {limits.n_vocab} tokens")
    for token, value in bias.items():
        is_token = token.isdecimal() and len(token) < 10 and int(token) < limits.n_vocab
        if not is_token and not are_texts:
            raise _wrong_bias(f"{token[:40]!r} is not a token of this model")
        if type(value) not in (int, float) or not -MOST_BIAS <= value <= MOST_BIAS:
            raise _wrong_bias(f"{token[:40]!r} must have a number from -{MOST_BIAS} to {MOST_BIAS}")


def _wrong_bias(message: str) -> Refused:
    return Refused(400, f"logit_bias: {message}.", param="logit_bias")
