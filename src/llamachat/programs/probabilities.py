"""How likely a model finds each of several labels: read from the logprobs of one answer.

At each token the answer could have gone another way. Where only one label begins so, the chance of that way
is that label's; where several do, it is shared out by asking again among these alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TOP = 20
"""The most that OpenAI's protocol gives at a token."""
Logprobs = Sequence[Mapping[str, Any]]
"""`logprobs.content` of a chat completion."""


def weigh(labels: Sequence[str], entries: Logprobs) -> tuple[dict[str, float], dict[tuple[str, ...], float]]:
    """The chances of labels, and those of groups of labels that begin alike on ways that were not taken."""
    alone: dict[str, float] = {}
    shared: dict[tuple[str, ...], float] = {}
    text, mass = b"", 1.0
    for entry in entries:
        token, logprob = _bytes(entry), float(entry["logprob"])
        for other in entry.get("top_logprobs") or ():
            group = _beginning(labels, text + _bytes(other))
            if group and _bytes(other) != token:
                _add(alone, shared, group, mass * math.exp(other["logprob"]))
        text += token
        mass *= math.exp(logprob)
        group = _beginning(labels, text)
        if len(group) < 2:
            break
    if group := _beginning(labels, text) if entries else ():
        _add(alone, shared, group, mass)
    return alone, shared


def normalised(labels: Iterable[str], chances: Mapping[str, float]) -> dict[str, float] | None:
    """Chances that add up to 1; None if nothing is known."""
    total = sum(chances.values())
    return {label: chances.get(label, 0.0) / total for label in labels} if total > 0 else None


def _add(
    alone: dict[str, float], shared: dict[tuple[str, ...], float], group: tuple[str, ...], mass: float
) -> None:
    if len(group) == 1:
        alone[group[0]] = alone.get(group[0], 0.0) + mass
    else:
        shared[group] = shared.get(group, 0.0) + mass


def _beginning(labels: Sequence[str], text: bytes) -> tuple[str, ...]:
    """The labels that an answer with this beginning can be; with quotes as JSON has them, or without."""
    said = text.lstrip()
    return tuple(
        label
        for label in labels
        if any(
            f"{word}\n".encode().startswith(said) for word in (json.dumps(label, ensure_ascii=False), label)
        )
    )


def _bytes(entry: Mapping[str, Any]) -> bytes:
    given = entry.get("bytes")
    return bytes(given) if given is not None else str(entry["token"]).encode()
