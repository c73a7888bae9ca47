"""The journal's half in its own thread: conversations into the file, whatever the file does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from llamachat.core.conversation import Conversation, Node
from llamachat.errors import DamagedError, GoneError, StoreError
from llamachat.language import _
from llamachat.store.database import identity
from llamachat.store.records import Heading, Stored, title_from
from llamachat.store.transcripts import Transcripts

_PATIENCE = 1.0
"""Seconds to wait for another program's lock before saying so."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What the file has of a conversation: its id, its heading, its nodes, and their ids in the file."""

    id: int | None = None
    heading: Heading | None = None
    nodes: Mapping[int, Node] = field(default_factory=dict)
    rows: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Stored) -> Saved:
        nodes = stored.conversation.nodes
        return cls(stored.id, stored.heading, nodes, {i: i for i in nodes})


@dataclass(slots=True)
class Kept:
    """A conversation as it is to be stored, and what is `saved` of it."""

    conversation: Conversation
    heading: Heading
    saved: Saved = field(default_factory=Saved)

    @property
    def unsaved(self) -> list[Node]:
        known = self.saved.nodes
        return [node for i, node in self.conversation.nodes.items() if known.get(i) is not node]

    @property
    def is_due(self) -> bool:
        """Whether there is something to write: nothing is, before something was said."""
        unsaved = self.unsaved
        if self.saved.id is None:
            return any(not node.message.is_system for node in unsaved)
        return bool(unsaved) or self._heading(self.saved.rows) != self.saved.heading

    def store(self, transcripts: Transcripts) -> Saved:
        """Write what the file does not have yet; what it has then. Raises GoneError if it was removed."""
        rows, before = dict(self.saved.rows), self.saved.heading
        with transcripts.changes():
            conversation_id = self.saved.id
            if conversation_id is None:
                before = replace(self.heading, head_id=None)
                conversation_id = transcripts.create(before)
            for node in self.unsaved:
                if node.id in rows:
                    transcripts.change(rows[node.id], node.message, self.saved.nodes[node.id].message)
                else:
                    parent = None if node.parent is None else rows.get(node.parent)
                    rows[node.id] = transcripts.append(conversation_id, parent, node.message)
            heading = self._heading(rows)
            if heading != before:
                transcripts.change_heading(conversation_id, heading, before)
        return Saved(conversation_id, heading, self.conversation.nodes, rows)

    def forget(self) -> None:
        """The conversation was removed from the file: what comes goes into a new one, title and all."""
        asked = (node.message.content for node in self.unsaved if node.message.is_question)
        self.heading = replace(self.heading, title=title_from(next(asked, "")), name=None)
        self.saved = Saved(nodes=self.saved.nodes)

    def _heading(self, rows: Mapping[int, int]) -> Heading:
        head = self.conversation.head
        return replace(self.heading, head_id=None if head is None else rows.get(head))


