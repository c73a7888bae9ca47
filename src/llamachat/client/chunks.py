"""Chunks of a chat completion, translated into events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llamachat.client.failures import broken
from llamachat.core.events import Done, Event, Progress, Queued, ThinkingDelta, Usage
from llamachat.core.thinking import ThinkingSplitter

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionChunk


class ChunkReader:
    """Feed it every chunk of one stream, then `finish` it."""

    def __init__(self) -> None:
        self.started = False
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._timings: dict[str, float] = {}
        self._splitter = ThinkingSplitter()

    def feed(self, chunk: ChatCompletionChunk) -> Iterator[Event]:
        extra = chunk.model_extra or {}
        yield from _waiting(extra)
        if isinstance(timings := extra.get("timings"), Mapping):
            self._timings = {k: float(v) for k, v in timings.items() if isinstance(v, (int, float))}
        if chunk.usage:
            self._usage = Usage(chunk.usage.prompt_tokens or 0, chunk.usage.completion_tokens or 0)
        for choice in chunk.choices or ():
            if choice.finish_reason:
                self._finish_reason = choice.finish_reason
            if choice.delta:
                yield from self._delta(choice.delta)

    def finish(self) -> Iterator[Event]:
        """The end of the stream. Raises BrokenAnswer where it is not the end of an answer."""
        yield from self._splitter.finish()
        if self._finish_reason is None:
            raise broken(empty=not self.started)
        yield Done(self._finish_reason, self._usage, self._timings)

    def _delta(self, delta: Any) -> Iterator[Event]:
        extra: Mapping[str, Any] = delta.model_extra or {}
        thought = extra.get("reasoning_content") or extra.get("reasoning")
        if isinstance(thought, str) and thought:
            self.started = True
            yield ThinkingDelta(_whole(thought))
        if isinstance(delta.content, str) and delta.content:
            self.started = True
            yield from self._splitter.feed(_whole(delta.content))


def _whole(text: str) -> str:
    """`text` without halves of surrogate pairs, which JSON can hold and nothing can store or send back."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _waiting(extra: Mapping[str, Any]) -> Iterator[Event]:
    if isinstance(progress := extra.get("prompt_progress"), Mapping):
        numbers = [progress.get(key) for key in ("total", "cache", "processed", "time_ms")]
        total, cache, processed, time_ms = (n if isinstance(n, (int, float)) else 0 for n in numbers)
        yield Progress(int(total), int(cache), int(processed), float(time_ms))
    queue = extra.get("queue")
    if isinstance(queue, Mapping) and isinstance(queue.get("position"), int):
        yield Queued(queue["position"])
