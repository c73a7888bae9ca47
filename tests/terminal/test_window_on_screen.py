"""The context window as a person sees it: what goes out, what stays, what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import foreign
from tests.pty_chat import Chat
from tests.terminal.conftest import FakeServer, fake_server

N_CTX = 512
LONG = "tell me more of it " * 20

OpenSmall = Callable[..., Chat]


def health(n_ctx: int = N_CTX, model: str = "tiny") -> str:
    return json.dumps({"status": "ok", "model": model, "n_ctx": n_ctx})


@pytest.fixture(scope="module")
def small() -> Iterator[FakeServer]:
    """A server with a small window, that counts."""
    with fake_server("--health", health()) as server:
        yield server


@pytest.fixture
def chat(env: dict[str, str], small: FakeServer) -> Iterator[OpenSmall]:
    opened: list[Chat] = []

    def open_chat(*arguments: str, columns: int = 100, rows: int = 60) -> Chat:
        opened.append(Chat(["--base-url", small.url, "--no-intro", *arguments], env, columns, rows))
        return opened[-1]

    yield open_chat
    for one in opened:
        one.kill()


def fill(one: Chat, turns: int = 2) -> None:
    """Say so much that the next message does not fit any more; each is a number and LONG."""
    for number in range(turns):
        one.ask(f"{number} {LONG}")
        one.see(f"you said {len(LONG) + 1}: {number} tell")
        one.prompt()


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def rows(one: Chat) -> list[list[str]]:
    """What /context lists: number, whether the model sees it, role, tokens, text."""
    one.ask("/context")
    one.until(lambda: "are kept for its answer." in flat(one.text), "the sum")
    one.prompt()
    shown = one.text[one.text.rindex("> /context") :].splitlines()[1:]
    return [re.split(r" {2,}", line) for line in shown if re.match(r"\d+ +(sees|-)", line)]


def test_what_goes_out_of_the_window_is_said_once_with_its_number_and_its_first_words(
    chat: OpenSmall,
) -> None:
    one = chat()
    fill(one)
    assert "turn goes out" not in one.text
    one.ask("the next")
    one.see("[the window is full: 1 turn goes out: “0 tell me more of it tel…”")
    one.see("you said 8: the next")
    one.ask("and another")
    one.see("you said 11: and another")
    one.prompt()
    assert one.text.count("the window is full") == 1
    seen = {row[4][:8]: row[1] for row in rows(one)}
    assert seen["0 tell m"] == "-" and seen["1 tell m"] == seen["the next"] == "sees"


def test_the_status_shows_how_full_the_window_is_where_there_is_room(chat: OpenSmall) -> None:
    wide, narrow = chat(), chat(columns=40)
    for one in (wide, narrow):
        one.ask("hello")
        one.see("you said 5: hello")
    wide.until(lambda: re.search(r">\s+\d+/512", wide.last_line) is not None, "the status")
    narrow.prompt()
    assert "/512" not in narrow.text
    wide.ask("/clear")
    wide.see("A new conversation.")
    wide.until(lambda: wide.last_line == ">", "a prompt without a status")


def test_the_context_is_listed_in_forty_columns(chat: OpenSmall) -> None:
    one = chat(columns=40)
    one.ask("hello")
    one.see("you said 5: hello")
    one.ask("/context")
    one.see("are kept for its answer.")
    one.prompt()
    listed = one.text[one.text.rindex("> /context") :].splitlines()
    assert any(re.fullmatch(r"1 +sees +user +\d+ tokens", line) for line in listed)
    assert "  hello" in listed
    assert any(line.endswith("…") for line in listed)
    assert len(listed) < 14


def test_a_pinned_message_stays_and_can_be_let_go_again(chat: OpenSmall) -> None:
    one = chat()
    one.ask("/pin")
    one.see("There is nothing to pin yet.")
    one.type("\x15")
    one.ask("my name is Bo")
    one.see("you said 13: my name is Bo")
    one.ask("/pin")
    one.see("Message 1 stays in the window, with its turn: my name is Bo")
    fill(one)
    one.ask("who am I?")
    one.see("turn goes out: “0 tell")
    one.see("you said 9: who am I?")
    one.prompt()
    listed = rows(one)
    assert listed[1][1:3] == ["sees", "user"] and "pinned" in listed[1][3]
    assert listed[3][1] == "-"
    one.ask("/pin 1")
    one.see("Message 1 can go out of the window again")
    for wrong in ("/pin 0", "/pin 99", "/pin x"):
        one.ask(wrong)
        one.see(f"no message {wrong[5:]}" if wrong != "/pin x" else "'x' is not the number of a message.")
        one.type("\x15")


def test_stop_waits_for_a_decision_and_keeps_the_text(chat: OpenSmall) -> None:
    one = chat("--on-full", "stop")
    fill(one)
    one.ask("the next")
    one.see("The window is full: with this message the model would no longer see the oldest turn.")
    one.prompt("the next")
    assert "you said 8" not in one.text
    one.type("\x15")
    one.ask("/set on-full drop")
    one.see("on-full: drop")
    one.ask("the next")
    one.see("1 turn goes out")
    one.see("you said 8: the next")


def test_stop_holds_for_an_answer_that_goes_on_too(chat: OpenSmall) -> None:
    one = chat("--on-full", "stop")
    fill(one)
    one.ask("/set max_tokens 300")
    one.see("max_tokens: 300")
    one.ask("/continue")
    one.see("The window is full: with this message the model would no longer see the oldest turn.")
    one.prompt("/continue")
    assert "goes out" not in one.text and "broken off" not in one.text


def test_an_answer_that_fills_the_window_is_not_called_broken_off(chat: OpenSmall) -> None:
    one = chat()
    one.ask("many words " * 85)
    one.see("you said")
    one.ask("/continue")
    one.see("The question and this answer fill the whole window.")
    one.prompt("/continue")
    assert "broken off" not in one.text


def test_a_summary_stays_as_a_note_that_undo_and_copy_pass_by(chat: OpenSmall) -> None:
    one = chat("--on-full", "summarise", "--lang", "en")
    fill(one)
    one.ask("the next")
    one.see("[the window is full: summing up what goes out of it]")
    one.see("you said 8: the next")
    one.prompt()
    notes = [row for row in rows(one) if row[2] == "note"]
    assert len(notes) == 2 and notes[0][4].startswith("Summarise our conversation")
    one.ask("/undo")
    one.see("are taken back.")
    one.ask("/continue")
    one.see("There is no answer to continue.")
    one.type("\x15")
    one.ask("/edit")
    one.until(lambda: "> 1 tell me more" in one.text.rsplit("taken back", 1)[1], "the question before")


def test_ctrl_c_in_a_summary_stops_the_turn_and_a_failure_drops(env: dict[str, str]) -> None:
    for summary, key in (("silent", "\x03"), ("error", "")):
        with fake_server("--health", health(), "--summary", summary) as server:
            given = ["--base-url", server.url, "--no-intro", "--lang", "en", "--on-full", "summarise"]
            one = Chat(given, env, 100, 60)
            fill(one)
            one.ask("the next")
            one.see("summing up")
            if key:
                one.see("waiting")
                one.type(key)
                one.prompt("the next")
                assert "turn goes out" not in one.text
            else:
                one.see("[no summary: The server answered with an error: the model fell over.]")
                one.see("1 turn goes out")
                one.see("you said 8: the next")
            one.kill()


def test_a_message_over_the_window_is_refused_with_its_size_and_given_back(chat: OpenSmall) -> None:
    one = chat()
    one.prompt()
    one.type("\x1b[200~" + "many words and more " * 200 + "\x1b[201~")
    one.enter()
    one.until(lambda: re.search(r"The message has \d+ tokens, and \d+ of 480 are free", one.text) is not None)
    one.see("--n-ctx")
    one.prompt("[3999 characters pasted]")
    one.enter()
    one.until(lambda: one.text.count("are free") == 2, "the whole text again")
    one.prompt("[3999 characters pasted]")
    one.type("\x03")
    one.ask("short")
    one.see("you said 5: short")


def test_a_pin_that_leaves_no_room_is_named_and_can_still_be_listed(chat: OpenSmall) -> None:
    one = chat()
    fill(one)
    one.ask("/pin 1")
    one.see("Message 1 stays")
    one.ask("/pin 3")
    one.see("Message 3 stays")
    one.ask("2 " + LONG)
    one.see("Pinned messages and the system message take")
    one.type("\x15")
    assert len(rows(one)) == 5
    one.ask("/pin 1")
    one.see("can go out")
    one.ask("2 " + LONG)
    one.see(f"you said {len(LONG) + 1}: 2 tell")


def test_a_file_over_the_window_is_not_attached(chat: OpenSmall, tmp_path: Path) -> None:
    large, small = tmp_path / "large.log", tmp_path / "small.txt"
    large.write_text("a line of a log that is long\n" * 360_000)
    small.write_text("one\ntwo\n")
    one = chat(columns=160)
    one.ask(f"/file {large}")
    one.until(
        lambda: (
            re.search(r"large\.log has about \d{7} tokens, and the window has room for 480\.", one.text)
            is not None
        )
    )
    one.type("\x15")
    one.ask(f"/file {large}:1-100")
    one.until(
        lambda: (
            re.search(r"lines 1 to 100 has \d{3} tokens, and the window has room for 480", one.text)
            is not None
        )
    )
    one.type("\x15")
    one.ask(f"/file {large}:5-6")
    one.see("lines 5 to 6: 57 characters")
    one.ask(f"/file {tmp_path}")
    one.see("is not a file.")
    one.type("\x15")
    one.ask("/file off")
    one.see("Nothing is attached now.")
    one.ask(f"/file {small}")
    one.see("small.txt: 8 characters")
    one.ask("what?")
    one.see("what?")
    one.prompt()
    assert "a line of a log" not in one.text.rsplit("> what?", 1)[1]


def test_another_server_at_the_address_is_noticed_with_its_model_and_window(env: dict[str, str]) -> None:
    with fake_server("--health", health()) as server:
        one = Chat(["--base-url", server.url, "--no-intro"], env, 100, 40)
        one.ask("hello")
        one.see("you said 5: hello")
        one.prompt()
        server.stop()
        with fake_server("--health", health(1024, "other"), "--port", str(server.port)):
            one.ask("again")
            one.see("[tiny answered so far; now it is other, with a window of 1024 tokens]")
            one.see("you said 5: again")
            one.until(lambda: "/1024" in one.last_line, "the new window")
        with fake_server("--port", str(server.port)):
            one.ask("once more")
            one.see("[other answered so far; now it is local-model]")
            one.see("you said 9: once more")
            one.kill()


@pytest.mark.parametrize(
    "lie", [{"n_ctx": True}, {"n_ctx": -5}, {"n_ctx": "many"}, {"model": 7}, {"n_ctx": 1e9}]
)
def test_a_server_that_says_nonsense_of_itself_can_be_talked_to(
    env: dict[str, str], lie: dict[str, object]
) -> None:
    with fake_server("--health", json.dumps({"status": "ok", **lie})) as server:
        one = Chat(["--base-url", server.url, "--no-intro"], env, 100, 40)
        one.ask("hello")
        one.see("you said 5: hello")
        one.kill()


@pytest.mark.parametrize("scene", ["full", "empty"])
def test_a_server_that_says_its_window_is_full_gets_less(env: dict[str, str], scene: str) -> None:
    with fake_server("--takes", "5", "--refuses", scene) as server:
        one = Chat(["--base-url", server.url, "--no-intro", "--n-ctx", "1024"], env, 100, 60)
        fill(one)
        assert "the window is full" not in one.text
        one.ask("2 " + LONG)
        one.see("[the server says that its window is full: sending less]")
        one.until(lambda: re.search(r"turns? goe?s? out", one.text) is not None, "what goes out")
        one.see(f"you said {len(LONG) + 1}: 2 tell")
        one.kill()


@pytest.mark.parametrize("kind", ["llama-server", "vllm"])
def test_other_servers_are_asked_for_their_window_and_their_counts(env: dict[str, str], kind: str) -> None:
    with fake_server("--kind", kind, module=foreign.__name__) as server:
        one = Chat(["--base-url", server.url, "--no-intro"], env, 100, 60)
        fill(one)
        assert {row[3] for row in rows(one)[1:]} == {"103 tokens", "106 tokens"}
        one.ask("the next")
        one.see("[the window is full: 1 turn goes out: “0 tell me more of it tel…”")
        one.see("you said 8: the next")
        one.until(lambda: "/512" in one.last_line, "the status")
        one.kill()


def test_the_window_is_that_of_the_model_that_is_asked_now(env: dict[str, str]) -> None:
    with fake_server("--kind", "vllm", module=foreign.__name__) as server:
        one = Chat(["--base-url", server.url, "--no-intro", "--model", "other"], env, 100, 60)
        one.ask("/show max_tokens")
        one.see("512, a quarter of the window")
        one.ask(f"/model {foreign.MODEL}")
        one.ask("/show max_tokens")
        one.see("128, a quarter of the window")
        one.kill()


def test_an_empty_stream_of_a_server_that_counts_is_no_full_window(chat: OpenSmall) -> None:
    one = chat()
    one.ask("empty")
    one.see("The server closed the stream without an answer.")
    one.prompt("empty")
    assert "sending less" not in one.text


def test_a_message_that_gets_no_word_leaves_the_window_as_large_as_it_was(env: dict[str, str]) -> None:
    with fake_server() as server:
        one = Chat(["--base-url", server.url, "--no-intro"], env, 100, 60)
        one.ask("empty")
        one.prompt("empty")
        assert "sending less" not in one.text
        one.type("\x15")
        one.ask("hello")
        one.see("you said 5: hello")
        one.until(lambda: "/2048" in one.last_line, "the window")
        one.kill()


def test_a_turn_that_is_sent_again_is_summed_up_once(chat: OpenSmall) -> None:
    one = chat("--on-full", "summarise", "--lang", "en")
    fill(one)
    one.ask("error")
    one.see("summing up")
    one.see("the model fell over")
    one.prompt("error")
    one.type("\x15")
    one.ask("the next")
    one.see("you said 8: the next")
    one.prompt()
    assert one.text.count("summing up") == 1
    assert sum(row[2] == "note" for row in rows(one)) == 2


def test_a_message_that_leaves_a_summary_no_room_is_sent_without_one(chat: OpenSmall) -> None:
    one = chat("--on-full", "summarise", "--lang", "en")
    fill(one)
    one.ask("many words " * 140)
    one.see("[no summary: this message leaves no room for one]")
    one.see("you said 1539: many words")
    one.prompt()
    assert not any(row[2] == "note" for row in rows(one))
