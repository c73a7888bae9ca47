"""One question to the server and its answer: fitted into the window, validated, never cut silently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llamachat.client import ServerFacts, ServerWindow
from llamachat.client.completions import Completions
from llamachat.core.conversation import Message
from llamachat.core.events import Done, Event, TextDelta, Usage
from llamachat.errors import AnswerCut, ShapeError, TextTooLong
from llamachat.programs.probabilities import Logprobs, normalised, weigh
from llamachat.programs.questions import Question
from llamachat.programs.shapes import AnyText, Choices

LEAST_ANSWER = 16
"""Tokens that a prompt must leave free if nobody said how long the answer may be."""
LEAST_CHANCE = 0.001
"""A group of labels less likely than this is not asked about again."""
MORE_ROOM = 4
"""A structured answer that was cut is asked for again, with this many times the room."""

Messages = list[dict[str, Any]]
Show = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """`value` is what the shape makes of `text`; `model` is the one that the server says it has.

    `probabilities` of the labels, None if they were not wanted or the server gives no logprobs.
    """

    text: str
    value: Any
    finish_reason: str
    usage: Usage | None = None
    timings: Mapping[str, float] | None = None
    model: str | None = None
    probabilities: Mapping[str, float] | None = None
    logprobs: Logprobs = ()

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


def said(message: Mapping[str, Any]) -> Message:
    """A request's message as it is counted."""
    content = message["content"]
    if isinstance(content, str):
        return Message(message["role"], content)
    parts = [part for part in content or () if isinstance(part, Mapping)]
    text = "\n".join(str(part["text"]) for part in parts if "text" in part)
    urls = (part["image_url"] for part in parts if "image_url" in part)
    pictures = tuple(str(url["url"] if isinstance(url, Mapping) else url) for url in urls)
    return Message(message["role"], text, pictures=pictures)


def cut(question: Question, answer: Answer) -> AnswerCut:
    """The error of an answer that ended at its greatest length."""
    usage = answer.usage or Usage(0, 0)
    by_window = answer.usage is not None and question.max_tokens is None
    return AnswerCut(usage.completion_tokens, answer.text, usage.prompt_tokens if by_window else None)


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

        Raises TextTooLong before anything is sent, and ServerError for a picture that the model can't see,
        AnswerCut if a structured answer has no room,
        ShapeError if the answer does not have its shape, and what the server says.
        """
        if any(said(message).pictures for message in messages):
            self._said.check_vision()
        room = self.room(question, messages)
        answer = self._ask(question, messages, room, show)
        if answer.finish_reason == "length" and not isinstance(question.shape, AnyText):
            answer = self._ask(question, messages, self._more_room(question, messages, room), show)
            if answer.finish_reason == "length":
                raise cut(question, answer)
        answer = replace(answer, value=question.shape.read(answer.text))
        if question.probabilities and isinstance(question.shape, Choices):
            chances = self._chances(question, question.shape.labels, messages, answer.logprobs)
            answer = replace(answer, probabilities=normalised(question.shape.labels, chances))
        return answer

    def _chances(
        self, question: Question, labels: Sequence[str], messages: Messages, logprobs: Logprobs
    ) -> dict[str, float]:
        """Of each label, among `labels` alone; groups that begin alike are asked about again."""
        chances, shared = weigh(labels, logprobs)
        for group, mass in shared.items():
            if len(group) == len(labels) or mass < LEAST_CHANCE:
                continue
            among = replace(question, shape=Choices(group))
            again = self._ask(among, messages, self.room(among, messages), None)
            within = normalised(group, self._chances(among, group, messages, again.logprobs))
            for label, chance in (within or {}).items():
                chances[label] = chances.get(label, 0.0) + mass * chance
        return chances

    def tokens(self, messages: Messages) -> int:
        """The size of a prompt: the server's count, or an estimate on the safe side."""
        return self.window.counter.whole([said(message) for message in messages])

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
        for event in self._events(self._body(question, messages, room), show):
            if isinstance(event, TextDelta):
                parts.append(event.text)
            elif isinstance(event, Done):
                done = event
        text = "".join(parts)
        return Answer(
            text, text, done.finish_reason, done.usage, done.timings, self._said.model, logprobs=done.logprobs
        )

    def _body(self, question: Question, messages: Messages, room: int | None) -> dict[str, Any]:
        # Only llamachat's own engine says whether it sees, and knows chances among what a schema allows.
        ours = question.probabilities and self._said.vision is not None
        allowed = {"logprobs_of": "allowed"} if ours else {}
        return {**question.body(messages, room), "model": self._said.asked(question.model), **allowed}

    def _events(self, body: Mapping[str, Any], show: Show | None) -> Iterator[Event]:
        events = self._completions.stream(body) if show else self._completions.whole(body)
        for event in events:
            if show:
                show(event)
            yield event


__all__ = ["Answer", "Asker", "Messages", "ShapeError", "Show"]
