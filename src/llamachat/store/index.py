"""The full-text index: an FTS5 table that holds tokens only, kept by the code that writes messages.

The table stores no content, so that taking a message out needs the text that went in: a message's
index entry is therefore removed before its content changes. `message.indexed` says which messages are
in it; the others (an answer that is being written, or was when the power failed) are few and are scanned.
"""

from __future__ import annotations

import sqlite3

from llamachat.store import segment

# The tokens come ready from `segment`; `ascii` cuts at the spaces and changes nothing else. Single Chinese
# characters begin many tokens and need the prefix index; one of two characters would be the index once more.
CREATE = "CREATE VIRTUAL TABLE message_search USING fts5(words, content='', tokenize='ascii', prefix='1')"

_SEARCHED = "role <> 'system' AND note = 0"
# Worded as in the partial index `message_unindexed`, or SQLite would not use that.
_UNINDEXED = f"indexed = 0 AND {_SEARCHED}"


def add(connection: sqlite3.Connection, message_id: int) -> None:
    """Index the message as it is now; system messages and notes stay out."""
    row = connection.execute(
        f"SELECT content FROM message WHERE id = ? AND {_UNINDEXED}", (message_id,)
    ).fetchone()
    if row is None:
        return
    values = (message_id, segment.index_text(row[0]))
    connection.execute("INSERT INTO message_search(rowid, words) VALUES (?, ?)", values)
    connection.execute("UPDATE message SET indexed = 1 WHERE id = ?", (message_id,))


def remove(connection: sqlite3.Connection, message_id: int) -> None:
    row = connection.execute("SELECT content FROM message WHERE id = ? AND indexed", (message_id,)).fetchone()
    if row is None:
        return
    values = (message_id, segment.index_text(row[0]))
    connection.execute(
        "INSERT INTO message_search(message_search, rowid, words) VALUES ('delete', ?, ?)", values
    )
    connection.execute("UPDATE message SET indexed = 0 WHERE id = ?", (message_id,))


def fill(connection: sqlite3.Connection) -> None:
    """Index every message that is not yet."""
    for (message_id,) in connection.execute(f"SELECT id FROM message WHERE {_UNINDEXED}").fetchall():
        add(connection, message_id)


def purge(connection: sqlite3.Connection) -> None:
    """Merge the index, so that nothing of removed messages is left in its pages."""
    connection.execute("INSERT INTO message_search(message_search) VALUES ('optimize')")


def check(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.Error if the index contradicts itself, which older SQLites don't look at."""
    connection.execute("INSERT INTO message_search(message_search) VALUES ('integrity-check')")


def search(connection: sqlite3.Connection, query: str, limit: int) -> list[int]:
    """Ids of the newest messages that hold every term of `query`, newest first."""
    expression = segment.match_expression(query)
    if not expression:
        return _scan_signs(connection, query.split(), limit)
    hits = connection.execute(
        "SELECT rowid FROM message_search WHERE message_search MATCH ? ORDER BY rowid DESC LIMIT ?",
        (expression, limit),
    )
    finder = segment.Finder(query)
    others = connection.execute(f"SELECT id, content FROM message WHERE {_UNINDEXED}")
    found = {row[0] for row in hits} | {row[0] for row in others if finder.matches(row[1])}
    return sorted(found, reverse=True)[:limit]


def _scan_signs(connection: sqlite3.Connection, signs: list[str], limit: int) -> list[int]:
    """A query without any word (`->`, an emoji): the index has nothing of that."""
    if not signs:
        return []
    holds = " AND ".join(["instr(content, ?)"] * len(signs))
    rows = connection.execute(
        f"SELECT id FROM message WHERE {_SEARCHED} AND {holds} ORDER BY id DESC LIMIT ?", (*signs, limit)
    )
    return [row[0] for row in rows]