class Writer:
    """Writes `conversations`, the current one last, from its own thread.

    `soon` has them written within `interval` seconds, `now` waits for it. After a StoreError the file is
    left alone for `retry` seconds, and then tried again until it works. `lock` guards the conversations;
    `settle` is called under it before one is read.
    """

    def __init__(
        self, path: Path, lock: threading.Lock, settle: Callable[[], None], *, interval: float, retry: float
    ) -> None:
        self.conversations: list[Kept] = []
        self.trouble: StoreError | None = None
        self._lock, self._settle = lock, settle
        self._interval, self._retry = interval, retry
        self._file = _File(path, self._say)
        self._news: list[StoreError] = []
        self._told = ""
        self._changed = threading.Condition()
        self._due: float | None = None
        self._not_before = 0.0
        self._waiting: list[SimpleQueue[None]] = []
        self._stopping = False
        self._thread: threading.Thread | None = None

    def soon(self) -> None:
        with self._changed:
            if self._due is None:
                self._due = time.monotonic() + self._interval
                self._start()

    def now(self, timeout: float) -> None:
        """Return when everything was written or that has failed, at the latest after `timeout` seconds."""
        ran: SimpleQueue[None] = SimpleQueue()
        with self._changed:
            self._waiting.append(ran)
            self._start()
        # Not on the condition: a Ctrl-C that raises in its wait can leave it without its lock.
        with suppress(Empty):
            ran.get(timeout=timeout)

    def stop(self, timeout: float) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def news(self) -> list[StoreError]:
        """What the user has not been told yet."""
        with self._lock:
            news, self._news = self._news, []
        return news

    @property
    def unsaved(self) -> int:
        """How many messages are not in the file."""
        with self._lock:
            due = [kept for kept in self.conversations if kept.is_due]
            return sum(not node.message.is_system for kept in due for node in kept.unsaved)

    # -- the thread -----------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="transcripts", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._is_due():
                    self._changed.wait(self._rest())
                waiting, self._waiting = self._waiting, []
                stopping = self._stopping
                self._due = None
            if stopping or time.monotonic() >= self._not_before:
                self._attempt()
            with self._changed:
                if self.trouble is not None:
                    self._due = self._not_before
            for ran in waiting:
                ran.put(None)
            if stopping:
                self._file.close()
                return

    def _is_due(self) -> bool:
        reached = self._due is not None and time.monotonic() >= self._due
        return self._stopping or bool(self._waiting) or reached

    def _rest(self) -> float | None:
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def _attempt(self) -> None:
        """Bring the file up to date; after a StoreError all that is unsaved stays so."""
        try:
            self._write()
        except StoreError as error:
            self.trouble = error
            self._not_before = time.monotonic() + self._retry
            if isinstance(error, DamagedError):
                # Opening again puts the file aside; the new one gets this chat's conversations whole.
                self._file.suspect = True
                self._begin_anew()
            if error.message != self._told:
                self._told = error.message
                self._say(StoreError(error.message, _("The chat goes on, and is stored once that is fixed.")))
        else:
            self.trouble, self._told = None, ""

    def _write(self) -> None:
        due = self._take_due()
        if due and self._file.is_lost():
            self._begin_anew()
            due = self._take_due()
        for kept, now in due:
            self._store(kept, now)
        with self._lock:
            older = [kept for kept in self.conversations[:-1] if kept.is_due]
            self.conversations[:] = [*older, *self.conversations[-1:]]

    def _take_due(self) -> list[tuple[Kept, Kept]]:
        """The conversations that have something to write, each as it is now."""
        with self._lock:
            self._settle()
            return [(kept, replace(kept)) for kept in self.conversations if kept.is_due]

    def _store(self, kept: Kept, now: Kept) -> None:
        try:
            saved = now.store(self._file.open())
        except GoneError:
            now.forget()
            with self._lock:
                kept.heading, kept.saved = (
                    replace(kept.heading, title=now.heading.title, name=None),
                    now.saved,
                )
            if not now.is_due:
                return
            saved = now.store(self._file.open())
        with self._lock:
            kept.saved = saved

    def _begin_anew(self) -> None:
        """Leave the file; the next one gets this chat's conversations whole."""
        with suppress(StoreError):
            self._file.close()
        with self._lock:
            for kept in self.conversations:
                kept.saved = Saved()

    def _say(self, error: StoreError) -> None:
        with self._lock:
            self._news.append(error)


class _File:
    """The file, opened when it is needed. `suspect` has it looked through at the next opening."""

    def __init__(self, path: Path, say: Callable[[StoreError], None]) -> None:
        self.suspect = False
        self._path, self._say = path, say
        self._stack = ExitStack()
        self._transcripts: Transcripts | None = None
        self._identity: tuple[int, int] | None = None

    def open(self) -> Transcripts:
        if self._transcripts is None:
            opening = Transcripts.open(self._path, self._say, patience=_PATIENCE, check=self.suspect)
            self._transcripts = self._stack.enter_context(opening)
            self._identity = identity(self._path)
            self.suspect = False
        return self._transcripts

    def close(self) -> None:
        self._transcripts = None
        stack, self._stack = self._stack, ExitStack()
        stack.close()

    def is_lost(self) -> bool:
        """Whether the open file is no longer the one at its path: nobody would find what goes there."""
        if self._transcripts is None or identity(self._path) == self._identity:
            return False
        self._say(
            StoreError(
                _("{path} was moved or removed.").format(path=self._path),
                _("The whole conversation will be saved to a new file."),
            )
        )
        return True
