"""One answer where tools are offered: the constraint on its calls, and the answer in OpenAI's form."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from llamachat.engine import logprobs
from llamachat.engine.constraint import Constraint, Words
from llamachat.engine.failures import Refused
from llamachat.tools import forms, request
from llamachat.tools.answer_parts import Answer, Arguments, CallBegins, Event, Text, Thinking
from llamachat.tools.call_parser import AnswerParser
from llamachat.tools.family import Family
from llamachat.tools.parsers import parser
from llamachat.tools.request import Offer, ToolError

ID_LENGTH = 9
"""As many letters and digits as Mistral's templates want."""
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


@dataclass
class Turn:
    """`offer` is None for an answer in channels, which is read anyway; `thinks` is said by the prompt.

    `content` is the schema of an answer without calls, `texts` the parameters that calls have as bare texts.
    """

    offer: Offer | None
    family: Family
    content: Any = None
    thinks: bool = False
    texts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    thought: Callable[[str], None] | None = None
    """Told what was thought, once, at the end."""

    def parser(self) -> AnswerParser:
        return parser(self.family, self.offer.names if self.offer else (), self.thinks, self.texts)

    @property
    def legacy(self) -> bool:
        return self.offer is not None and self.offer.legacy

    @property
    def is_whole(self) -> bool:
        """The answer is held to a grammar from its begin."""
        return self.offer is not None and (self.offer.needed or self.content is not None)


current: ContextVar[Turn | None] = ContextVar("turn", default=None)


def offered(body: Mapping[str, Any]) -> Offer | None:
    """What the fields of a request offer; raises Refused."""
    try:
        return request.read(
            body.get("tools"),
            body.get("allowed_tools") or body.get("tool_choice"),
            body.get("functions"),
            body.get("function_call"),
            body.get("parallel_tool_calls") is not False,
        )
    except ToolError as error:
        raise Refused(400, str(error), param=error.param) from error


class CallConstraint:
    """A logits processor that holds each call to its grammar from where it begins, and leaves text alone."""

    def __init__(
        self,
        turn: Turn,
        begin: Callable[[], Constraint],
        words: Words,
        markers: Mapping[int, bytes],
    ) -> None:
        self._turn, self._begin = turn, begin
        self.words, self._markers = words, markers
        self._text = b""
        self._thinks = turn.thinks
        self._held: Constraint | None = None
        self.is_over = False

    def __call__(
        self, tokens: npt.NDArray[np.intc], scores: npt.NDArray[np.single]
    ) -> npt.NDArray[np.single]:
        return scores if self._held is None else self._held(tokens, scores)

    @property
    def allowed(self) -> list[int] | None:
        return None if self._held is None else self._held.allowed

    def accept(self, token: int) -> None:
        if self._held is not None:
            self._held.accept(token)
            if self._held.is_over:
                self._held, self._text, self._thinks = None, b"", False
                self.is_over = not (self._turn.offer and self._turn.offer.parallel)
        elif token not in self.words.ends:
            self._text += self._markers.get(token, b"") or self.words.vocabulary.pieces[token]
            at = forms.trigger(self._turn.family, self._text, self._thinks)
            if at is not None:
                held = self._begin()
                self._held = held if held.feed(self._text[at:]) else None
                self._text = b""


def whole(answer: dict[str, Any], turn: Turn) -> dict[str, Any]:
    """A whole reply of the library, with its calls."""
    choice = answer["choices"][0]
    reading = turn.parser()
    read = Answer().add([*reading.feed(choice["message"]["content"] or ""), *reading.finish()])
    message: dict[str, Any] = {"role": "assistant", "content": read.text or (None if read.calls else "")}
    if read.thinking:
        message["reasoning_content"] = read.thinking
        if turn.thought is not None:
            turn.thought(read.thinking)
    calls = read.calls or []
    functions = [{"name": name, "arguments": arguments} for name, arguments in calls]
    if functions and turn.legacy:
        message["function_call"] = functions[0]
    elif functions:
        message["tool_calls"] = [{"id": _new_id(), "type": "function", "function": f} for f in functions]
    choice["message"] = message
    choice["finish_reason"] = _reason(choice["finish_reason"], len(calls), turn)
    return answer


def streamed(chunks: Iterator[dict[str, Any]], turn: Turn) -> Iterator[dict[str, Any]]:
    """A stream's chunks of the library, with calls in pieces."""
    reading, calls, thinking = turn.parser(), 0, ""
    of_tokens = None
    for chunk in chunks:
        choice = chunk["choices"][0]
        reason, said = choice["finish_reason"], choice["delta"].get("content")
        of_tokens = logprobs.joined(of_tokens, choice["logprobs"])
        if "role" in choice["delta"]:
            yield chunk
        events = reading.feed(said) if said else []
        for event in [*events, *(reading.finish() if reason is not None else [])]:
            calls += isinstance(event, CallBegins)
            thinking += event.text if isinstance(event, Thinking) else ""
            if calls > 1 and turn.legacy:
                continue
            said = {"delta": _delta(event, turn), "logprobs": of_tokens, "finish_reason": None}
            yield {**chunk, "choices": [{**choice, **said}]}
            of_tokens = None
        if reason is not None:
            if thinking and turn.thought is not None:
                turn.thought(thinking)
            end = {"delta": {}, "logprobs": of_tokens, "finish_reason": _reason(reason, calls, turn)}
            yield {**chunk, "choices": [{**choice, **end}]}


def _reason(reason: str, calls: int, turn: Turn) -> str:
    if not calls or reason != "stop":
        return reason
    return "function_call" if turn.legacy else "tool_calls"


def _delta(event: Event, turn: Turn) -> dict[str, Any]:
    if isinstance(event, Text):
        return {"content": event.text}
    if isinstance(event, Thinking):
        return {"reasoning_content": event.text}
    if isinstance(event, Arguments):
        piece: dict[str, Any] = {"arguments": event.json}
        return (
            {"function_call": piece}
            if turn.legacy
            else {"tool_calls": [{"index": event.index, "function": piece}]}
        )
    function = {"name": event.name, "arguments": ""}
    if turn.legacy:
        return {"function_call": function}
    call = {"index": event.index, "id": _new_id(), "type": "function", "function": function}
    return {"tool_calls": [call]}


def _new_id() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))
