"""The queries of docs/transcripts.md, on a real file."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from llamachat.core.conversation import Conversation
from llamachat.store import migrations
from llamachat.store.journal import Journal
from tests.store.helpers import Talk, no_trouble

DOCUMENT = (Path(__file__).parents[2] / "docs" / "transcripts.md").read_text(encoding="utf-8")


def test_the_documented_queries_answer_what_they_promise(tmp_path: Path) -> None:
    path = tmp_path / "transcripts.db"
    with Journal(path, no_trouble) as journal:
        talk = Talk(journal, Conversation().with_system("short"))
        for question, reason in (("one", "stop"), ("two", "length")):
            talk.ask(question)
            talk.answer()
            talk.write("answer")
            talk.finish(reason, completion_tokens=5, timings={"predicted_per_second": 20.0})
    speed, path_query, cut = re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(speed).fetchall() == [("small", 2, 10, 20.0)]
        roles = [row[0] for row in connection.execute(path_query.replace("12", "1"))]
        assert roles == ["system", "user", "assistant", "user", "assistant"]
        assert [row[2:] for row in connection.execute(cut)] == [("two", "length")]


def test_every_column_is_documented(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "t.db", isolation_level=None)) as connection:
        migrations.migrate(connection)
        for table in ("conversation", "message"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            assert [c for c in columns if f"`{c}`" not in DOCUMENT] == []
    assert f"`PRAGMA user_version` is {migrations.CURRENT}." in DOCUMENT
