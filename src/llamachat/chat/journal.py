"""What a conversation tells whoever writes it down."""

from __future__ import annotations

from typing import Protocol

from llamachat.core.conversation import Conversation, Message
from llamachat.core.events import Done


class Journal(Protocol):
    """Called as it happens: `question`, then `partial` for each piece of text, then `finished`."""

    def started(self, conversation: Conversation) -> None:
        """A new conversation, with what it begins with."""

    def question(self, message: Message) -> None:
        """A user's message, before it is sent."""

    def partial(self, text: str) -> None:
        """The next piece of the answer."""

    def finished(self, answer: Message, done: Done | None) -> None:
        """The answer as far as it came; its `finish_reason` says how it ended, `error` without a Done."""

    def rewound(self, conversation: Conversation) -> None:
        """The conversation goes on from here: some of its last messages were taken back."""

    def changed(self, conversation: Conversation) -> None:
        """A message became another one: the system message, or an answer that was continued."""


class NoJournal:
    """Keeps nothing."""

    def started(self, conversation: Conversation) -> None: ...

    def question(self, message: Message) -> None: ...

    def partial(self, text: str) -> None: ...

    def finished(self, answer: Message, done: Done | None) -> None: ...

    def rewound(self, conversation: Conversation) -> None: ...

    def changed(self, conversation: Conversation) -> None: ...
