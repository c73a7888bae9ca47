"""One question to the server and its answer: fitted into the window, validated, never cut silently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llamachat.client import ServerFacts, ServerWindow
from llamachat.client.completions import Completions
from llamachat.core.conversation import Message
from llamachat.core.events import Done, Event, TextDelta, Usage
from llamachat.errors import AnswerCut, ShapeError, TextTooLong
from llamachat.programs.questions import Question
from llamachat.programs.shapes import AnyText

LEAST_ANSWER = 16
"""Tokens that a prompt must leave free if nobody said how long the answer may be."""
MORE_ROOM = 4
"""A structured answer that was cut is asked for again, with this many times the room."""
_IMAGE_TOKENS = 1024

Messages = list[dict[str, Any]]
Show = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """`value` is what the shape makes of `text`; `model` is the one that the server says it has."""

    text: str
    value: Any
    finish_reason: str
    usage: Usage | None = None
    timings: Mapping[str, float] | None = None
    model: str | None = None

    def as_json(self) -> dict[str, Any]:
        usage = self.usage and {
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
        }
        value = self.value.model_dump(mode="json") if hasattr(self.value, "model_dump") else self.value
        return {
            "answer": value,
            "finish_reason": self.finish_reason,
            "usage": usage,
            "timings": dict(self.timings or {}),
            "model": self.model,
        }


class Asker:
    """Asks one server. Safe to use from several threads.

    `window` says how many tokens fit and counts them; where the server can't count, what it says decides.
    `lanes` is how many requests the server answers at once.
    """

    def __init__(self, completions: Completions, window: ServerWindow, said: ServerFacts) -> None:
        self._completions = completions
        self.window = window
        self.lanes = said.lanes or 1
        self._said = said

    def ask(self, question: Question, messages: Messages, show: Show | None = None) -> Answer:
        """The answer to `messages`; `show` gets the events as they come.

        Raises TextTooLong before anything is sent, AnswerCut if a structured answer has no room,
        ShapeError if the answer does not have its shape, and what the server says.
        """
        room = self.room(question, messages)
        answer = self._ask(question, messages, room, show)
        if answer.finish_reason == "length" and not isinstance(question.shape, AnyText):
            answer = self._ask(question, messages, self._more_room(question, messages, room), show)
            if answer.finish_reason == "length":
                tokens = answer.usage.completion_tokens if answer.usage else 0
                raise AnswerCut(tokens, answer.text)
        return replace(answer, value=question.shape.read(answer.text))

    def tokens(self, messages: Messages) -> int:
        """The size of a prompt: the server's count, or an estimate on the safe side."""
        total = self.window.counter.overhead(messages[0]["role"] == "system")
        for message in messages:
            content = message["content"]
            images = 0
            if not isinstance(content, str):
                images = sum(part["type"] == "image_url" for part in content)
                content = "".join(part.get("text", "") for part in content)
            total += self.window.counter.message(Message(message["role"], content)) + images * _IMAGE_TOKENS
        return total

    def limit(self, question: Question) -> int | None:
        """Tokens that a prompt may have; None if the server does not say how large its window is."""
        n_ctx = self.window.n_ctx
        return None if n_ctx is None else n_ctx - min(question.max_tokens or LEAST_ANSWER, n_ctx // 2)

    def room(self, question: Question, messages: Messages) -> int | None:
        """The answer's `max_tokens`. Raises TextTooLong if the prompt leaves it none."""
        limit, n_ctx = self.limit(question), self.window.n_ctx
        if limit is None or n_ctx is None or not self.window.counter.exact:
            return question.max_tokens
        tokens = self.tokens(messages)
        if tokens > limit:
            raise TextTooLong(tokens, limit)
        return min(question.max_tokens or n_ctx, n_ctx - tokens)

    def _more_room(self, question: Question, messages: Messages, room: int | None) -> int | None:
        if room is None or self.window.n_ctx is None:
            return None if room is None else room * MORE_ROOM
        return max(room, min(room * MORE_ROOM, self.window.n_ctx - self.tokens(messages)))

    def _ask(self, question: Question, messages: Messages, room: int | None, show: Show | None) -> Answer:
        parts: list[str] = []
        done = Done("stop")
        for event in self._events(
            question.body(messages, room) | {"model": self._said.asked(question.model)}, show
        ):
            if isinstance(event, TextDelta):
                parts.append(event.text)
            elif isinstance(event, Done):
                done = event
        text = "".join(parts)
        return Answer(text, text, done.finish_reason, done.usage, done.timings, self._said.model)

    def _events(self, body: Mapping[str, Any], show: Show | None) -> Iterator[Event]:
        events = self._completions.stream(body) if show else self._completions.whole(body)
        for event in events:
            if show:
                show(event)
            yield event


__all__ = ["Answer", "Asker", "Messages", "ShapeError", "Show"]
