"""A chat's journal: what is said is stored while it is said, and the chat never waits for it.

    with Journal(path, report) as journal:                   # or NoJournal(), for --no-store
        journal.start(conversation, settings)                # nothing is written before the first question
        conversation = conversation.with_message(question)
        journal.save(conversation, wait=True)                # on the disk when it returns
        journal.save(conversation := conversation.with_message(answer))
        for event in stream:
            journal.write(event.text)                        # on the disk within `interval`
        journal.save(conversation.changed(answer, …), wait=True)

The journal follows one conversation. `save` takes it as it is now, and what of it the file does not have yet
is written: new nodes, what changed in the others, the head.

One thread writes. `save(…, wait=True)` waits for it, for half a second at most. Where the file is locked,
gone or damaged or the disk is full, the chat is told once through `report` (in the caller's thread, never
amid an answer); the journal remembers what is missing, and writes it when that works; `close` says what never
was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from llamachat.core.conversation import Conversation
from llamachat.errors import StoreError
from llamachat.language import _
from llamachat.store.database import Report
from llamachat.store.records import Heading, Stored, title_from
from llamachat.store.transcripts import Transcripts
from llamachat.store.writer import Kept, Saved, Writer

_WAIT = 0.5
"""Longest time in seconds for which the chat waits for the writer; at the end, ten times that."""


class NoJournal:
    """The calls of a journal. This one keeps nothing; what needs something kept raises StoreError."""

    @property
    def conversation_id(self) -> int | None:
        """None as long as nothing of the conversation is stored."""
        return None

    @property
    def message_ids(self) -> Mapping[int, int]:
        """The ids in the file of the nodes that are stored."""
        return {}

    def start(self, conversation: Conversation, settings: Mapping[str, Any]) -> None:
        """Begin a new conversation; `settings` is what `resume` gives back in `heading.settings`."""

    def save(self, conversation: Conversation, *, title: str = "", wait: bool = False) -> None:
        """The conversation is now this one. The first `title` is kept; `wait` until it is on the disk."""

    def write(self, text: str) -> None:
        """The next piece of the answer that the saved conversation ends with, stored within `interval`."""

    def remember(self, settings: Mapping[str, Any], *, wait: bool = False) -> None:
        """What the conversation is to be taken up with again; `wait` until it is on the disk."""

    def name(self, name: str) -> None:
        """Give the conversation a name. Raises StoreError if it is taken or nothing was said yet."""
        raise StoreError(_("This chat is not saved."), _("Start it without --no-store."))

    def current(self) -> Stored:
        """The conversation as it is to be stored, also where that does not work; its id is 0 until it did.

        Raises StoreError if nothing was said yet.
        """
        raise StoreError(_("This chat is not saved."), _("Start it without --no-store."))

    def resume(self, reference: str | None = None) -> Stored:
        """Go on with the conversation of that id or name, or with the last one."""
        raise StoreError(_("This chat is not saved."), _("Start it without --no-store."))

    def close(self) -> None:
        """Write what is left; say what could not be written."""


class Journal(NoJournal):
    """See the module's text. `interval` and `retry` are seconds."""

    def __init__(self, path: Path, report: Report, *, interval: float = 0.5, retry: float = 2.0) -> None:
        self.path = path
        self._report = report
        self._lock = threading.Lock()
        self._kept = Kept(Conversation(), Heading())
        self._pieces: list[str] = []
        self._closed = False
        self._writer = Writer(path, self._lock, self._settle, interval=interval, retry=retry)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def conversation_id(self) -> int | None:
        return self._kept.saved.id

    @property
    def message_ids(self) -> Mapping[int, int]:
        return self._kept.saved.rows

    def start(self, conversation: Conversation, settings: Mapping[str, Any]) -> None:
        now = time.time()
        heading = Heading(settings=dict(settings), created_at=now, updated_at=now)
        self._go_to(Kept(conversation, heading))

    def save(self, conversation: Conversation, *, title: str = "", wait: bool = False) -> None:
        with self._lock:
            self._pieces.clear()
            kept = self._kept
            kept.conversation = conversation
            kept.heading = replace(
                kept.heading,
                title=kept.heading.title or title_from(title),
                updated_at=max(kept.heading.updated_at, _last_word(conversation)),
            )
        if wait:
            self._flush()
        else:
            self._soon()

    def write(self, text: str) -> None:
        with self._lock:
            self._pieces.append(text)
        self._writer.soon()

    def remember(self, settings: Mapping[str, Any], *, wait: bool = False) -> None:
        with self._lock:
            self._kept.heading = replace(self._kept.heading, settings=dict(settings))
        if wait:
            self._flush()
        else:
            self._soon()

    def name(self, name: str) -> None:
        self._flush()
        if self._kept.saved.id is None:
            raise self._writer.trouble or StoreError(
                _("There is nothing to name yet."), _("Say something first.")
            )
        with self._reading() as transcripts:
            transcripts.name(self._kept.saved.id, name)
        with self._lock:
            self._kept.heading = replace(self._kept.heading, name=name)

    def current(self) -> Stored:
        self._flush()
        with self._lock:
            self._settle()
            conversation, saved = self._kept.conversation, self._kept.saved
            heading = replace(self._kept.heading, head_id=conversation.head)
        if not any(not node.message.is_system for node in conversation.path):
            raise StoreError(_("There is nothing to export yet."), _("Say something first."))
        return Stored(saved.id or 0, heading, conversation)

    def resume(self, reference: str | None = None) -> Stored:
        self._flush()
        with self._reading() as transcripts:
            stored = transcripts.load(transcripts.find(reference))
        kept = Kept(stored.conversation, stored.heading, Saved.of(stored))
        # An answer that was never finished is one that the program's end interrupted.
        for node in stored.conversation.path:
            if node.message.role == "assistant" and node.message.finish_reason is None:
                ended = replace(node.message, finish_reason="interrupted")
                kept.conversation = kept.conversation.changed(node.id, ended)
        self._go_to(kept)
        return replace(stored, conversation=kept.conversation)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with self._lock:
            self._end_answer()
        self._writer.stop(10 * _WAIT)
        if not self._writer.unsaved:
            self._tell()
            return
        reason = self._writer.trouble or StoreError(
            _("{path} does not accept them in time.").format(path=self.path)
        )
        count = self._writer.unsaved
        self._report(
            StoreError(
                _("Messages that could not be stored: {count}. {message}").format(
                    count=count, message=reason.message
                )
            )
        )

    def _go_to(self, kept: Kept) -> None:
        with self._lock:
            self._end_answer()
            self._kept = kept
            self._writer.conversations.append(kept)
        self._soon()

    def _settle(self) -> None:
        """Put the pieces of an answer together; under the lock."""
        last = self._kept.conversation.last
        if self._pieces and last is not None:
            grown = replace(last.message, content=last.message.content + "".join(self._pieces))
            self._kept.conversation = self._kept.conversation.changed(last.id, grown)
        self._pieces.clear()

    def _end_answer(self) -> None:
        """The chat goes elsewhere: an answer that still grew is interrupted; under the lock."""
        self._settle()
        last = self._kept.conversation.last
        if last is not None and last.message.is_answer and last.message.finish_reason is None:
            ended = replace(last.message, finish_reason="interrupted", finished_at=time.time())
            self._kept.conversation = self._kept.conversation.changed(last.id, ended)

    def _soon(self) -> None:
        self._writer.soon()
        self._tell()

    def _flush(self) -> None:
        self._writer.now(_WAIT)
        self._tell()

    def _tell(self) -> None:
        for error in self._writer.news():
            self._report(error)

    def _reading(self) -> AbstractContextManager[Transcripts]:
        return Transcripts.open(self.path, self._report)


def _last_word(conversation: Conversation) -> float:
    spoken = (n.message for n in conversation.nodes.values() if n.message.role != "system")
    return max((m.finished_at or m.created_at for m in spoken), default=0.0)
