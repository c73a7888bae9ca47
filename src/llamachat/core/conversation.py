"""What was said: frozen values. Identity and storage live in `llamachat.store`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    `finish_reason` belongs to answers: `stop`, `length`, `interrupted` or `error`. A `note` was not
    said: it sums up what has gone out of the window, and the newest one stays in it.
    """

    role: Role
    content: str
    pinned: bool = False
    finish_reason: str | None = None
    note: bool = False

    def as_request(self) -> dict[str, str]:
        """The message in the form that `/v1/chat/completions` takes."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class Conversation:
    """An optional system message, then turns: a user message and, once it came, its answer."""

    messages: tuple[Message, ...] = ()

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    @property
    def system(self) -> Message | None:
        first = self.messages[0] if self.messages else None
        return first if first and first.role == "system" else None

    @property
    def last_answer(self) -> Message | None:
        return next((m for m in reversed(self.messages) if m.role == "assistant" and not m.note), None)

    @property
    def last_question(self) -> Message | None:
        return next((m for m in reversed(self.messages) if m.role == "user" and not m.note), None)

    def with_message(self, message: Message) -> Conversation:
        return Conversation((*self.messages, message))

    def with_turn(self, question: Message, answer: Message) -> Conversation:
        return Conversation((*self.messages, question, answer))

    def with_system(self, text: str) -> Conversation:
        """The same turns under another system message; none where `text` is empty."""
        rest = self.messages[1:] if self.system else self.messages
        return Conversation((Message("system", text), *rest) if text else rest)

    def without_last_turn(self) -> Conversation:
        """Everything before the last question; the same conversation where there is none."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].role == "user" and not self.messages[index].note:
                return Conversation(self.messages[:index])
        return self

    def with_pin(self, index: int, pinned: bool = True) -> Conversation:
        messages = list(self.messages)
        messages[index] = replace(messages[index], pinned=pinned)
        return Conversation(tuple(messages))
