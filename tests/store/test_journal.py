"""A chat's journal on a real file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from llamachat.core.conversation import Conversation, Message
from llamachat.errors import StoreError
from llamachat.store.journal import Journal, NoJournal
from llamachat.store.records import Stored
from llamachat.store.transcripts import Transcripts
from tests.store.helpers import PARAMETERS, SERVER, Talk, Told, no_trouble
from tests.support import wait_for

SEED = Conversation().with_system("Be short.")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "transcripts.db"


@pytest.fixture
def journal(path: Path, told: Told) -> Iterator[Journal]:
    with Journal(path, told, interval=0.02, retry=0.05) as journal:
        yield journal


@pytest.fixture
def talk(journal: Journal) -> Talk:
    return Talk(journal, SEED, {"temperature": 0.7})


def load(path: Path, reference: str | None = None) -> Stored:
    with Transcripts.open(path, no_trouble) as transcripts:
        return transcripts.load(transcripts.find(reference))


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def count(path: Path) -> int:
    (row,) = rows(path, "SELECT count(*) FROM message")
    assert isinstance(row[0], int)
    return row[0]


def test_a_turn_is_stored_with_all_that_is_known_of_it(talk: Talk, path: Path, told: Told) -> None:
    talk.turn("What is a GGUF?", "A file.")
    stored = load(path)
    assert [m.content for m in stored.conversation] == ["Be short.", "What is a GGUF?", "Afile."]
    answer = stored.conversation.messages[-1]
    assert (answer.model, answer.server, answer.parameters) == ("small", SERVER, PARAMETERS)
    assert (answer.prompt_tokens, answer.completion_tokens, answer.timings) == (20, 5, {"predicted_n": 5})
    assert answer.finish_reason == "stop" and answer.finished_at is not None
    assert stored.heading.title == "What is a GGUF?" and stored.heading.settings == {"temperature": 0.7}
    assert stored.conversation.model == "small" and told.lines == []


def test_the_question_is_on_the_disk_before_the_answer_begins(talk: Talk, path: Path) -> None:
    talk.ask("你好")
    conversation = load(path).conversation
    assert conversation.unanswered and conversation.unanswered.content == "你好"
    assert len(conversation.without_unanswered()) == 1


def test_a_chat_in_which_nothing_was_said_leaves_no_row(path: Path, told: Told) -> None:
    with Journal(path, told) as journal:
        journal.start(SEED, {})
        assert journal.conversation_id is None
    assert not path.exists() or rows(path, "SELECT * FROM conversation") == []


def test_the_introduction_gives_no_title(talk: Talk, path: Path) -> None:
    talk.ask("Introduce yourself.", title="")
    assert load(path).heading.title == ""
    talk.ask("Why is the sky blue?\nI wonder.")
    assert load(path).heading.title == "Why is the sky blue? I wonder."


def test_an_interrupted_answer_keeps_its_part_and_is_marked(talk: Talk, path: Path) -> None:
    talk.turn("Tell me", "Once upon", "interrupted")
    assert load(path).conversation.messages[-1] == Message(
        "assistant", "Onceupon", finish_reason="interrupted"
    )


def test_an_answer_that_nobody_ended_is_marked_and_whole(path: Path) -> None:
    with Journal(path, no_trouble, interval=60) as journal:
        talk = Talk(journal, SEED)
        talk.ask("Tell me")
        talk.answer()
        talk.write("Once ")
        talk.write("upon")
    answer = load(path).conversation.messages[-1]
    assert answer == Message("assistant", "Once upon", finish_reason="interrupted")
    assert answer.finished_at is not None


def test_a_cut_answer_goes_on_as_the_same_message(talk: Talk, path: Path) -> None:
    talk.turn("Count", "1 2", "length")
    talk.more()
    talk.write("3")
    talk.finish("stop", prompt_tokens=25, completion_tokens=6)
    answer = load(path).conversation.messages[-1]
    assert (answer.content, answer.finish_reason, answer.completion_tokens) == ("123", "stop", 6)
    assert count(path) == 3


def test_a_growing_answer_costs_the_file_only_what_came_and_is_not_written_over(
    talk: Talk, path: Path
) -> None:
    """A row that is changed by hand meanwhile shows which columns are written."""
    talk.ask("Count")
    talk.answer()
    talk.write("1")
    wait_for(lambda: count(path) == 3, "the answer's row")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE message SET content = 'one', model = 'mine' WHERE role = 'assistant'")
    talk.write("2")
    wait_for(lambda: rows(path, "SELECT content FROM message")[-1] == ("one2",), "the next piece")
    talk.write("3")
    talk.finish()
    assert rows(path, "SELECT content, model, finish_reason FROM message")[-1] == ("one23", "mine", "stop")


def test_retry_undo_and_edit_leave_branches_that_can_be_reached(talk: Talk, path: Path) -> None:
    talk.turn("one", "1")
    talk.turn("two", "2")
    talk.go_to(talk.conversation.at_last_question())
    talk.answer()
    talk.write("zwei")
    talk.finish()
    talk.go_to(talk.conversation.without_last_turn())
    talk.turn("deux?", "3")
    branches = talk.conversation.branches
    assert [(b.question, b.messages, b.current) for b in branches] == [
        ("deux?", 4, True),
        ("two", 4, False),
        ("two", 4, False),
    ]
    talk.go_to(talk.conversation.at(branches[1].id))
    assert [m.content for m in talk.conversation] == ["Be short.", "one", "1", "two", "zwei"]
    talk.turn("three", "3")
    stored = load(path).conversation
    assert [m.content for m in stored][-3:] == ["zwei", "three", "3"]
    assert len(stored.branches) == len(talk.conversation.branches) == 3


def test_undo_alone_moves_the_head_and_keeps_the_branch(talk: Talk, path: Path) -> None:
    talk.turn("one", "1")
    talk.turn("two", "2")
    talk.go_to(talk.conversation.without_last_turn())
    wait_for(lambda: load(path).conversation.messages[-1].content == "1", "the head")
    assert [(b.question, b.current) for b in load(path).conversation.branches] == [
        ("two", False),
        ("one", True),
    ]


def test_saving_the_same_conversation_again_changes_nothing(talk: Talk, journal: Journal, path: Path) -> None:
    talk.turn("one", "1 2")
    before = rows(path, "SELECT * FROM message"), rows(path, "SELECT * FROM conversation")
    journal.save(talk.conversation, wait=True)
    assert (rows(path, "SELECT * FROM message"), rows(path, "SELECT * FROM conversation")) == before


def test_pins_notes_and_another_system_message_are_kept(talk: Talk, journal: Journal, path: Path) -> None:
    talk.turn("one", "1")
    conversation = talk.conversation.with_pin(1)
    conversation = conversation.with_message(Message("system", "Summary: one.", pinned=True, note=True))
    talk.go_to(conversation.with_system("Be long."))
    journal.remember({"temperature": 0.1})
    talk.turn("two", "2")
    stored = load(path)
    assert [m.content for m in stored.conversation] == ["Be long.", "one", "1", "Summary: one.", "two", "2"]
    assert [m.pinned for m in stored.conversation] == [False, True, False, True, False, False]
    assert [m.note for m in stored.conversation] == [False, False, False, True, False, False]
    assert stored.heading.settings == {"temperature": 0.1}
    journal.save(talk.conversation.with_system(""), wait=True)
    assert load(path).conversation.system is None


def test_a_conversation_is_resumed_by_name_by_id_and_as_the_last_one(path: Path, told: Told) -> None:
    with Journal(path, told) as journal:
        Talk(journal, SEED).turn("one", "1")
        journal.name("first")
        Talk(journal, SEED).turn("two", "2")
        assert journal.conversation_id is not None
        last = journal.conversation_id
    with Journal(path, told) as journal:
        assert journal.resume().id == last
        assert journal.resume(str(last)).id == last
        stored = journal.resume("first")
        assert stored.heading.name == "first"
        conversation = stored.conversation.with_message(Message("user", "and then"))
        journal.save(conversation.with_message(Message("assistant", "3", finish_reason="stop")), wait=True)
        journal.save(stored.conversation)
    assert len(rows(path, "SELECT * FROM conversation")) == 2
    assert count(path) == 8
    assert [m.content for m in load(path, "first").conversation] == ["Be short.", "one", "1"]


def test_a_resumed_conversation_has_all_its_branches_under_their_ids_in_the_file(
    path: Path, told: Told
) -> None:
    with Journal(path, told) as journal:
        Talk(journal, SEED).turn("other", "0")
        talk = Talk(journal, SEED)
        talk.turn("one", "1")
        talk.go_to(talk.conversation.without_last_turn())
        talk.turn("two", "2")
        ids = {journal.message_ids[branch.id] for branch in talk.conversation.branches}
    with Journal(path, told) as journal:
        resumed = journal.resume().conversation
        assert {branch.id for branch in resumed.branches} == ids
        journal.save(resumed.at(min(ids)).with_message(Message("user", "three")), wait=True)
        assert [m.content for m in load(path).conversation] == ["Be short.", "one", "1", "three"]


@pytest.mark.parametrize("name", ["", "12", "taken"])
def test_a_name_that_can_not_be_is_refused(journal: Journal, name: str) -> None:
    Talk(journal, SEED).turn("one", "1")
    journal.name("taken")
    Talk(journal, SEED).turn("two", "2")
    with pytest.raises(StoreError, match="name"):
        journal.name(name)


def test_an_unknown_conversation_is_said(talk: Talk, journal: Journal) -> None:
    talk.turn("one", "1")
    for reference in ("nobody", "99", "9" * 40):
        with pytest.raises(StoreError, match="No conversation"):
            journal.resume(reference)


def test_a_conversation_removed_meanwhile_goes_on_as_a_new_one(talk: Talk, path: Path, told: Told) -> None:
    talk.turn("secret", "1")
    with Transcripts.open(path, told) as transcripts:
        transcripts.remove([transcripts.find(None)])
    talk.turn("two", "2")
    assert [m.content for m in load(path).conversation] == ["two", "2"]
    assert load(path).heading.title == "two" and told.lines == []


def test_a_conversation_removed_in_an_answer_keeps_that_answer_whole(talk: Talk, path: Path) -> None:
    talk.ask("secret")
    talk.answer()
    talk.write("one ")
    wait_for(lambda: count(path) == 3, "the answer's row")
    with Transcripts.open(path, no_trouble) as transcripts:
        transcripts.remove([transcripts.find(None)])
    talk.write("two")
    talk.finish()
    assert [m.content for m in load(path).conversation] == ["one two"]


def test_text_that_is_no_unicode_is_stored_without_what_is_not(talk: Talk, path: Path) -> None:
    talk.turn("bad \ud800 half", "nul\0byte")
    talk.more()
    talk.write("\0 more \ud800")
    wait_for(lambda: load(path).conversation.messages[-1].content == "nul\0byte\0 more ?", "the piece")
    talk.finish()
    assert [m.content for m in load(path).conversation][1:] == ["bad ? half", "nul\0byte\0 more ?"]


def test_a_pin_alone_leaves_the_search_as_it_is(talk: Talk, path: Path) -> None:
    talk.turn("模型", "1")
    talk.go_to(talk.conversation.with_pin(1))
    node = talk.conversation.seen[1]
    talk.go_to(talk.conversation.changed(node.id, replace(node.message, content="学习")))
    wait_for(lambda: load(path).conversation.messages[1].content == "学习", "the change")
    with Transcripts.open(path, no_trouble) as transcripts:
        assert [hit.line for hit in transcripts.search("学习")] == ["学习"]
        assert transcripts.search("模型") == []
        assert transcripts.load(transcripts.find(None)).conversation.messages[1].pinned


def test_without_a_store_the_same_calls_keep_nothing(tmp_path: Path) -> None:
    journal = NoJournal()
    talk = Talk(journal, SEED)
    talk.turn("one", "1")
    talk.more()
    talk.go_to(SEED)
    journal.remember({})
    with pytest.raises(StoreError, match="--no-store"):
        journal.name("x")
    with pytest.raises(StoreError, match="--no-store"):
        journal.resume()
    journal.close()
    assert list(tmp_path.iterdir()) == []
