"""A chat's journal: what is said is stored while it is said, and the chat never waits for it.

    with Journal(path, report) as journal:                   # or NoJournal(), for --no-store
        journal.start(conversation, settings)                # nothing is written before the first question
        journal.ask(text)                                    # on the disk when it returns
        journal.answer(Origin(model, server, parameters))
        for event in stream:
            journal.write(event.text)                        # on the disk within `interval`
        journal.finish("stop", prompt_tokens=…, completion_tokens=…, timings=…)

The journal follows one conversation. Whatever else changes it is told with `align(conversation)`, which compares:
what both have is kept, the head goes back to where they part, what is new is added there. So /undo, /retry and
/edit leave their old branch in the tree, and pins and another system message are stored. For /retry, align to the
conversation with the question as its last message, then `answer` again. `more(origin)` lets the last
answer grow (/continue); `note(text)` keeps a summary in its place.

One thread writes. `ask`, `finish` and `close` wait for it, for a second at most. Where the file is locked, damaged or
full, or the disk is gone, the chat is told once through `report` (in the caller's thread), the journal
remembers what is not written yet, and writes it when that works again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from typing_extensions import Self

from llamachat.core.conversation import Conversation
from llamachat.errors import StoreError
from llamachat.store.database import Report
from llamachat.store.session import Session
from llamachat.store.transcripts import Transcripts
from llamachat.store.values import Branch, Kind, Origin, Record, Stored
from llamachat.store.writer import Writer


class AnyJournal(Protocol):
    """What a chat holds: a `Journal`, or a `NoJournal` where nothing is to be kept."""

    @property
    def conversation_id(self) -> int | None: ...
    def start(self, conversation: Conversation, settings: Mapping[str, Any]) -> None: ...
    def align(self, conversation: Conversation) -> None: ...
    def remember(self, settings: Mapping[str, Any]) -> None: ...
    def ask(self, text: str, *, titled: bool = True) -> None: ...
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
    def note(self, text: str) -> None: ...
    def save(self, name: str) -> None: ...
    def resume(self, reference: str | None = None) -> Stored: ...
    def branches(self) -> tuple[Branch, ...]: ...
    def switch(self, branch_id: int) -> Stored: ...
    def close(self) -> None: ...
