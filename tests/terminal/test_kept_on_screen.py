"""What a chat in a terminal leaves in the transcripts."""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.server import HOSTILE
from tests.pty_chat import Chat
from tests.support import wait_for
from tests.terminal.conftest import FakeServer, fake_server

Open = Callable[..., Chat]
Row = dict[str, Any]


@pytest.fixture
def path(env: dict[str, str]) -> Path:
    return Path(env["XDG_DATA_HOME"]) / "llamachat" / "transcripts.db"


def query(path: Path, sql: str) -> list[Row]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


def rows(path: Path) -> list[Row]:
    """Every message that was said, in the order of writing."""
    return query(path, "SELECT * FROM message WHERE role <> 'system' OR note ORDER BY id")


def standing(path: Path) -> list[str]:
    """The conversation as it is."""
    found = query(path, "SELECT content FROM transcript WHERE role <> 'system' ORDER BY position")
    return [row["content"] for row in found]


def leave(one: Chat) -> None:
    one.ask("bye")
    assert one.wait() == 0


@pytest.fixture
def named(env: dict[str, str]) -> Iterator[FakeServer]:
    """A server that says what it is."""
    with fake_server("--health", json.dumps({"model": "small-1b", "n_ctx": 2048})) as server:
        yield server


def test_an_answer_is_kept_with_all_that_is_known_of_it(
    env: dict[str, str], named: FakeServer, path: Path
) -> None:
    one = Chat(["--base-url", named.url, "--no-intro", "--temperature", "0.2"], env)
    one.ask("/set seed 7")
    one.ask("hello")
    one.see("you said 5: hello")
    leave(one)
    question, answer = rows(path)
    assert (question["content"], answer["content"]) == ("hello", "you said 5: hello")
    assert (answer["model"], answer["server"]) == ("small-1b", named.url)
    assert json.loads(answer["parameters"]) == {
        "model": "local-model",
        "temperature": 0.2,
        "seed": 7,
        "max_tokens": 512,
    }
    assert (answer["prompt_tokens"], answer["completion_tokens"]) == (24, 7)
    assert json.loads(answer["timings"])["predicted_per_second"] == 42.0
    assert answer["finish_reason"] == "stop"
    assert question["created_at"] <= answer["created_at"] <= answer["finished_at"]


def test_the_model_that_is_asked_for_is_kept_where_the_server_names_none(chat: Open, path: Path) -> None:
    one = chat("--model", "first")
    one.ask("one")
    one.see("you said 3: one")
    one.ask("/model second")
    one.ask("two")
    one.see("you said 3: two")
    leave(one)
    assert [row["model"] for row in rows(path) if row["role"] == "assistant"] == ["first", "second"]


def test_a_server_that_comes_back_with_another_model_is_noticed(env: dict[str, str], path: Path) -> None:
    first, second = (json.dumps({"model": name, "n_ctx": 2048}) for name in ("small-1b", "large-8b"))
    with fake_server("--health", first) as server:
        one = Chat(["--base-url", server.url, "--no-intro"], env)
        one.ask("one")
        one.see("you said 3: one")
        one.prompt()
    with fake_server("--port", str(server.port), "--health", second):
        one.enter("two")
        one.see("you said 3: two")
        leave(one)
    assert "[small-1b answered so far; now it is large-8b]" in one.text
    assert [row["model"] for row in rows(path) if row["role"] == "assistant"] == ["small-1b", "large-8b"]


def test_the_introduction_gives_no_title_and_the_first_question_does(
    env: dict[str, str], fake: FakeServer, path: Path
) -> None:
    one = Chat(["--base-url", fake.url], env)
    one.see("you said")
    one.prompt()
    wait_for(lambda: len(rows(path)) == 2, "the introduction")
    assert [row["title"] for row in query(path, "SELECT title FROM conversation")] == [""]
    one.enter("what is the question?")
    one.see("you said 21")
    leave(one)
    assert [row["title"] for row in query(path, "SELECT title FROM conversation")] == [
        "what is the question?"
    ]


