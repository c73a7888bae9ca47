"""What a model's answer is made of, where tools were offered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """On a separate channel; `<think>…</think>` is text, as without tools."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegins:
    index: int
    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """A piece of the JSON of call `index`."""

    index: int
    json: str


Event: TypeAlias = Text | Thinking | CallBegins | Arguments


@dataclass
class Answer:
    """Events added up."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, str]] | None = None
    """The name and arguments of each."""

    def add(self, events: Iterable[Event]) -> Answer:
        for event in events:
            if isinstance(event, Text):
                self.text += event.text
            elif isinstance(event, Thinking):
                self.thinking += event.text
            elif isinstance(event, CallBegins):
                self.calls = [*(self.calls or []), (event.name, "")]
            else:
                calls = self.calls or []
                name, arguments = calls[event.index]
                calls[event.index] = (name, arguments + event.json)
        return self
