"""A conversation that outgrows the window again and again, on real servers and the real small model."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import pytest

from llamachat.chat import turn
from llamachat.chat.context import ContextWindow
from llamachat.chat.session import Session, Settings
from llamachat.client.stream import ChatClient
from llamachat.core.conversation import Conversation
from llamachat.core.sampling import Sampling
from llamachat.core.window import Fitted
from llamachat.errors import LlamachatError
from llamachat.store.journal import Journal
from llamachat.store.transcripts import Transcripts
from tests.faces import Recorder
from tests.support import ServerProcess, clean_env

QUESTIONS = (Path(__file__).parent.parent / "data" / "questions.txt").read_text("utf-8").splitlines()
TOKENS_AN_ANSWER = 12
N_CTX = 512


class Recorded(ContextWindow):
    """The window, with what it predicted of each prompt and what the server then counted."""

    def __init__(self, client: ChatClient) -> None:
        super().__init__(lambda: client.window("local-model"), n_ctx=N_CTX)
        self.predicted: list[int] = []
        self.counted: list[int | None] = []
        self.drops = 0

    def sent(self, fitted: Fitted, answer: str, prompt_tokens: int | None, completion_tokens: int) -> None:
        self.drops += bool(self.dropped_now(fitted))
        self.predicted.append(fitted.prompt_tokens)
        self.counted.append(prompt_tokens)
        super().sent(fitted, answer, prompt_tokens, completion_tokens)


def raise_it(error: LlamachatError) -> None:
    raise error


@contextmanager
def chat(base_url: str, api_key: str, transcripts: Path) -> Iterator[tuple[Session, Recorded]]:
    client = ChatClient(base_url, api_key)
    window = Recorded(client)
    settings = Settings(sampling=Sampling(max_tokens=TOKENS_AN_ANSWER))
    with Journal(transcripts, raise_it) as journal:
        session = Session(client, journal, window, settings, Conversation())
        session.begin()
        yield session, window
    client.close()


def talk(session: Session, transcripts: Path, turns: int) -> None:
    for question in islice(cycle(QUESTIONS), turns):
        turn.ask(session, Recorder(), question)
    asked = [m.content for m in session.conversation if m.role == "user"]
    assert asked == list(islice(cycle(QUESTIONS), turns))
    assert all(m.content for m in session.conversation)
    session.journal.close()
    with Transcripts.open(transcripts, raise_it) as opened:
        stored = opened.load(opened.find(None)).conversation
    assert [m.content for m in stored] == [m.content for m in session.conversation]


@pytest.mark.slow
def test_forty_turns_lose_nothing_and_every_prompt_has_the_predicted_size(tmp_path: Path) -> None:
    with (
        ServerProcess("--n-ctx", str(N_CTX), env=clean_env(tmp_path), cwd=tmp_path) as server,
        chat(server.wait_until_ready().base_url, server.api_key or "", tmp_path / "t.db") as (
            session,
            context,
        ),
    ):
        talk(session, tmp_path / "t.db", 40)
        assert context.drops > 5
        assert context.counted == context.predicted


@pytest.mark.slow
def test_turns_against_the_stock_server(small_model: Path, tmp_path: Path) -> None:
    stock = [sys.executable, "-m", "llama_cpp.server", "--model", str(small_model), "--n_ctx", str(N_CTX)]
    with (
        ServerProcess(prefix=stock, env=clean_env(tmp_path), cwd=tmp_path) as server,
        chat(server.wait_until_listening().base_url, "none", tmp_path / "t.db") as (session, context),
    ):
        talk(session, tmp_path / "t.db", 15)
        assert context.drops


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("llama-server") is None, reason="there is no llama-server here")
def test_turns_against_llama_server(small_model: Path, tmp_path: Path) -> None:
    foreign = ["llama-server", "--model", str(small_model), "--ctx-size", str(N_CTX), "--parallel", "1"]
    with (
        ServerProcess(prefix=foreign, env=clean_env(tmp_path), cwd=tmp_path) as server,
        chat(server.wait_until_listening().base_url, "none", tmp_path / "t.db") as (session, context),
    ):
        talk(session, tmp_path / "t.db", 15)
        assert context.drops
        assert context.counted == context.predicted
