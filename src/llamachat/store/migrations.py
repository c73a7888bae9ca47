"""The tables, and the steps that bring an older file up to them (`PRAGMA user_version` counts the steps)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from llamachat.errors import StoreError
from llamachat.language import _
from llamachat.store import index

Step = str | Callable[[sqlite3.Connection], None]

# Two shapes of a step: SQL, or a function for what SQL alone can't do. A released step is never edited:
# files out there have already taken it. A change of the schema is a new entry at the end.
VERSION_1: tuple[Step, ...] = (
    """CREATE TABLE conversation (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL DEFAULT '',
        name TEXT UNIQUE,
        head_id INTEGER,
        settings TEXT NOT NULL DEFAULT '{}',
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    )""",
    "CREATE INDEX conversation_updated ON conversation(updated_at)",
    # AUTOINCREMENT: an id that was removed is never given again, so a stale reference can't hit another row.
    """CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation_id INTEGER NOT NULL REFERENCES conversation(id) ON DELETE CASCADE,
        parent_id INTEGER REFERENCES message(id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
        content TEXT NOT NULL,
        pinned INTEGER NOT NULL DEFAULT 0,
        model TEXT,
        server TEXT,
        parameters TEXT,
        prompt_tokens INTEGER,
        completion_tokens INTEGER,
        timings TEXT,
        finish_reason TEXT,
        created_at TEXT NOT NULL,
        finished_at TEXT
    )""",
    "CREATE INDEX message_conversation ON message(conversation_id)",
    "CREATE INDEX message_parent ON message(parent_id)",
)

VERSION_2: tuple[Step, ...] = (
    "ALTER TABLE message ADD COLUMN note INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE message ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX message_unindexed ON message(id) WHERE indexed = 0 AND role <> 'system' AND note = 0",
    index.CREATE,
    """CREATE VIEW transcript AS
        WITH RECURSIVE path(conversation_id, message_id, depth) AS (
            SELECT id, head_id, 0 FROM conversation WHERE head_id IS NOT NULL
            UNION ALL
            SELECT path.conversation_id, message.parent_id, depth + 1
            FROM path JOIN message ON message.id = path.message_id
            WHERE message.parent_id IS NOT NULL
        )
        SELECT message.*, -depth AS position
        FROM path JOIN message ON message.id = path.message_id""",
    index.fill,
)

VERSION_3: tuple[Step, ...] = ("ALTER TABLE message ADD COLUMN pictures TEXT",)

MIGRATIONS: tuple[tuple[Step, ...], ...] = (VERSION_1, VERSION_2, VERSION_3)
CURRENT = len(MIGRATIONS)


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreError for a file that a newer llamachat has written."""
    found = version(connection)
    if found > CURRENT:
        raise StoreError(
            _("{path} was written by a newer llamachat (schema {found}, this one knows {current}).").format(
                path=path, found=found, current=CURRENT
            ),
            _("Update llamachat, or name another file with --transcripts."),
        )


def migrate(connection: sqlite3.Connection, upto: int = CURRENT) -> None:
    """Take the missing steps in one transaction: all of them or none."""
    if version(connection) >= upto:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version(connection), upto):
            for step in MIGRATIONS[number]:
                if isinstance(step, str):
                    connection.execute(step)
                else:
                    step(connection)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")
    except BaseException:
        # A full disk has ended the transaction already, and is what should be told.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