def test_an_attached_file_gives_no_title(chat: Open, path: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the text of the file")
    one = chat()
    one.ask(f"/file {tmp_path / 'notes.txt'}")
    one.see("notes.txt")
    one.ask("what is in it?")
    one.see("you said")
    leave(one)
    assert [row["title"] for row in query(path, "SELECT title FROM conversation")] == ["what is in it?"]
    assert "the text of the file" in rows(path)[0]["content"]


@pytest.mark.parametrize("seed", range(3))
def test_killed_in_an_answer_all_but_the_last_second_is_kept(chat: Open, path: Path, seed: int) -> None:
    one = chat()
    one.ask("hello")
    one.see("you said 5")
    one.ask("endless")
    number = random.Random(seed).randrange(60, 200)
    one.see(f"word{number} ")
    one.kill()
    shown = max(map(int, re.findall(r"word(\d+)", one.text)))
    assert query(path, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    _, _, question, answer = rows(path)
    assert question["content"] == "endless"
    kept = max(map(int, re.findall(r"word(\d+) ", answer["content"])))
    assert kept >= shown - 50, "a word comes every 20 ms at the earliest"
    assert answer["finish_reason"] is None
    two = chat("--continue", rows=60)
    two.see(f"word{kept}")
    leave(two)
    assert rows(path)[3]["finish_reason"] == "interrupted"


def test_a_stopped_answer_is_marked_and_goes_on_as_the_same_message(chat: Open, path: Path) -> None:
    one = chat()
    one.ask("endless")
    one.see("word5 ")
    one.type("\x03")
    one.see("[stopped")
    one.prompt()
    assert [row["finish_reason"] for row in rows(path)] == [None, "interrupted"]
    first = rows(path)[1]["content"]
    one.enter("/continue")
    one.until(lambda: one.text.count("word5 ") == 2, "more of it")
    one.type("\x03")
    one.until(lambda: one.text.count("[stopped") == 2, "the second stop")
    leave(one)
    _, answer = rows(path)
    assert answer["content"].startswith(first + "word0 ")
    assert answer["finish_reason"] == "interrupted"


def test_an_answer_cut_at_its_length_goes_on_and_its_tokens_are_summed(chat: Open, path: Path) -> None:
    one = chat()
    one.ask("length")
    one.see("[cut off at the maximum length")
    one.ask("/continue")
    one.until(lambda: one.text.count("[cut off at the maximum length") == 2, "the second part")
    leave(one)
    _, answer = rows(path)
    assert answer["content"] == "as long as it may be" * 2
    assert (answer["completion_tokens"], answer["finish_reason"]) == (14, "length")


def test_an_answer_that_could_not_go_on_stays_what_it_was(env: dict[str, str], path: Path) -> None:
    with fake_server() as server:
        one = Chat(["--base-url", server.url, "--no-intro"], env, columns=120)
        one.ask("length")
        one.see("[cut off at the maximum length")
        server.stop()
        one.ask("/continue")
        one.see("No server answers")
        one.prompt("/continue")
        one.type("\x15")
        leave(one)
    before = {"content": "as long as it may be", "finish_reason": "length", "completion_tokens": 7}
    assert {name: rows(path)[1][name] for name in before} == before


def test_what_came_before_the_server_died_is_marked_and_a_branch_of_its_own(
    env: dict[str, str], path: Path
) -> None:
    with fake_server() as server:
        one = Chat(["--base-url", server.url, "--no-intro"], env, columns=120)
        one.ask("hello")
        one.see("you said 5: hello")
        one.ask("die")
        one.see("broken off")
        one.prompt("die")
        assert [row["finish_reason"] for row in rows(path)] == [None, "stop", None, "error"]
        assert rows(path)[3]["content"] == "the part before death "
        server.stop()
        server.start()
        one.type("\x15")
        one.ask("again")
        one.see("you said 5: again")
        one.ask("/branches")
        one.see("/branches ID goes")
        leave(one)
    _, greeting, die, part, again, answer = rows(path)
    assert die["parent_id"] == again["parent_id"] == greeting["id"]
    assert (part["parent_id"], answer["parent_id"]) == (die["id"], again["id"])
    assert standing(path) == ["hello", "you said 5: hello", "again", "you said 5: again"]


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        ("empty", "without an answer"),
        ("blank", "an empty answer"),
        ("error", "fell over"),
        ("silent", "waiting"),
    ],
)
def test_a_question_without_an_answer_is_kept_and_comes_back(
    chat: Open, path: Path, scene: str, said: str
) -> None:
    one = chat(columns=120)
    one.ask(scene)
    one.see(said)
    if scene == "silent":
        one.type("\x03")
        one.see("Stopped before")
    one.prompt(scene)
    assert [row["content"] for row in rows(path)] == [scene]
    one.type("\x15")
    leave(one)
    two = chat("--continue")
    two.prompt(scene)


