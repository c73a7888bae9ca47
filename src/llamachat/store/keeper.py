"""The journal's half that runs in the writer's thread: sessions into the file, whatever the file does."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

from llamachat.errors import StoreError
from llamachat.store.database import DamagedError, GoneError, identity
from llamachat.store.session import Batch, Session
from llamachat.store.transcripts import Transcripts

_PATIENCE = 1.0
"""Seconds to wait for another program's lock before saying so."""


class Keeper:
    """`sessions` holds the chat's conversations, the current one last; `lock` guards it and them."""

    def __init__(self, path: Path, lock: threading.Lock, session: Session) -> None:
        self.sessions = [session]
        self._path, self._lock = path, lock
        self._file = ExitStack()
        self._transcripts: Transcripts | None = None
        self._identity: tuple[int, int] | None = None
        self._suspect = False
        self._news: list[StoreError] = []
        self._told = ""

    def news(self) -> list[StoreError]:
        """What the user has not been told yet."""
        with self._lock:
            news, self._news = self._news, []
        return news

    def batches(self) -> list[tuple[Session, Batch]]:
        """What every session has to write; under the lock."""
        return [(session, batch) for session in self.sessions if (batch := session.batch()) is not None]

    def write(self) -> None:
        """Bring the file up to date. Raises StoreError, and then all that is unsaved stays so."""
        with self._lock:
            batches = self.batches()
        try:
            if batches and self._lost():
                self._begin_anew()
                with self._lock:
                    batches = self.batches()
            for session, batch in batches:
                self._store(session, batch)
        except StoreError as error:
            self._fail(error)
            raise
        self._told = ""
        with self._lock:
            self.sessions = [s for s in self.sessions[:-1] if s.batch() is not None] + self.sessions[-1:]

    def close(self) -> None:
        self._transcripts = None
        self._file.close()

    def _store(self, session: Session, batch: Batch) -> None:
        try:
            batch.store(self._open())
        except GoneError:
            with self._lock:
                session.forget()
                again = session.batch()
            if again is None:
                return
            batch = again
            batch.store(self._open())
        with self._lock:
            session.stored(batch)

    def _open(self) -> Transcripts:
        if self._transcripts is None:
            opening = Transcripts.open(self._path, self._say, patience=_PATIENCE, check=self._suspect)
            self._transcripts = self._file.enter_context(opening)
            self._identity = identity(self._path)
            self._suspect = False
        return self._transcripts

    def _fail(self, error: StoreError) -> None:
        if isinstance(error, DamagedError):
            # Opening again puts the file aside; the new one gets this chat's conversations whole.
            self._suspect = True
            self._begin_anew()
        if error.message != self._told:
            self._told = error.message
            self._say(StoreError(error.message, "The chat goes on, and is stored once that is mended."))

    def _lost(self) -> bool:
        """Whether the open file is no longer the one at its path: what goes there, nobody would find."""
        if self._transcripts is None or identity(self._path) == self._identity:
            return False
        self._say(
            StoreError(f"{self._path} was moved or removed.", "This conversation goes whole into a new one.")
        )
        return True

    def _begin_anew(self) -> None:
        """Leave the file; the next one gets this chat's conversations whole."""
        try:
            self.close()
        except StoreError:
            self._file = ExitStack()
        with self._lock:
            for session in self.sessions:
                session.forget_all()

    def _say(self, error: StoreError) -> None:
        with self._lock:
            self._news.append(error)
