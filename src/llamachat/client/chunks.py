"""Chunks of a chat completion, translated into events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llamachat.client.error_translation import broken
from llamachat.core.events import Done, Event, Progress, Queued, ThinkingDelta, Usage
from llamachat.core.thinking import ThinkingSplitter


class ChunkReader:
    """Feed it every chunk of one stream, then `finish` it."""

    def __init__(self) -> None:
        self.started = False
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._timings: dict[str, float] = {}
        self._logprobs: list[Mapping[str, Any]] = []
        self._splitter = ThinkingSplitter()

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        yield from _waiting(chunk)
        if isinstance(timings := chunk.get("timings"), Mapping):
            self._timings = {k: float(v) for k, v in timings.items() if isinstance(v, (int, float))}
        if usage := chunk.get("usage"):
            self._usage = Usage(usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0)
        for choice in chunk.get("choices") or ():
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            self._logprobs += (choice.get("logprobs") or {}).get("content") or ()
            yield from self._delta(choice.get("delta") or {})

    def finish(self) -> Iterator[Event]:
        """The end of the stream. Raises BrokenAnswer if it is not the end of an answer."""
        yield from self._splitter.finish()
        if self._finish_reason is None:
            raise broken(empty=not self.started)
        yield Done(self._finish_reason, self._usage, self._timings, self._logprobs)

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            self.started = True
            yield ThinkingDelta(_whole(thought))
        content = delta.get("content")
        if isinstance(content, str) and content:
            self.started = True
            yield from self._splitter.feed(_whole(content))


def _whole(text: str) -> str:
    """`text` without halves of surrogate pairs, which JSON can hold and nothing can store or send back."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _waiting(extra: Mapping[str, Any]) -> Iterator[Event]:
    if isinstance(progress := extra.get("prompt_progress"), Mapping):
        numbers = [progress.get(key) for key in ("total", "cache", "processed")]
        yield Progress(*(int(n) if isinstance(n, (int, float)) else 0 for n in numbers))
    queue = extra.get("queue")
    if isinstance(queue, Mapping) and isinstance(queue.get("position"), int):
        yield Queued(queue["position"])