def test_a_retry_leaves_the_old_answer_as_a_branch(chat: Open, path: Path) -> None:
    one = chat()
    one.ask("hello")
    one.see("you said 5: hello")
    one.ask("/retry")
    one.until(lambda: one.text.count("you said 5: hello") == 2, "the second answer")
    one.ask("/undo")
    one.see("taken back")
    one.ask("other")
    one.see("you said 5: other")
    leave(one)
    question, first, second, other, answer = rows(path)
    assert first["parent_id"] == second["parent_id"] == question["id"]
    assert other["parent_id"] == question["parent_id"] and answer["parent_id"] == other["id"]
    assert second["prompt_tokens"] == 100


def test_a_retry_that_fails_leaves_the_answer_in_its_place(env: dict[str, str], path: Path) -> None:
    with fake_server() as server:
        one = Chat(["--base-url", server.url, "--no-intro"], env, columns=120)
        one.ask("hello")
        one.see("you said 5: hello")
        one.prompt()
        before = rows(path)
        server.stop()
        one.enter("/retry")
        one.prompt("/retry")
        wait_for(lambda: standing(path) == ["hello", "you said 5: hello"], "the old answer")
        server.start()
        one.type("\x15")
        one.ask("next")
        one.see("you said 4: next")
        leave(one)
    assert rows(path)[:2] == before
    assert [row["content"] for row in rows(path)[2:]] == ["next", "you said 4: next"]
    assert standing(path) == ["hello", "you said 5: hello", "next", "you said 4: next"]


def test_pins_and_another_system_message_are_kept(chat: Open, path: Path) -> None:
    one = chat("--system", "Be short.")
    one.ask("hello")
    one.see("you said 5: hello")
    one.ask("/pin")
    one.see("stays in the window")
    one.ask("/system Be long.")
    one.see("is changed")
    leave(one)
    assert [row["pinned"] for row in rows(path)] == [1, 0]
    system = query(path, "SELECT content FROM message WHERE role = 'system' ORDER BY id")
    assert [row["content"] for row in system] == ["Be short.", "Be long."]
    two = chat("--continue")
    two.ask("request")
    two.see('"messages": [{"role": "system", "content": "Be')
    two.see('long."}')


def test_a_summary_of_what_left_the_window_is_kept_as_a_note(env: dict[str, str], path: Path) -> None:
    with fake_server("--health", json.dumps({"model": "small-1b", "n_ctx": 600})) as server:
        given = ["--base-url", server.url, "--no-intro", "--on-full", "summarise", "--max-tokens", "150"]
        one = Chat(given, env, columns=240)
        for number in range(6):
            one.ask(f"{number}" + "x" * 200)
            one.see(f"you said 201: {number}")
        leave(one)
        assert "summing up" in one.text
        notes = [row for row in rows(path) if row["note"]]
        assert notes and all(row["content"] for row in notes)
        assert [text[0] for text in standing(path) if text.endswith("x") and text[0].isdigit()] == [*"012345"]
        two = Chat([*given, "--continue"], env)
        two.ask("/context")
        two.see("note")
        two.kill()


