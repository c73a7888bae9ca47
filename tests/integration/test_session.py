"""Sessions that no terminal holds: several conversations in one process, against the real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from llamachat.chat import turn
from llamachat.chat.session import Session, Settings
from llamachat.client.stream import ChatClient
from llamachat.core.conversation import Conversation, Message
from llamachat.core.events import Done, TextDelta
from llamachat.core.sampling import Sampling
from llamachat.errors import LlamachatError, NotFoundError, WindowFull
from llamachat.store.journal import Journal
from llamachat.store.transcripts import Transcripts
from tests.faces import Recorder
from tests.support import DEADLINE, ServerProcess
from tests.terminal.conftest import FakeServer, fake_server

SETTINGS = Settings(lang="en", sampling=Sampling(temperature=0.0, max_tokens=24))


def fail(error: LlamachatError) -> None:
    raise error


@contextmanager
def open_session(url: str, key: str, path: Path, settings: Settings = SETTINGS) -> Iterator[Session]:
    client = ChatClient(url, key)
    with Journal(path, fail) as journal:
        yield Session.open(client, journal, settings)
    client.close()


def stored(path: Path, conversation_id: int) -> Conversation:
    with Transcripts.open(path, fail) as transcripts:
        return transcripts.load(conversation_id).conversation


def test_two_conversations_at_once_each_get_their_own_answers_and_are_kept(
    serve: ServerProcess, tmp_path: Path
) -> None:
    """Each turn begins while the other conversation's is under way: the barrier sees to that."""
    path = tmp_path / "transcripts.db"
    questions = {
        "capitals": ["What is the capital of France?", "And of Italy?", "And of Spain?"],
        "animals": ["How many legs has a dog?", "And a spider?", "And a fish?"],
    }
    together = threading.Barrier(2, timeout=DEADLINE)
    faces = {name: Recorder() for name in questions}

    def talk(session: Session, name: str) -> None:
        for question in questions[name]:
            together.wait()
            reply = turn.ask(session, faces[name], question)
            assert reply.done and reply.done.finish_reason in ("stop", "length")
            assert faces[name].text == reply.text == session.conversation.messages[-1].content

    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(open_session(serve.base_url, serve.api_key or "", path))
            for name in questions
        }
        threads = stack.enter_context(ThreadPoolExecutor(2))
        for done in [threads.submit(talk, session, name) for name, session in sessions.items()]:
            done.result(DEADLINE)
        ids = {name: session.journal.conversation_id for name, session in sessions.items()}
    assert len(set(ids.values())) == 2 and sessions["capitals"].id != sessions["animals"].id
    for name, session in sessions.items():
        conversation_id = ids[name]
        assert conversation_id is not None
        kept = stored(path, conversation_id)
        assert kept.messages == session.conversation.messages
        assert [m.content for m in kept if m.is_question] == questions[name]


def test_an_answer_that_is_stopped_from_outside_goes_on(serve: ServerProcess, tmp_path: Path) -> None:
    with open_session(serve.base_url, serve.api_key or "", tmp_path / "t.db") as session:
        hasty = Recorder(enough=5)
        reply = turn.ask(session, hasty, "Tell me a long story about a sailor and a whale.")
        assert reply.done and reply.done.finish_reason == "interrupted"
        begun = session.conversation.messages[-1].content
        turn.go_on(session, Recorder())
        assert session.conversation.messages[-1].content.startswith(begun)
        assert len(session.conversation) == 3


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with fake_server("--health", json.dumps({"model": "tiny", "n_ctx": 512})) as server:
        yield server


@pytest.fixture
def session(fake: FakeServer, tmp_path: Path) -> Iterator[Session]:
    settings = replace(SETTINGS, on_full="stop", sampling=Sampling())
    with open_session(fake.url, "none", tmp_path / "t.db", settings) as session:
        yield session


def cut_text(session: Session) -> str | None:
    return session.cut_answer.content if session.cut_answer else None


def filled(session: Session, face: Recorder) -> Session:
    for number in range(2):
        turn.ask(session, face, f"{number} {'tell me more of it ' * 20}")
    return session


def test_a_face_that_agrees_is_asked_once_and_told_what_goes_out(session: Session) -> None:
    face = Recorder(consents=True)
    turn.ask(filled(session, face), face, "the next")
    assert len(face.asked) == 1 and "no longer see the oldest turn" in face.asked[0]
    assert [text for text in face.told if "1 turn goes out" in text] == face.told
    assert face.text == "you said 8: the next"


def test_a_face_that_does_not_agree_sends_nothing(session: Session) -> None:
    face = Recorder()
    before = filled(session, face).conversation
    with pytest.raises(WindowFull):
        turn.ask(session, face, "the next")
    assert session.conversation is before and face.told == []


def test_requests_name_the_conversation_which_a_resumed_one_keeps(session: Session, fake: FakeServer) -> None:
    def header(session: Session) -> str:
        turn.ask(session, face, "request")
        return str(json.loads(face.text)["headers"]["x-session-id"])

    face = Recorder()
    first = header(session)
    assert first == header(session)
    kept = session.journal.conversation_id
    session.begin()
    assert header(session) != first
    session.resume(str(kept))
    assert header(session) == first


def test_what_was_set_holds_when_the_conversation_is_resumed(session: Session) -> None:
    face = Recorder()
    turn.ask(session, face, "hello")
    kept = str(session.journal.conversation_id)
    sampling = Sampling(temperature=0.1, stop=("the end", "two\nlines"))
    session.change(replace(session.settings, sampling=sampling, on_full="drop"))
    session.set_language("zh")
    wanted = session.settings
    session.begin()
    session.change(Settings(lang="en"))
    session.resume(kept)
    assert session.settings.sampling == wanted.sampling
    assert (session.settings.lang, session.settings.on_full) == ("zh", "drop")
    assert session.conversation.system == Message(
        "system", "你是一个智能助理，你的回答总是正确的、有用的和内容非常精简."
    )


def test_a_conversation_that_is_not_there_leaves_the_session_where_it_is(session: Session) -> None:
    turn.ask(session, Recorder(), "hello")
    before = session.conversation, session.settings
    with pytest.raises(NotFoundError, match="No conversation 'nosuch'") as caught:
        session.resume("nosuch")
    assert caught.value.hint == "" and (session.conversation, session.settings) == before


@pytest.mark.parametrize("move", [Session.begin, lambda s: s.switch_to(s.conversation.without_last_turn())])
def test_going_elsewhere_leaves_a_cut_answer_and_takes_along_what_is_attached(
    session: Session, move: Callable[[Session], None]
) -> None:
    face = Recorder()
    turn.ask(session, face, "hello")
    with pytest.raises(LlamachatError, match="broke off"):
        turn.ask(session, face, "cut")
    assert cut_text(session) == "only a part"
    session.attached.append("a file")
    move(session)
    assert cut_text(session) is None and session.attached == ["a file"]


def test_another_system_message_does_not_end_the_growth_of_an_answer(
    session: Session, tmp_path: Path
) -> None:
    face = Recorder()
    turn.ask(session, face, "length")
    session.set_system("Be short.")
    turn.go_on(session, face)
    kept = session.journal.conversation_id
    assert kept is not None
    answer = stored(tmp_path / "t.db", kept).messages[-1]
    assert answer.content == "as long as it may be" * 2
    assert [type(event) for event in face.events][-1] is Done
    assert any(isinstance(event, TextDelta) for event in face.events)
