"""What can go wrong with the file: killed, full, locked, damaged, too new, shared."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from llamachat.core.conversation import Conversation
from llamachat.errors import StoreError
from llamachat.store import migrations
from llamachat.store.journal import Journal
from llamachat.store.transcripts import Transcripts
from tests.store.helpers import Talk, Told, no_trouble

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "transcripts.db"


@contextmanager
def fake_chat(path: Path, turns: int, pause: float, label: str = "chat") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.store.fake_chat", str(path), str(turns), str(pause), label]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def contents(path: Path) -> list[tuple[str, str, str | None]]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT role, content, finish_reason FROM message ORDER BY id").fetchall()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def heard(journal: Journal, told: Told, lines: int = 1) -> bool:
    """Trouble is told at the next call."""
    journal.remember({})
    return len(told.lines) >= lines


def say(talk: Talk, question: str) -> None:
    talk.ask(question)
    talk.answer()
    talk.write(f"answer to {question}")
    talk.finish()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
@pytest.mark.parametrize(("seed", "pause"), [(1, 0.0), (2, 0.01), (3, 0.01), (4, 0.1), (5, 0.3), (6, 0.3)])
def test_killed_at_any_moment_of_a_hundred_turns_all_but_the_last_second_is_there(
    path: Path, seed: int, pause: float
) -> None:
    with fake_chat(path, 100, pause) as process:
        assert process.stdout is not None
        screen = [
            process.stdout.readline()
            for _ in range(random.Random(seed).randrange(1, 1300 if pause < 0.1 else 40))
        ]
        process.kill()
        killed = time.time()
        screen += [line for line in process.stdout if line.endswith("\n")]
    stored = contents(path)
    questions = [content for role, content, _ in stored if role == "user"]
    answers = [content for role, content, _ in stored if role == "assistant"]
    assert [json.loads(line[1:]) for line in screen if line[0] == "Q"] == questions[
        : sum(line[0] == "Q" for line in screen)
    ]
    for moment, turn, piece in (json.loads(line[1:]) for line in screen if line[0] == "A"):
        if moment < killed - 1:
            assert piece in answers[turn]
    with Journal(path, no_trouble) as journal:
        resumed = journal.resume().conversation
        assert resumed.unanswered or resumed.messages[-1].finish_reason in ("stop", "interrupted")
        assert all(m.finish_reason for m in resumed if m.role == "assistant")
    assert all(reason for role, _, reason in contents(path) if role == "assistant")


def test_what_streams_is_on_the_disk_while_the_model_pauses(path: Path) -> None:
    with Journal(path, no_trouble, interval=0.02) as journal:
        talk = Talk(journal)
        talk.ask("one")
        talk.answer()
        talk.write("a word")
        until(lambda: contents(path)[-1] == ("assistant", "a word", None))


def test_an_answer_that_was_never_finished_is_found(path: Path) -> None:
    with Journal(path, no_trouble, interval=0.02) as journal:
        talk = Talk(journal)
        talk.ask("one")
        talk.answer()
        talk.write("半个模型")
        until(lambda: len(contents(path)) == 2)
        with Transcripts.open(path, no_trouble) as transcripts:
            assert [hit.role for hit in transcripts.search("模型")] == ["assistant"]
        talk.finish()
        with Transcripts.open(path, no_trouble) as transcripts:
            assert [hit.role for hit in transcripts.search("模型")] == ["assistant"]


def test_two_chats_at_once_lose_nothing_and_are_told_nothing(path: Path) -> None:
    with fake_chat(path, 40, 0, "left") as left, fake_chat(path, 40, 0, "right") as right:
        for process in (left, right):
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0 and err == ""
            assert not [line for line in out.splitlines() if line[0] == "E"]
    stored = contents(path)
    for label in ("left", "right"):
        mine = [content for role, content, _ in stored if role != "system" and content.startswith(label)]
        assert len(mine) == 80
        assert all(f"{label} answer {turn}.11 " in mine[2 * turn + 1] for turn in range(40))


def test_a_locked_file_is_said_once_and_caught_up_with(path: Path) -> None:
    told = Told()
    with Journal(path, told, interval=0.02, retry=0.05) as journal:
        talk = Talk(journal)
        say(talk, "before")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            say(talk, "meanwhile")
            until(lambda: heard(journal, told))
            say(talk, "still")
            assert len(told.lines) == 1 and "locked" in told.lines[0]
            other.execute("ROLLBACK")
        until(lambda: len(contents(path)) == 6)
    assert len(told.lines) == 1


def test_a_new_file_that_another_chat_is_preparing_is_waited_for(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        ends = threading.Timer(0.3, other.execute, ["ROLLBACK"])
        ends.start()
        with Transcripts.open(path, no_trouble) as transcripts:
            assert transcripts.summaries() == []
        ends.join()


def test_what_could_not_be_stored_at_last_is_said(path: Path) -> None:
    told = Told()
    with Journal(path, told) as journal:
        talk = Talk(journal)
        say(talk, "before")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            say(talk, "meanwhile")
            journal.close()
    assert "could not be stored: 2" in told.lines[-1] and len(told.lines) <= 2


def test_a_folder_that_can_not_be_made_is_said_and_the_chat_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = Told()
    with Journal(tmp_path / "file" / "transcripts.db", told) as journal:
        talk = Talk(journal)
        say(talk, "one")
        say(talk, "two")
    assert len(told.lines) == 2 and "can't be opened" in told.lines[0]


FULL_DISK_CHAT = """
import resource, sys
from pathlib import Path
from llamachat.store.journal import Journal
from tests.store.helpers import Talk
path, limit = Path(sys.argv[1]), int(sys.argv[2])
with Journal(path, lambda error: print(error), retry=0.01) as journal:
    talk = Talk(journal)
    for turn in range(6):
        talk.turn(f"question {turn}", "x" * 100_000)
        if turn == 1 and limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        path.with_name("ballast").unlink()