@pytest.mark.parametrize(("arguments", "more"), [(("--no-store",), {}), ((), {"LLAMACHAT_NO_STORE": "1"})])
def test_nothing_is_kept_where_nothing_is_to_be(
    chat: Open, path: Path, tmp_path: Path, arguments: tuple[str, ...], more: dict[str, str]
) -> None:
    one = chat(*arguments, **more)
    one.ask("hello")
    one.see("you said 5: hello")
    for command in ("/save it", "/export"):
        one.ask(command)
        one.see("--no-store")
        one.prompt()
    one.ask("/undo")
    one.ask("/branches")
    one.see("/branches ID goes")
    leave(one)
    assert not path.parent.exists()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in files if b"hello" in file.read_bytes()]


def test_two_chats_at_once_keep_what_is_said_in_both(chat: Open, path: Path) -> None:
    one, two = chat(), chat()
    for number in range(3):
        for label, which in (("left", one), ("right", two)):
            which.ask(f"{label} {number}")
        for label, which in (("left", one), ("right", two)):
            which.see(f": {label} {number}")
    leave(one)
    leave(two)
    for label in ("left", "right"):
        mine = [row for row in rows(path) if row["content"].endswith(tuple(f"{label} {n}" for n in range(3)))]
        assert len(mine) == 6 and len({row["conversation_id"] for row in mine}) == 1


def test_a_folder_that_can_not_be_made_is_said_once_and_the_chat_goes_on(chat: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = chat("--transcripts", str(tmp_path / "file" / "transcripts.db"), columns=160)
    for text in ("one", "two", "three"):
        one.ask(text)
        one.see(f": {text}")
    leave(one)
    assert one.text.count("The chat goes on") == 1
    assert "could not be stored: 6" in one.text


def test_a_locked_file_is_said_once_and_caught_up_with(chat: Open, path: Path) -> None:
    one = chat(columns=160)
    one.ask("before")
    one.see(": before")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for text in ("one", "two", "three"):
            one.ask(text)
            one.see(f": {text}")
        one.prompt()
        while "is locked" not in one.text:
            one.enter("/set seed 7")
            one.pump(1)
        other.execute("ROLLBACK")
    wait_for(lambda: len(rows(path)) == 8, "what was missing")
    leave(one)
    assert one.text.count("is locked") == 1


def test_trouble_is_not_said_in_the_middle_of_an_answer(chat: Open, path: Path) -> None:
    one = chat(columns=300)
    one.ask("before")
    one.see(": before")
    one.prompt()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        one.enter("endless")
        one.see("word100 ")
        one.type("\x03")
        one.see("[stopped")
        one.prompt()
        other.execute("ROLLBACK")
    assert "is locked" in one.text
    assert "is locked" not in one.text[one.text.index("word0 ") : one.text.rindex("word")]
    leave(one)


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_a_file_that_goes_away_is_said_once_and_the_conversation_is_kept_anew(
    chat: Open, path: Path, how: str
) -> None:
    one = chat(columns=160)
    one.ask("before")
    one.see(": before")
    one.prompt()
    if how == "removed":
        shutil.rmtree(path.parent)
    else:
        path.parent.rename(path.parent.with_name("aside"))
    if how == "replaced":
        other = chat()
        other.ask("somebody else")
        other.see(": somebody else")
        leave(other)
    one.enter("after")
    one.see(": after")
    one.ask("later")
    one.see(": later")
    leave(one)
    mine = max(row["conversation_id"] for row in rows(path))
    kept = [row["content"] for row in rows(path) if row["conversation_id"] == mine]
    assert kept[::2] == ["before", "after", "later"] and len(kept) == 6
    assert one.text.count("was moved") == 1


def test_what_a_model_writes_is_kept_as_it_is(chat: Open, path: Path) -> None:
    one = chat()
    one.ask("hostile")
    one.see("next")
    leave(one)
    assert rows(path)[1]["content"] == HOSTILE
