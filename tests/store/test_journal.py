"""A chat's journal on a real file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from llamachat.core.conversation import Conversation, Message
from llamachat.errors import StoreError
from llamachat.store.journal import Journal
from llamachat.store.protocol import AnyJournal, NoJournal
from llamachat.store.transcripts import Transcripts
from llamachat.store.values import Origin, Stored
from tests.store.helpers import Told, no_trouble

ORIGIN = Origin("small", "http://localhost:8000/v1", {"temperature": 0.7, "max_tokens": 512})
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
        journal.start(SEED, {"temperature": 0.7})
        yield journal


def turn(
    journal: AnyJournal, question: str, answer: str, finish_reason: str = "stop"
) -> tuple[Message, Message]:
    journal.ask(question)
    journal.answer(ORIGIN)
    for piece in answer.split(" "):
        journal.write(piece)
    journal.finish(finish_reason, prompt_tokens=20, completion_tokens=5, timings={"predicted_n": 5})
    return Message("user", question), Message(
        "assistant", answer.replace(" ", ""), finish_reason=finish_reason
    )


def load(path: Path, reference: str | None = None) -> Stored:
    with Transcripts.open(path, no_trouble) as transcripts:
        return transcripts.load(transcripts.find(reference))


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_a_turn_is_stored_with_all_that_is_known_of_it(journal: Journal, path: Path, told: Told) -> None:
    turn(journal, "What is a GGUF?", "A file.")
    stored = load(path)
    assert [m.content for m in stored.conversation] == ["Be short.", "What is a GGUF?", "Afile."]
    answer = stored.path[-1].record
    assert (answer.model, answer.server, answer.parameters) == (
        ORIGIN.model,
        ORIGIN.server,
        ORIGIN.parameters,
    )
    assert (answer.prompt_tokens, answer.completion_tokens, answer.timings) == (20, 5, {"predicted_n": 5})
    assert answer.finish_reason == "stop" and answer.finished_at is not None
    assert stored.heading.title == "What is a GGUF?" and stored.heading.settings == {"temperature": 0.7}
    assert stored.model == "small" and told.lines == []


def test_the_question_is_on_the_disk_before_the_answer_begins(journal: Journal, path: Path) -> None:
    journal.ask("你好")
    stored = load(path)
    assert stored.unanswered == "你好" and len(stored.conversation) == 1


def test_a_chat_in_which_nothing_was_said_leaves_no_row(path: Path, told: Told) -> None:
    with Journal(path, told) as journal:
        journal.start(SEED, {})
        assert journal.conversation_id is None
    assert not path.exists() or rows(path, "SELECT * FROM conversation") == []


def test_the_introduction_gives_no_title(journal: Journal, path: Path) -> None:
    journal.ask("Introduce yourself.", title="")
    assert load(path).heading.title == ""
    journal.ask("Why is the sky blue?\nI wonder.")
    assert load(path).heading.title == "Why is the sky blue? I wonder."


def test_an_interrupted_answer_keeps_its_part_and_is_marked(journal: Journal, path: Path) -> None:
    turn(journal, "Tell me", "Once upon", "interrupted")
    assert load(path).conversation.messages[-1] == Message(
        "assistant", "Onceupon", finish_reason="interrupted"
    )


def test_an_answer_without_text_leaves_no_row(journal: Journal, path: Path) -> None:
    turn(journal, "Tell me", "", "error")
    assert rows(path, "SELECT count(*) FROM message WHERE role = 'assistant'") == [(0,)]


def test_a_cut_answer_goes_on_as_the_same_message(journal: Journal, path: Path) -> None:
    turn(journal, "Count", "1 2", "length")
    journal.more(ORIGIN)
    journal.write("3")
    journal.finish("stop", prompt_tokens=25, completion_tokens=1)
    answer = load(path).path[-1].record
    assert (answer.content, answer.finish_reason, answer.completion_tokens) == ("123", "stop", 6)


def test_retry_undo_and_edit_leave_branches_that_can_be_reached(journal: Journal, path: Path) -> None:
    first = SEED.with_turn(*turn(journal, "one", "1"))
    turn(journal, "two", "2")
    journal.align(first.with_message(Message("user", "two")))
    journal.answer(ORIGIN)
    journal.write("zwei")
    journal.finish("stop")
    journal.align(first)
    turn(journal, "deux?", "3")
    branches = journal.branches()
    assert [(b.question, b.messages, b.current) for b in branches] == [
        ("deux?", 4, True),
        ("two", 4, False),
        ("two", 4, False),
    ]
    back = journal.switch(branches[1].id)
    assert [m.content for m in back.conversation] == ["Be short.", "one", "1", "two", "zwei"]
    turn(journal, "three", "3")
    assert [m.content for m in load(path).conversation][-2:] == ["three", "3"]
    assert len(journal.branches()) == 3


def test_undo_alone_moves_the_head_and_keeps_the_branch(journal: Journal, path: Path) -> None:
    conversation = SEED.with_turn(*turn(journal, "one", "1"))
    turn(journal, "two", "2")
    journal.align(conversation)
    assert [(b.question, b.current) for b in journal.branches()] == [("two", False), ("one", True)]
    assert load(path).conversation.messages[-1].content == "1"


def test_aligning_to_the_same_conversation_changes_nothing(journal: Journal, path: Path) -> None:
    question, answer = turn(journal, "one", "1 2")
    before = rows(path, "SELECT id, content FROM message")
    journal.align(SEED.with_turn(question, answer))
    journal.branches()
    assert rows(path, "SELECT id, content FROM message") == before


def test_pins_notes_and_another_system_message_are_kept(journal: Journal, path: Path) -> None:
    conversation = SEED.with_turn(*turn(journal, "one", "1")).with_pin(1)
    conversation = conversation.with_message(Message("system", "Summary: one.", pinned=True, note=True))
    journal.align(conversation.with_system("Be long."))
    journal.remember({"temperature": 0.1})
    turn(journal, "two", "2")
    stored = load(path)
    assert [m.content for m in stored.conversation] == ["Be long.", "one", "1", "Summary: one.", "two", "2"]
    assert [m.pinned for m in stored.conversation] == [False, True, False, True, False, False]
    assert [m.note for m in stored.conversation] == [False, False, False, True, False, False]
    assert stored.heading.settings == {"temperature": 0.1}
    journal.align(stored.conversation.with_system(""))
    journal.branches()
    assert load(path).conversation.system is None


def test_a_conversation_is_resumed_by_name_by_id_and_as_the_last_one(path: Path, told: Told) -> None:
    with Journal(path, told) as journal:
        journal.start(SEED, {})
        turn(journal, "one", "1")
        journal.save("first")
        journal.start(SEED, {})
        turn(journal, "two", "2")
        assert journal.conversation_id is not None
        last = journal.conversation_id
    with Journal(path, told) as journal:
        assert journal.resume().id == last
        assert journal.resume(str(last)).id == last
        stored = journal.resume("first")
        assert stored.heading.name == "first"
        turn(journal, "and then", "3")
        journal.align(stored.conversation)
    assert len(rows(path, "SELECT * FROM conversation")) == 2
    assert len(rows(path, "SELECT * FROM message")) == 8


@pytest.mark.parametrize("name", ["", "12", "taken"])
def test_a_name_that_can_not_be_is_refused(journal: Journal, name: str) -> None:
    turn(journal, "one", "1")
    journal.save("taken")
    journal.start(SEED, {})
    turn(journal, "two", "2")
    with pytest.raises(StoreError, match="name"):
        journal.save(name)


def test_an_unknown_conversation_is_said(journal: Journal) -> None:
    turn(journal, "one", "1")
    for reference in ("nobody", "99", "9" * 40):
        with pytest.raises(StoreError, match="No conversation"):
            journal.resume(reference)


def test_a_conversation_removed_meanwhile_goes_on_as_a_new_one(
    journal: Journal, path: Path, told: Told
) -> None:
    turn(journal, "secret", "1")
    with Transcripts.open(path, told) as transcripts:
        transcripts.remove([transcripts.find(None)])
    turn(journal, "two", "2")
    assert [m.content for m in load(path).conversation] == ["two", "2"]
    assert load(path).heading.title == "two" and told.lines == []


def test_text_that_is_no_unicode_is_stored_without_what_is_not(journal: Journal, path: Path) -> None:
    turn(journal, "bad \ud800 half", "nul\0byte")
    assert [m.content for m in load(path).conversation][1:] == ["bad ? half", "nul\0byte"]


def test_without_a_store_the_same_calls_keep_nothing(tmp_path: Path) -> None:
    journal: AnyJournal = NoJournal()
    journal.start(SEED, {})
    turn(journal, "one", "1")
    journal.more(ORIGIN)
    journal.align(SEED)
    journal.remember({})
    with pytest.raises(StoreError, match="--no-store"):
        journal.save("x")
    with pytest.raises(StoreError, match="--no-store"):
        journal.resume()
    with pytest.raises(StoreError, match="--no-store"):
        journal.branches()
    with pytest.raises(StoreError, match="--no-store"):
        journal.switch(1)
    journal.close()
    assert list(tmp_path.iterdir()) == []
