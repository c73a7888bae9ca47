"""The conversations that a page has open, without a browser: their turns' ends, and who waits for whom."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from llamachat.chat.session import Settings
from llamachat.client.stream import ChatClient
from llamachat.errors import LlamachatError, NotFoundError
from llamachat.web.library import Conversations
from tests.fakes.server import Handler
from tests.support import wait_for


@pytest.fixture(scope="module")
def client(model_server: str) -> Iterator[ChatClient]:
    with closing(ChatClient(model_server, "no-key")) as client:
        yield client


@contextmanager
def opened(client: ChatClient, folder: Path, unwatched_seconds: float = 600) -> Iterator[Conversations]:
    conversations = Conversations(
        folder / "transcripts.db", client, lambda said: Settings(), None, unwatched_seconds
    )
    with closing(conversations):
        yield conversations


def test_a_silent_turn_that_nobody_watches_ends(client: ChatClient, tmp_path: Path) -> None:
    with opened(client, tmp_path, unwatched_seconds=0.1) as conversations:
        conversation = conversations.get(conversations.create())
        conversation.start("ask", "silent", conversation.session.conversation.head)
        wait_for(lambda: not conversation.running, "the end of the turn", 20)
        assert conversation.events.end > 0


def test_deleting_waits_for_the_turn_and_nothing_of_it_comes_back(client: ChatClient, tmp_path: Path) -> None:
    with opened(client, tmp_path) as conversations:
        key = conversations.create()
        conversation = conversations.get(key)
        conversation.start("ask", "endless", conversation.session.conversation.head)
        wait_for(lambda: conversation.events.end > 3, "words")
        stored = str(conversation.session.journal.conversation_id)
        gone = threading.Event()

        def watch() -> None:
            while not gone.is_set():
                with suppress(LlamachatError):
                    conversations.look(stored)

        watching = threading.Thread(target=watch)
        watching.start()
        conversations.remove(key)
        gone.set()
        watching.join()
        assert not conversation.running
        with pytest.raises(NotFoundError):
            conversations.get(stored)
        assert conversations.found("") == []
        with pytest.raises(NotFoundError):
            conversation.start("ask", "more", conversation.session.conversation.head)


def test_closing_ends_all_turns_and_keeps_what_they_brought(client: ChatClient, tmp_path: Path) -> None:
    with opened(client, tmp_path) as conversations:
        running = [conversations.get(conversations.create()) for _ in range(2)]
        for conversation in running:
            conversation.start("ask", "endless", conversation.session.conversation.head)
        wait_for(lambda: all(c.events.end > 3 for c in running), "words")
    assert not any(conversation.running for conversation in running)
    with opened(client, tmp_path) as conversations:
        kept = [conversations.get(row["key"]).view()["messages"][-1] for row in conversations.found("")]
    assert [(m["finish_reason"], m["content"][:6]) for m in kept] == [("interrupted", "word0 ")] * 2


class Slow(Handler):
    """Says what it is when it is let."""

    answers = threading.Event()
    asked = threading.Event()

    def do_GET(self) -> None:
        self.asked.set()
        self.answers.wait(60)
        super().do_GET()


def test_a_server_that_is_slow_to_answer_holds_up_no_other_conversation(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    with closing(ChatClient(url, "no-key")) as client, opened(client, tmp_path) as conversations:
        Slow.answers.set()
        key = conversations.create()
        Slow.answers.clear()
        Slow.asked.clear()
        other = threading.Thread(target=conversations.create, daemon=True)
        other.start()
        assert Slow.asked.wait(20)
        assert conversations.get(key) is conversations.get(key)
        assert other.is_alive()
        Slow.answers.set()
        other.join(20)
    server.shutdown()
    server.server_close()


def test_a_conversation_is_read_without_its_server_and_opened_once(tmp_path: Path) -> None:
    nobody = ChatClient("http://127.0.0.1:9/v1", "no-key")
    with closing(nobody), opened(nobody, tmp_path) as conversations:
        turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
        key = conversations.imported(json.dumps({"messages": turns}))[0]
        found: list[object] = []
        threads = [threading.Thread(target=lambda: found.append(conversations.get(key))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4 and len(set(map(id, found))) == 1
        assert [m["content"] for m in conversations.get(key).view()["messages"]][-2:] == ["q", "a"]
