"""A chat's journal: what is said is stored while it is said, and the chat never waits for it.

    with Journal(path, report) as journal:                   # or NoJournal(), for --no-store
        journal.start(conversation, settings)                # nothing is written before the first question
        journal.ask(text)                                    # on the disk when it returns
        journal.answer(Origin(model, server, parameters))
        for event in stream:
            journal.write(event.text)                        # on the disk within `interval`
        journal.finish("stop", prompt_tokens=…, completion_tokens=…, timings=…)

The journal follows one conversation. Whatever else changes it is told with `align(conversation)`, which
compares: what both have is kept, the head goes back to where they part, what is new is added there. So /undo,
/retry and /edit leave their old branch in the tree, and pins, notes and another system message are stored.
For /retry, align to the conversation with the question as its last message, then `answer` again.
`more(origin)` lets the last answer grow (/continue).

One thread writes. `ask` and `finish` wait for it, for half a second at most. Where the file is locked, gone
or damaged or the disk is full, the chat is told once through `report` (in the caller's thread, never amid an
answer); the journal remembers what is missing, and writes it when that works; `close` says what never was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from llamachat.core.conversation import Conversation
from llamachat.errors import StoreError
from llamachat.store.database import Report
from llamachat.store.keeper import Keeper
from llamachat.store.session import Entry, Session
from llamachat.store.transcripts import Transcripts
from llamachat.store.values import Branch, Heading, Origin, Record, Stored, is_system, title_from
from llamachat.store.writer import Writer

_WAIT = 0.5
"""Longest time in seconds for which the chat waits for the writer; at the end, ten times that."""


class Journal:
    """See the module's text. `interval` and `retry` are seconds, `now` gives the time of day."""

    def __init__(
        self,
        path: Path,
        report: Report,
        *,
        interval: float = 0.5,
        retry: float = 2.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._report, self._now = report, now
        self._lock = threading.Lock()
        self._session = Session(Heading())
        self._growing: Entry | None = None
        self._closed = False
        self._keeper = Keeper(path, self._lock, self._session)
        self._writer = Writer(self._keeper.write, self._keeper.close, interval=interval, retry=retry)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def conversation_id(self) -> int | None:
        """None as long as nothing of the conversation is stored."""
        return self._session.id

    def start(self, conversation: Conversation, settings: Mapping[str, Any]) -> None:
        """Begin a new conversation; `settings` is what `resume` gives back in `heading.settings`."""
        now = self._now()
        session = Session(Heading(settings=dict(settings), created_at=now, updated_at=now))
        session.align(conversation, now)
        self._go_to(session)

    def align(self, conversation: Conversation) -> None:
        """The conversation is now this one: see the module's text."""
        with self._lock:
            self._end_growth()
            self._session.align(conversation, self._now())
        self._soon()

    def remember(self, settings: Mapping[str, Any]) -> None:
        with self._lock:
            self._session.heading = replace(self._session.heading, settings=dict(settings))
        self._soon()

    def ask(self, text: str, *, title: str | None = None) -> None:
        """The user's message, stored when this returns; the first `title` is kept: by default, `text`."""
        with self._lock:
            self._end_growth()
            now, heading = self._now(), self._session.heading
            title = heading.title or title_from(text if title is None else title)
            self._session.heading = replace(heading, title=title, updated_at=now)
            self._session.add(Record("user", text, now))
        self._flush()

    def answer(self, origin: Origin) -> None:
        """An answer begins; it becomes a row with its first text."""
        with self._lock:
            self._end_growth()
            self._growing = self._session.add(_from(Record("assistant", "", self._now()), origin))

    def more(self, origin: Origin) -> None:
        """The last answer goes on as the same message."""
        with self._lock:
            self._end_growth()
            self._growing = self._session.last_answer
            if self._growing is not None:
                self._growing.record = _from(self._growing.settle(), origin)

    def write(self, text: str) -> None:
        """The next piece of the answer, stored within `interval`."""
        with self._lock:
            if self._growing is not None:
                self._growing.pieces.append(text)
        self._writer.soon()

    def finish(
        self,
        finish_reason: str,
        *,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        timings: Mapping[str, Any] | None = None,
    ) -> None:
        """The answer is over; it is no row where it has no text. `completion_tokens`: this request's."""
        with self._lock:
            entry, now = self._growing, self._now()
            if entry is None or not self._end_growth():
                return
            before = entry.record.completion_tokens
            entry.record = replace(
                entry.record,
                finish_reason=finish_reason,
                prompt_tokens=prompt_tokens,
                completion_tokens=before if completion_tokens is None else completion_tokens + (before or 0),
                timings=timings,
                finished_at=now,
            )
            self._session.heading = replace(self._session.heading, updated_at=now)
        self._flush()

    def save(self, name: str) -> None:
        """Give the conversation a name. Raises StoreError where it is taken or nothing was said yet."""
        self._flush()
        if self._session.id is None:
            raise self._writer.trouble or StoreError("There is nothing to name yet.", "Say something first.")
        with self._reading() as transcripts:
            transcripts.name(self._session.id, name)
        with self._lock:
            self._session.heading = replace(self._session.heading, name=name)

    def resume(self, reference: str | None = None) -> Stored:
        """Go on with the conversation of that id or name, or with the last one."""
        self._flush()
        with self._reading() as transcripts:
            stored = transcripts.load(transcripts.find(reference))
        self._go_to(Session.of(stored))
        return stored

    def branches(self) -> tuple[Branch, ...]:
        """The branches of this conversation, the newest first."""
        self._flush()
        if self._session.id is None:
            return ()
        with self._reading() as transcripts:
            return tuple(transcripts.branches(self._session.id))

    def switch(self, branch_id: int) -> Stored:
        """Go on at the end of another branch, by its `Branch.id`."""
        self._flush()
        if self._session.id is None:
            raise StoreError("There are no branches yet.", "Say something first.")
        with self._reading() as transcripts:
            stored = transcripts.load(self._session.id, branch_id)
            transcripts.set_head(stored.id, branch_id)
        self._go_to(Session.of(stored))
        return stored

    def close(self) -> None:
        """Write what is left; say what could not be written."""
        if self._closed:
            return
        self._closed = True
        with self._lock:
            self._end_growth()
        self._writer.stop(10 * _WAIT)
        with self._lock:
            unsaved = sum(not is_system(r) for _, batch in self._keeper.batches() for _, r in batch.records)
        if not unsaved:
            self._tell()
            return
        reason = self._writer.trouble or StoreError(f"{self.path} does not take them in time.")
        self._report(StoreError(f"Messages that could not be stored: {unsaved}. {reason.message}"))

    def _end_growth(self) -> bool:
        """The answer grows no more, interrupted as far as is known; whether it came to anything."""
        entry, self._growing = self._growing, None
        if entry is not None and entry.empty:
            self._session.drop_last()
            return False
        if entry is not None:
            entry.record = replace(entry.record, finish_reason="interrupted", finished_at=self._now())
        return True

    def _go_to(self, session: Session) -> None:
        with self._lock:
            self._end_growth()
            self._keeper.sessions.append(session)
            self._session = session
        self._soon()

    def _soon(self) -> None:
        self._writer.soon()
        self._tell()

    def _flush(self) -> None:
        self._writer.now(_WAIT)
        self._tell()

    def _tell(self) -> None:
        for error in self._keeper.news():
            self._report(error)

    def _reading(self) -> AbstractContextManager[Transcripts]:
        return Transcripts.open(self.path, self._report)


def _from(record: Record, origin: Origin) -> Record:
    return replace(
        record,
        finish_reason=None,
        finished_at=None,
        model=origin.model,
        server=origin.server,
        parameters=dict(origin.parameters),
    )
