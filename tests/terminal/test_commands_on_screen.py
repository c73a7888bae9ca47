"""The slash commands, in a pty."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

from tests.pty_chat import Chat
from tests.terminal.conftest import fake_server

Open = Callable[..., Chat]


def sent(chat: Chat) -> str:
    """What the server gets with the next message, blanks made even."""
    before = chat.text.count("include_usage")
    chat.ask("request")
    chat.until(lambda: chat.text.count("include_usage") > before, "the request")
    chat.prompt()
    start = chat.text.rindex("> request")
    return re.sub(r"\s+", " ", chat.text[start:])


def test_help_lists_every_command(chat: Open) -> None:
    from llamachat.chat.commands import COMMANDS

    one = chat(columns=160, rows=40)
    one.ask("/help")
    one.see("Ctrl-X Ctrl-E")
    for command in COMMANDS:
        assert command.usage in one.text
    one.ask("/help set")
    one.see("/set KEY VALUE: changes")


def test_undo_retry_edit_and_clear_change_what_is_sent(chat: Open) -> None:
    one = chat(columns=200, rows=50)
    one.ask("alpha")
    one.see("you said 5: alpha")
    one.ask("beta")
    one.see("you said 4: beta")
    one.ask("/retry")
    one.until(lambda: one.text.count("you said 4: beta") == 2, "the answer again")
    one.ask("/undo")
    one.see("taken back")
    first = sent(one)
    assert '"alpha"' in first and '"beta"' not in first
    one.ask("/edit")
    one.prompt("request")
    one.type("\x15gamma\r")
    one.see("you said 5: gamma")
    one.ask("/clear")
    one.see("A new conversation.")
    second = sent(one)
    assert '"alpha"' not in second and "智能助理" in second


def test_values_system_and_language_travel_with_the_request(chat: Open) -> None:
    one = chat(columns=200, rows=60)
    for command in (
        "/set temperature 0.25",
        "/set top_k 7",
        "/set min-p 0.05",
        "/set repeat_penalty 1.05",
        "/set max_tokens 99",
        "/set stop END",
        "/set seed 11",
        "/model other",
    ):
        one.ask(command)
    one.ask("/lang en")
    one.see("The system message is en")
    request = sent(one)
    for part in (
        '"temperature": 0.25',
        '"top_k": 7',
        '"min_p": 0.05',
        '"repeat_penalty": 1.05',
        '"max_tokens": 99',
        '"stop": ["END"]',
        '"seed": 11',
        '"model": "other"',
        "You are an intelligent assistant.",
        '"return_progress": true',
        '"include_usage": true',
    ):
        assert part in request, part
    one.ask("/system Speak like a pirate.")
    one.see("The system message is changed.")
    assert "Speak like a pirate." in sent(one)
    one.ask("/set top_p 7")
    one.see("top_p can't be 7: it must be 0 to 1.")
    one.type("\x15")
    one.ask("/show temperature")
    one.see("0.25")


def test_a_model_that_the_server_does_not_have_is_not_chosen(env: dict[str, str]) -> None:
    with fake_server("--models", "alpha", "/models/beta.gguf") as server:
        one = Chat(["--base-url", server.url, "--no-intro"], env, columns=120)
        one.ask("/model nosuch")
        one.see("The server has no model 'nosuch'. It has alpha, /models/beta.gguf.")
        one.prompt("/model nosuch")
        one.type("\x15/set model alpha\r")
        one.see("model: alpha")
        one.kill()


def test_a_command_that_was_right_does_not_come_back(chat: Open, tmp_path: Path) -> None:
    one = chat(columns=120)
    for command, said in (
        ("/copy", "There is no answer yet."),
        ("/undo", "Nothing was asked yet."),
        ("/export", "There is nothing to export yet."),
    ):
        one.ask(command)
        one.see(said)
        one.prompt()
    for command, said in (
        ("/file https://example.com/a.txt", "Download it first"),
        (f"/file {tmp_path}/none", "There is no file"),
    ):
        one.ask(command)
        one.see(said)
        one.prompt(command)
        one.type("\x15")
    one.ask('/set stop "the end" Q:')
    one.see('stop: "the end" Q:')
    one.ask("request")
    one.see('"stop": ["the end", "Q:"]')


def test_an_error_is_broken_between_words(chat: Open) -> None:
    one = chat(columns=40)
    one.ask("/set temperature scorching")
    one.see("can't be")
    one.prompt("/set temperature scorching")
    shown = [line for line in one.lines if line and not line.startswith(">")]
    assert all(len(line) <= 40 for line in shown)
    assert "temperature can't be 'scorching': it must be a number." in " ".join(shown)


def test_a_file_goes_out_with_the_next_message(chat: Open, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("one\ntwo\nthree\nfour\n")
    chinese = tmp_path / "gb.txt"
    chinese.write_bytes("中文内容".encode("gb18030"))
    binary = tmp_path / "binary.dat"
    binary.write_bytes(b"\x7fELF\0\0\0\xff")
    one = chat(columns=200, rows=60)
    one.ask(f"/file {path}:2-3")
    one.see("notes.txt, lines 2 to 3: 9 characters")
    one.ask(f"/file {chinese}")
    one.see("gb.txt: 4 characters")
    one.ask(f"/file {binary}")
    one.see("is not a text file.")
    one.type("\x15")
    one.ask(f"/file {path}:9")
    one.see("has lines 1 to 4.")
    one.type("\x15")
    one.ask("what is this?")
    one.see("what is this?")
    one.see("two")
    one.see("中文内容")
    assert "three" in one.text


def test_an_answer_and_its_code_are_copied_through_the_terminal(chat: Open) -> None:
    one = chat()
    one.ask("markdown")
    one.see("The end.")
    one.ask("/copy 1")
    one.see("characters copied.")
    code = base64.b64encode(b"def f(x):\n    return x + 1\n")
    assert b"\x1b]52;c;" + code + b"\x07" in one.raw
    one.ask("/copy 2")
    one.see("has only 1 code block.")
    one.type("\x15")
    one.ask("/stats on")
    one.see("Statistics after each answer: on.")
    one.ask("hello")
    one.see("42.0 tokens/s")


def test_code_in_a_list_is_copied_without_the_indent_of_the_list(chat: Open) -> None:
    one = chat()
    one.ask("listed")
    one.see("And so on.")
    one.ask("/copy 1")
    one.see("characters copied.")
    assert b"\x1b]52;c;" + base64.b64encode(b"def f():\n    return 1\n") + b"\x07" in one.raw


def test_a_stopped_answer_goes_on_as_the_same_message(chat: Open) -> None:
    one = chat(columns=200, rows=60)
    one.ask("length")
    one.see("cut off at the maximum length: /continue")
    one.ask("/continue")
    one.until(lambda: one.text.count("as long as it may be") == 2, "more of it")
    one.prompt()
    assert '"content": "as long as it may beas long as it may be"' in sent(one)


def test_a_file_of_a_question_whose_answer_broke_off_goes_out_once(chat: Open, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("the only note")
    one = chat(columns=200, rows=60)
    one.ask(f"/file {path}")
    one.see("notes.txt: 13 characters")
    one.ask("break once")
    one.see("broken off: /continue")
    one.prompt("break once")
    one.type("\x15")
    one.ask("/continue")
    one.see("and the rest")
    assert sent(one).count("the only note") == 1
