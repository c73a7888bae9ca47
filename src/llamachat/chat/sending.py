"""What of the conversation is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from llamachat.core.conversation import Conversation
from llamachat.core.events import Usage


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages of one request and the room for its answer, None where the server decides."""

    messages: Sequence[Mapping[str, str]]
    max_tokens: int | None


class Sending(Protocol):
    """The model's window, as the chat sees it."""

    def fit(self, candidate: Conversation, max_tokens: int | None) -> Prompt: ...

    def learn(self, prompt: Prompt, usage: Usage | None) -> None:
        """What an answer said about the size of its prompt."""

    def count_text(self, text: str) -> int:
        """Tokens of `text`, at least roughly."""

    def status(self) -> str:
        """How full the window is, in a few characters; empty where that is not known."""


class WholeConversation:
    """Everything is sent, and its size is known when the answer says so."""

    def __init__(self, n_ctx: int | None) -> None:
        self._n_ctx = n_ctx
        self._used = 0

    def fit(self, candidate: Conversation, max_tokens: int | None) -> Prompt:
        return Prompt([message.as_request() for message in candidate], max_tokens)

    def learn(self, prompt: Prompt, usage: Usage | None) -> None:
        if usage:
            self._used = usage.prompt_tokens + usage.completion_tokens

    def count_text(self, text: str) -> int:
        return -(-len(text.encode()) // 3)

    def status(self) -> str:
        return f"{self._used}/{self._n_ctx}" if self._used and self._n_ctx else ""
