"""What a chat holds: a `Journal`, or a `NoJournal` where nothing is to be kept (`--no-store`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from llamachat.core.conversation import Conversation
from llamachat.errors import StoreError
from llamachat.store.values import Branch, Origin, Stored


class AnyJournal(Protocol):
    """The calls are explained in `llamachat.store.journal`."""

    @property
    def conversation_id(self) -> int | None: ...
    def start(self, conversation: Conversation, settings: Mapping[str, Any]) -> None: ...
    def align(self, conversation: Conversation) -> None: ...
    def remember(self, settings: Mapping[str, Any]) -> None: ...
    def ask(self, text: str, *, title: str | None = None) -> None: ...
    def answer(self, origin: Origin) -> None: ...
    def more(self, origin: Origin) -> None: ...
    def write(self, text: str) -> None: ...
    def finish(
        self,
        finish_reason: str,
        *,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        timings: Mapping[str, Any] | None = None,
    ) -> None: ...
    def save(self, name: str) -> None: ...
    def resume(self, reference: str | None = None) -> Stored: ...
    def branches(self) -> tuple[Branch, ...]: ...
    def switch(self, branch_id: int) -> Stored: ...
    def close(self) -> None: ...


class NoJournal:
    """Keeps nothing; what needs something kept raises StoreError."""

    conversation_id: int | None = None

    def start(self, conversation: Conversation, settings: Mapping[str, Any]) -> None: ...
    def align(self, conversation: Conversation) -> None: ...
    def remember(self, settings: Mapping[str, Any]) -> None: ...
    def ask(self, text: str, *, title: str | None = None) -> None: ...
    def answer(self, origin: Origin) -> None: ...
    def more(self, origin: Origin) -> None: ...
    def write(self, text: str) -> None: ...
    def finish(
        self,
        finish_reason: str,
        *,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        timings: Mapping[str, Any] | None = None,
    ) -> None: ...

    def save(self, name: str) -> None:
        raise _nothing_kept()

    def resume(self, reference: str | None = None) -> Stored:
        raise _nothing_kept()

    def branches(self) -> tuple[Branch, ...]:
        raise _nothing_kept()

    def switch(self, branch_id: int) -> Stored:
        raise _nothing_kept()

    def close(self) -> None: ...


def _nothing_kept() -> StoreError:
    return StoreError("This chat keeps nothing.", "Start it without --no-store.")