"""


def run_full(path: Path, limit: int) -> list[str]:
    command = [sys.executable, "-c", FULL_DISK_CHAT, str(path), str(limit)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes")
def test_a_file_that_can_not_grow_is_said_once_and_caught_up_with(path: Path) -> None:
    told = run_full(path, 300_000)
    assert len(told) == 1 and "goes on" in told[0]
    assert sum(role == "user" for role, _, _ in contents(path)) == 6


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_once_and_caught_up_with(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * 500_000)
    with closing(sqlite3.connect(small_disk / "transcripts.db")):
        pass
    path = small_disk / "transcripts.db"
    told = run_full(path, 0)
    assert told and "disk is full" in told[0] and len(told) <= 2
    contents(path)


@pytest.mark.parametrize(("begun", "left"), [(True, 0), (False, 20_000), (False, 60_000)])
def test_a_disk_that_is_full_from_the_beginning_is_named(small_disk: Path, begun: bool, left: int) -> None:
    """SQLite calls it an I/O error where a database is there; of a new one, the first step fails."""
    path = small_disk / "transcripts.db"
    if begun:
        with Transcripts.open(path, no_trouble):
            pass
    with (small_disk / "ballast").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096) == 4096 and shutil.disk_usage(small_disk).free > left:
            pass
    told = Told()
    with Journal(path, told) as journal:
        talk = Talk(journal)
        say(talk, "one")
    assert len(told.lines) == 2 and all("disk is full" in line for line in told.lines)


def test_a_damaged_file_is_put_aside_and_a_new_one_begun(path: Path) -> None:
    path.write_bytes(b"this is no database, " * 500)
    told = Told()
    with Journal(path, told) as journal:
        talk = Talk(journal)
        say(talk, "one")
    assert len(contents(path)) == 2
    (aside,) = path.parent.glob("transcripts.damaged-*.db")
    assert aside.read_bytes() == b"this is no database, " * 500
    assert len(told.lines) == 1 and aside.name in told.lines[0]


def test_a_file_damaged_during_the_chat_is_put_aside_and_the_chat_is_kept_whole(path: Path) -> None:
    told = Told()
    with Journal(path, told, retry=0.01) as journal:
        talk = Talk(journal, Conversation().with_system("short"))
        say(talk, "before")
        with Transcripts.open(path, no_trouble) as transcripts, closing(sqlite3.connect(path)) as other:
            assert transcripts.summaries()
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xff" * (size - 100))
        say(talk, "after")
        until(lambda: bool(list(path.parent.glob("*.damaged-*.db"))))
        say(talk, "at last")
    assert [content for role, content, _ in contents(path) if role != "assistant"] == [
        "short",
        "before",
        "after",
        "at last",
    ]
    assert any("damaged" in line for line in told.lines)


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {migrations.CURRENT + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer llamachat"), Transcripts.open(path, no_trouble):
        pass
    told = Told()
    with Journal(path, told) as journal:
        talk = Talk(journal)
        say(talk, "one")
    assert "newer llamachat" in told.lines[0] and path.read_bytes() == before


def test_a_file_whose_index_is_damaged_is_put_aside_and_the_chat_is_kept_whole(path: Path) -> None:
    with Journal(path, no_trouble) as journal:
        talk = Talk(journal)
        say(talk, "earlier")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM message_search_data")
    told = Told()
    with Journal(path, told, retry=0.01) as journal:
        talk = Talk(journal)
        say(talk, "one")
        until(lambda: heard(journal, told, 2))
        say(talk, "two")
    assert [content for role, content, _ in contents(path) if role == "user"] == ["one", "two"]
    assert len(list(path.parent.glob("transcripts.damaged-*.db"))) == 1
    assert len(told.lines) == 2 and "put aside" in told.lines[1]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE conversation SET updated_at = '2026-1'",
        "UPDATE conversation SET settings = '{'",
        "UPDATE message SET content = CAST(x'ff' AS TEXT)",
    ],
)
def test_a_value_that_is_damaged_is_said_in_one_line(path: Path, change: str) -> None:
    with Journal(path, no_trouble) as journal:
        talk = Talk(journal)
        say(talk, "one")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change)
    with Transcripts.open(path, no_trouble) as transcripts, pytest.raises(StoreError, match="is damaged"):
        transcripts.load(transcripts.find(None))


@pytest.mark.skipif(os.name != "posix", reason="rights of files")
def test_files_that_others_could_read_are_made_private(path: Path) -> None:
    with Transcripts.open(path, no_trouble):
        for ending in ("", "-wal", "-shm"):
            Path(f"{path}{ending}").chmod(0o644)
        with Transcripts.open(path, no_trouble):
            modes = {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {0o600}


@pytest.mark.skipif(os.name != "posix", reason="rights of files")
def test_the_files_are_for_their_owner_only(path: Path) -> None:
    path.touch(0o644)
    with Transcripts.open(path, no_trouble) as transcripts, transcripts.changes():
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {f"{path.name}{ending}": 0o600 for ending in ("", "-wal", "-shm")}


@pytest.mark.parametrize("version", range(1, migrations.CURRENT + 1))
def test_a_file_of_any_version_is_brought_up_to_date(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.migrate(connection, upto=version)
        moment = "'2026-01-01T00:00:00.000Z'"
        connection.execute(
            f"INSERT INTO conversation VALUES (1, 'old', 'oldie', 2, '{{}}', {moment}, {moment})"
        )
        for row in ("1, 1, NULL, 'user', '旧的问题'", "2, 1, 1, 'assistant', 'an old answer'"):
            connection.execute(
                "INSERT INTO message (id, conversation_id, parent_id, role, content, created_at)"
                f" VALUES ({row}, {moment})"
            )
        assert migrations.version(connection) == version
    with Transcripts.open(path, no_trouble) as transcripts:
        stored = transcripts.load(transcripts.find("oldie"))
        assert [m.content for m in stored.conversation] == ["旧的问题", "an old answer"]
        assert [hit.message_id for hit in transcripts.search("问题")] == [1]
    fresh = path.with_name("fresh.db")
    with Transcripts.open(fresh, no_trouble):
        pass
    assert tables(path) == tables(fresh)


def tables(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        assert migrations.version(connection) == migrations.CURRENT
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.migrate(connection, upto=1)
        connection.execute("CREATE TABLE message_search (x)")
    before = contents(path)
    with pytest.raises(StoreError, match="can't be used"), Transcripts.open(path, no_trouble):
        pass
    with closing(sqlite3.connect(path)) as connection:
        assert migrations.version(connection) == 1
    assert contents(path) == before
