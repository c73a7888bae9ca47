"""Everything that was said, in one SQLite file: read, found, changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from llamachat.core.conversation import Conversation, Message, Node
from llamachat.errors import GoneError, NotFoundError, StoreError
from llamachat.language import _
from llamachat.store import index, segment
from llamachat.store.database import Report, connect, transaction, translated
from llamachat.store.records import (
    HEADING_COLUMNS,
    MESSAGE_COLUMNS,
    Heading,
    Hit,
    Stored,
    Summary,
    from_column,
    from_iso,
    to_column,
    to_iso,
)

_SUMMARY = """
    SELECT id, title, name,
        (SELECT count(*) FROM message WHERE conversation_id = conversation.id AND role <> 'system'),
        (SELECT model FROM message WHERE conversation_id = conversation.id AND model IS NOT NULL
            ORDER BY id DESC LIMIT 1),
        created_at, updated_at
    FROM conversation"""
_BY_A_PERSON = "json_extract(settings, '$.piped') IS NOT 1"


class Transcripts:
    """An open file. Every method raises StoreError if SQLite fails, and then has changed nothing."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    @classmethod
    @contextmanager
    def open(
        cls, path: Path, report: Report, *, patience: float = 5.0, check: bool = False
    ) -> Iterator[Transcripts]:
        """The transcripts at `path`; see `database.connect` for `report`, `patience` and `check`."""
        connection = connect(path, report, patience=patience, check=check)
        try:
            yield cls(connection, path)
        finally:
            with translated(path):
                connection.close()

    @contextmanager
    def changes(self) -> Iterator[None]:
        """A block of changes that is kept whole or not at all."""
        with translated(self.path), transaction(self._connection):
            yield

    # -- writing: inside `changes()` -----------------------------------------------------------------

    def create(self, heading: Heading) -> int:
        """A new conversation; its id. A name that another one has, or that looks like an id, is left out."""
        if heading.name and (heading.name.isdecimal() or self._holder(heading.name) is not None):
            heading = replace(heading, name=None)
        return self._insert("conversation", {c: getattr(heading, c) for c in HEADING_COLUMNS})

    def change_heading(self, conversation_id: int, heading: Heading, before: Heading | None = None) -> None:
        """Everything that differs from `before`, but for the name, which is `name`'s."""
        changed = [c for c in HEADING_COLUMNS if c != "name" and _differs(c, heading, before)]
        self._update("conversation", conversation_id, {c: getattr(heading, c) for c in changed})

    def append(self, conversation_id: int, parent_id: int | None, message: Message) -> int:
        """A new message under `parent_id`; its id."""
        place = {"conversation_id": conversation_id, "parent_id": parent_id}
        values = {c: getattr(message, c) for c in MESSAGE_COLUMNS}
        message_id = self._insert("message", {**place, **values})
        self._index(message_id, message)
        return message_id

    def change(self, message_id: int, message: Message, before: Message) -> None:
        """Write what differs from `before`, which is stored; of an answer that grew, only the end."""
        values = {c: getattr(message, c) for c in MESSAGE_COLUMNS if _differs(c, message, before)}
        if "content" in values:
            index.remove(self._connection, message_id)
            if message.content.startswith(before.content):
                self._add_text(message_id, message.content[len(before.content) :])
                del values["content"]
        self._update("message", message_id, values)
        self._index(message_id, message)

    def _index(self, message_id: int, message: Message) -> None:
        """An answer that still grows is not indexed: that would be undone and done again every second."""
        if message.role == "user" or message.finish_reason:
            index.add(self._connection, message_id)

    def _insert(self, table: str, values: Mapping[str, object]) -> int:
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        cursor = self._connection.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({marks})", [to_column(c, v) for c, v in values.items()]
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _add_text(self, message_id: int, text: str) -> None:
        cursor = self._connection.execute(
            "UPDATE message SET content = content || ? WHERE id = ?", (to_column("content", text), message_id)
        )
        self._must_be_there(cursor)

    def _update(self, table: str, row: int, values: Mapping[str, object]) -> None:
        """Raises GoneError if there is no such row."""
        changes = [(c, to_column(c, v)) for c, v in values.items()]
        # Nothing to change is written too: it finds out that the row is gone.
        assignments = ", ".join(f"{c} = ?" for c, _ in changes) or "id = id"
        cursor = self._connection.execute(
            f"UPDATE {table} SET {assignments} WHERE id = ?", (*(v for _, v in changes), row)
        )
        self._must_be_there(cursor)

    def _must_be_there(self, cursor: sqlite3.Cursor) -> None:
        if cursor.rowcount == 0:
            raise GoneError(_("The conversation is no longer in {path}.").format(path=self.path))

    def _holder(self, name: str) -> int | None:
        row = self._connection.execute("SELECT id FROM conversation WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    # -- reading ------------------------------------------------------------------------------------

    def summaries(self, limit: int | None = None) -> Sequence[Summary]:
        """The conversations, the one talked in last first."""
        with translated(self.path):
            rows = self._connection.execute(
                f"{_SUMMARY} ORDER BY updated_at DESC, id DESC LIMIT ?", (-1 if limit is None else limit,)
            ).fetchall()
            return [Summary(*row[:-2], *map(from_iso, row[-2:])) for row in rows]

    def extent(self, conversation_id: int) -> tuple[int, int]:
        """How many messages a conversation has, and how many characters they hold together."""
        with translated(self.path):
            row = self._connection.execute(
                "SELECT count(*), coalesce(sum(length(content)), 0) FROM message WHERE conversation_id = ?",
                (conversation_id,),
            ).fetchone()
        return int(row[0]), int(row[1])

    def with_setting(self, name: str) -> set[int]:
        """Ids of the conversations in whose settings `name` is true."""
        with translated(self.path):
            rows = self._connection.execute(
                "SELECT id FROM conversation WHERE json_extract(settings, ?) = 1", (f"$.{name}",)
            ).fetchall()
        return {row[0] for row in rows}

    def older_than(self, moment: float) -> Sequence[int]:
        """Ids of the conversations in which nothing was said since `moment`."""
        with translated(self.path):
            rows = self._connection.execute(
                "SELECT id FROM conversation WHERE updated_at < ? ORDER BY id",
                (to_iso(moment),),
            ).fetchall()
        return [row[0] for row in rows]

    def find(self, reference: str | None) -> int:
        """The id for an id or a name; for None the last conversation in which a person asked something."""
        values: tuple[object, ...]
        if reference is None:
            order = "title = '', updated_at DESC, id DESC"
            where, values = f"{_BY_A_PERSON} ORDER BY {order} LIMIT 1", ()
        elif reference.isdecimal():
            where, values = "id = ?", (min(int(reference), 2**63 - 1),)
        else:
            where, values = "name = ?", (reference,)
        with translated(self.path):
            row = self._connection.execute(f"SELECT id FROM conversation WHERE {where}", values).fetchone()
        if row is None:
            told = (
                _("There is no conversation yet.")
                if reference is None
                else _("No conversation {reference!r}.").format(reference=reference)
            )
            raise NotFoundError(told)
        return int(row[0])

    def load(self, conversation_id: int, branch_id: int | None = None) -> Stored:
        """The conversation with all its branches, at its head or at the message `branch_id`."""
        heading, nodes = self.tree(conversation_id)
        by_id = {node.id: node for node in nodes}
        end = heading.head_id if branch_id is None else branch_id
        if end not in by_id:
            if branch_id is not None:
                raise StoreError(
                    _("Conversation {conversation_id} has no branch {branch_id}.").format(
                        conversation_id=conversation_id, branch_id=branch_id
                    )
                )
            end = None
        return Stored(conversation_id, heading, Conversation(by_id, end))

    def tree(self, conversation_id: int) -> tuple[Heading, Sequence[Node]]:
        """All branches: every message in the order of its writing."""
        with translated(self.path):
            row = self._connection.execute(
                f"SELECT {', '.join(HEADING_COLUMNS)} FROM conversation WHERE id = ?", (conversation_id,)
            ).fetchone()
            rows = self._connection.execute(
                f"SELECT id, parent_id, {', '.join(MESSAGE_COLUMNS)} FROM message"
                " WHERE conversation_id = ? ORDER BY id",
                (conversation_id,),
            ).fetchall()
            if row is None:
                raise NotFoundError(
                    _("No conversation {conversation_id}.").format(conversation_id=conversation_id)
                )
            heading = Heading(**{c: from_column(c, v) for c, v in zip(HEADING_COLUMNS, row, strict=True)})
            return heading, [_node(values) for values in rows]

    def search(self, query: str, limit: int = 50) -> Sequence[Hit]:
        """The newest messages that hold every word of `query`, in all conversations and branches."""
        finder = segment.Finder(query)
        hits = []
        with translated(self.path):
            for message_id in index.search(self._connection, query, limit):
                row = self._connection.execute(
                    "SELECT conversation.id, title, name, role, message.created_at, content FROM message"
                    " JOIN conversation ON conversation.id = conversation_id WHERE message.id = ?",
                    (message_id,),
                ).fetchone()
                found = finder.find(row[5]) if row else None
                if found:
                    place = (row[0], message_id, row[1], row[2], row[3], from_iso(row[4]))
                    hits.append(Hit(*place, found.line, found.spans))
        return hits

    # -- whole conversations -------------------------------------------------------------------------

    def name(self, conversation_id: int, name: str) -> None:
        if not name.strip() or name.isdecimal():
            raise StoreError(
                _("{name!r} can't be a name: it is empty or looks like an id.").format(name=name),
                _("Choose another."),
            )
        with self.changes():
            holder = self._holder(name)
            if holder not in (None, conversation_id):
                raise StoreError(
                    _("The name {name!r} belongs to conversation {holder}.").format(name=name, holder=holder),
                    _("Choose another."),
                )
            self._update("conversation", conversation_id, {"name": name})

    def remove(self, conversation_ids: Sequence[int]) -> None:
        """Remove conversations so that no page of the file holds their words any more."""
        with self.changes():
            for conversation_id in conversation_ids:
                messages = self._connection.execute(
                    "SELECT id FROM message WHERE conversation_id = ? AND indexed", (conversation_id,)
                ).fetchall()
                for (message_id,) in messages:
                    index.remove(self._connection, message_id)
                self._connection.execute("DELETE FROM conversation WHERE id = ?", (conversation_id,))
            index.purge(self._connection)
        with translated(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _node(values: Sequence[object]) -> Node:
    message_id, parent_id, *rest = values
    message = Message(**{c: from_column(c, v) for c, v in zip(MESSAGE_COLUMNS, rest, strict=True)})
    assert isinstance(message_id, int) and (parent_id is None or isinstance(parent_id, int))
    return Node(message_id, parent_id, message)


def _differs(column: str, now: object, before: object) -> bool:
    return before is None or getattr(now, column) != getattr(before, column)
