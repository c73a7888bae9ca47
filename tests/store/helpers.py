"""What the store's tests share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llamachat.core.conversation import Conversation, Message
from llamachat.errors import StoreError
from llamachat.store.journal import NoJournal

SERVER = "http://localhost:8000/v1"
PARAMETERS = {"temperature": 0.7}


def no_trouble(error: StoreError) -> None:
    """A report that nobody expects."""
    raise error


class Told:
    """Collects what the user would be told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, error: StoreError) -> None:
        self.lines.append(str(error))


class Talk:
    """A conversation and its journal, driven as a chat drives them."""

    def __init__(
        self,
        journal: NoJournal,
        conversation: Conversation | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.journal = journal
        self.conversation = conversation or Conversation()
        self._pieces: list[str] = []
        journal.start(self.conversation, settings or {})

    def go_to(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.journal.save(conversation)

    def ask(self, text: str, title: str | None = None) -> None:
        self.conversation = self.conversation.with_message(Message("user", text))
        self.journal.save(self.conversation, title=text if title is None else title, wait=True)

    def answer(self) -> None:
        answer = Message("assistant", "", model="small", server=SERVER, parameters=PARAMETERS)
        self._pieces.clear()
        self.go_to(self.conversation.with_message(answer))

    def more(self) -> None:
        last = self.conversation.last
        assert last
        self._pieces = [last.message.content]
        self.go_to(self.conversation.changed(last.id, replace(last.message, finish_reason=None)))

    def write(self, text: str) -> None:
        self._pieces.append(text)
        self.journal.write(text)

    def finish(self, finish_reason: str = "stop", **known: Any) -> None:
        last = self.conversation.last
        assert last
        message = replace(
            last.message,
            content="".join(self._pieces),
            finish_reason=finish_reason,
            finished_at=time.time(),
            **known,
        )
        self.conversation = self.conversation.changed(last.id, message)
        self.journal.save(self.conversation, wait=True)

    def turn(self, question: str, answer: str, finish_reason: str = "stop") -> None:
        self.ask(question)
        self.answer()
        for piece in answer.split(" "):
            self.write(piece)
        self.finish(finish_reason, prompt_tokens=20, completion_tokens=5, timings={"predicted_n": 5})
