"""What comes while an answer streams, whichever server it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """The next piece of what the model thinks before it answers; never part of the history."""

    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Tokens of the prompt: `total`; `cache` of them were known; `processed`, these included, are read."""

    total: int
    cache: int
    processed: int


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits behind `position` others."""

    position: int


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Done:
    """The end of an answer: `finish_reason` is the server's, or `interrupted`.

    `timings` are those of llama-server (prompt_n, prompt_ms, predicted_n, predicted_per_second, cache_n, …),
    empty if the server gives none. `logprobs` are those of OpenAI's chat completions, one for each token.
    """

    finish_reason: str
    usage: Usage | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    logprobs: Sequence[Mapping[str, Any]] = ()


Event = TextDelta | ThinkingDelta | Progress | Queued | Done
