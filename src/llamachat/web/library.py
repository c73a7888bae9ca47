"""All conversations: those in the transcripts, and those that are open in the page."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from typing import Any

from llamachat.chat.session import Session, Settings
from llamachat.client import ServerFacts
from llamachat.client.stream import ChatClient
from llamachat.errors import LlamachatError, NotFoundError, UsageError
from llamachat.language import _
from llamachat.store import exchange
from llamachat.store.journal import Journal
from llamachat.store.records import Hit
from llamachat.store.transcripts import Transcripts
from llamachat.web.open_conversation import UNWATCHED_SECONDS, OpenConversation

MOST_OPEN = 20
"""Conversations that are kept open; those that nobody looks at are closed first."""
MOST_LISTED = 500
"""Conversations in the list; the search finds the others."""


class Conversations:
    """Opens each conversation once, however many tabs show it. Keys are ids of the store, or `new-…`."""

    def __init__(
        self,
        path: Path,
        client: ChatClient,
        settings: Callable[[ServerFacts], Settings],
        n_ctx: int | None,
        unwatched_seconds: float = UNWATCHED_SECONDS,
    ) -> None:
        self._path, self._client, self._settings, self._n_ctx = path, client, settings, n_ctx
        self._unwatched_seconds = unwatched_seconds
        self._open: OrderedDict[str, OpenConversation] = OrderedDict()
        self._lock = Lock()

    def close(self) -> None:
        """End all turns and store what is left of them."""
        with self._lock:
            conversations = list(self._open.values())
            self._open.clear()
        for conversation in conversations:
            conversation.stop()  # all of them, before the first is waited for
        for conversation in conversations:
            conversation.close()

    def create(self) -> str:
        """A new conversation; it is stored with its first question."""
        key = f"new-{uuid.uuid4().hex}"
        self._keep(key, self._session(self._client.facts()))
        return key

    def get(self, key: str) -> OpenConversation:
        """The open conversation of that key. Raises NotFoundError if there is none."""
        with self._lock:
            found = self._found(key)
        if found is not None:
            return found
        if not key.isdecimal():
            raise NotFoundError(_("This conversation is no longer open, and nothing was said in it."))
        # Not under the lock: the server, which is asked about itself, may take long to answer. What was said
        # can be read without it.
        try:
            facts = self._client.facts()
        except LlamachatError:
            facts = None
        session = self._session(facts)
        try:
            session.resume(key)
        except LlamachatError:
            session.journal.close()
            raise
        return self._keep(key, session)

    def _found(self, key: str) -> OpenConversation | None:
        return self._open.get(key) or next(
            (c for c in self._open.values() if str(c.session.journal.conversation_id) == key), None
        )

    def look(self, key: str) -> None:
        """Take over what another face, a chat in a terminal for one, has said in the conversation."""
        conversation = self.get(key)
        session = conversation.session
        stored = session.journal.conversation_id
        known = [
            session.conversation.nodes[i].message
            for i in session.journal.message_ids
            if i in session.conversation.nodes
        ]
        if conversation.running or stored is None or len(known) < len(session.conversation.nodes):
            return  # what is here is not all in the file yet
        with self._reading() as transcripts:
            extent = transcripts.extent(stored)
        if extent != (len(known), sum(len(message.content) for message in known)):
            conversation.take_over(str(stored))

    def title(self, conversation: OpenConversation) -> tuple[str, str | None]:
        """The key in the store, as far as there is one, and the title."""
        stored = conversation.session.journal.conversation_id
        if stored is None:
            return "", None
        with self._reading() as transcripts:
            heading, _ = transcripts.tree(stored)
        return str(stored), heading.name or heading.title

    def found(self, query: str) -> Sequence[Mapping[str, Any]]:
        """The conversations as a list shows them: the last first, or those that hold the words of `query`."""
        if not self._path.exists():
            return []
        with self._reading() as transcripts:
            if query.strip():
                hits: dict[int, Hit] = {}
                for hit in transcripts.search(query, 100):
                    hits.setdefault(hit.conversation_id, hit)
                return [
                    {
                        "key": str(h.conversation_id),
                        "title": h.name or h.title,
                        "excerpt": h.line[:120],
                        "pinned": False,
                    }
                    for h in hits.values()
                ]
            on_top = transcripts.with_setting("on_top")
            rows = [
                {"key": str(s.id), "title": s.name or s.title, "pinned": s.id in on_top}
                for s in transcripts.summaries(MOST_LISTED)
            ]
        return sorted(rows, key=lambda row: not row["pinned"])

    def rename(self, key: str, name: str) -> None:
        with self._reading() as transcripts:
            transcripts.name(transcripts.find(key), name)

    def pin(self, key: str, pinned: bool) -> None:
        session = self.get(key).session
        session.put_on_top(pinned)

    def remove(self, key: str) -> None:
        conversation = self.get(key)
        conversation.close()
        stored = conversation.session.journal.conversation_id
        try:
            if stored is not None:
                with self._reading() as transcripts:
                    transcripts.remove([stored])
        finally:
            # Not before: a tab that looks would open it once more, and its journal would write it again.
            with self._lock:
                for known in [k for k, c in self._open.items() if c is conversation]:
                    del self._open[known]

    def exported(self, key: str, form: str) -> str:
        with self._reading() as transcripts:
            number = transcripts.find(key)
            if form == "json":
                return exchange.to_json([transcripts.tree(number)])
            if form == "jsonl":
                return exchange.to_jsonl(transcripts.load(number))
            return exchange.to_markdown(transcripts.load(number))

    def imported(self, text: str) -> list[str]:
        """Store the conversations of an exported file; their keys."""
        trees = exchange.read(text, time.time())
        if not trees:
            raise UsageError(_("There is no conversation in this file."))
        with self._reading() as transcripts:
            return [str(number) for number in exchange.add(transcripts, trees)]

    def _session(self, facts: ServerFacts | None) -> Session:
        journal = Journal(self._path, lambda error: None)
        settings = self._settings(facts or ServerFacts())
        return Session.open(self._client, journal, settings, facts=facts, n_ctx=self._n_ctx)

    def _keep(self, key: str, session: Session) -> OpenConversation:
        conversation = OpenConversation(session, self._unwatched_seconds)
        with self._lock:
            if found := self._found(key):
                superfluous = [conversation]  # another tab was faster
            else:
                found = self._open[key] = conversation
                superfluous = self._pop_oldest()
        for other in superfluous:
            other.close()
        return found

    def _pop_oldest(self) -> list[OpenConversation]:
        idle = [k for k, c in self._open.items() if not c.running and c.events.unwatched_seconds > 0]
        return [self._open.pop(key) for key in idle[: max(0, len(self._open) - MOST_OPEN)]]

    def _reading(self) -> AbstractContextManager[Transcripts]:
        return Transcripts.open(self._path, lambda error: None)
