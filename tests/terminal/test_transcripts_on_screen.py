"""Conversations taken up again, named, listed, found and carried off, in a pty."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.pty_chat import PATIENCE, Chat
from tests.terminal.conftest import FakeServer, fake_server

Open = Callable[..., Chat]


def say(one: Chat, *messages: str) -> None:
    for message in messages:
        one.ask(message)
        one.see(f"you said {len(message)}: {message}")
        one.prompt()


def leave(one: Chat) -> None:
    one.ask("bye")
    assert one.wait() == 0


def test_a_conversation_goes_on_with_its_last_turns_and_its_settings(chat: Open) -> None:
    one = chat()
    say(one, "alpha", "beta", "gamma")
    for wish in ("/set temperature 0.25", "/set stop END", "/set on-full stop"):
        one.ask(wish)
        one.see(": ".join(wish.removeprefix("/set ").split()))
    leave(one)
    again = chat("--continue", columns=200, rows=60)
    again.see("you said 5: gamma")
    again.prompt()
    assert "[2 earlier messages: /context lists them]" in again.text
    assert "> beta" in again.lines and "alpha" not in again.text
    again.ask("/show")
    again.see("on-full")
    for shown in (r"temperature +0\.25", r"stop +END", r"on-full +stop"):
        assert re.search(shown, again.text), shown
    again.ask("request")
    again.see('"alpha"')


def test_a_stopped_answer_is_shown_as_stopped_when_it_is_taken_up(chat: Open) -> None:
    one = chat()
    one.ask("endless")
    one.see("word2 ")
    one.type("\x03")
    one.see("[stopped: /continue goes on from there]")
    leave(one)
    again = chat("--continue")
    again.see("[stopped: /continue goes on from there]")
    again.prompt()


def test_what_is_taken_up_in_a_pipe_is_not_said_again(
    chat: Open, env: dict[str, str], fake: FakeServer
) -> None:
    one = chat()
    say(one, "alpha")
    leave(one)
    command = [sys.executable, "-m", "llamachat", "chat", "--base-url", fake.url, "--continue"]
    done = subprocess.run(command, env=env, input=b"beta\n", capture_output=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, b"you said 4: beta\n")


def test_nothing_is_kept_where_nothing_should_be(chat: Open, env: dict[str, str]) -> None:
    one = chat("--no-store")
    say(one, "alpha")
    one.ask("/save it")
    one.see("This chat is not saved.")
    one.type("\x15")
    leave(one)
    assert not list(Path(env["XDG_DATA_HOME"]).rglob("*.db"))
    other = chat("--continue")
    assert other.wait() == 8


def test_conversations_are_named_listed_found_loaded_and_exported(chat: Open, tmp_path: Path) -> None:
    one = chat(columns=100, rows=60)
    say(one, "关于鲸鱼的问题", "alpha")
    one.ask("/save whales")
    one.see("/load whales takes it up again.")
    one.ask("/clear")
    one.see("A new conversation.")
    one.prompt()
    say(one, "beta")
    one.ask("/list")
    one.see("4 messages")
    one.prompt()
    assert re.search(r"^1  whales  [-\d: ]+  4 messages  关于鲸鱼的问题$", one.text, re.M)
    one.ask("/search 鲸鱼")
    one.see("1  20")
    one.ask("/load whales")
    one.until(lambda: one.text.count("you said 5: alpha") == 2, "the last turns")
    target = tmp_path / "whales.md"
    one.ask(f"/export {target}")
    one.see("Written to")
    assert "关于鲸鱼的问题" in target.read_text("utf-8") and "beta" not in target.read_text("utf-8")
    assert target.stat().st_mode & 0o777 == 0o600
    one.ask(f"/export {target}")
    one.see("already exists.")
    one.type("\x15")
    leave(one)
    named = chat("--resume", "whales")
    named.see("you said 5: alpha")
    unknown = chat("--resume", "nothing")
    assert unknown.wait() == 8


def test_a_conversation_that_cannot_be_kept_can_be_exported(chat: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where a folder should be")
    one = chat("--transcripts", str(tmp_path / "file" / "transcripts.db"), columns=160)
    say(one, "alpha")
    for ending in ("md", "json", "jsonl"):
        target = tmp_path / f"it.{ending}"
        one.ask(f"/export {target}")
        one.see(f"Written to {target}.")
        assert "you said 5: alpha" in target.read_text("utf-8")


def test_a_hit_is_shown_in_its_line_whatever_its_letters(chat: Open) -> None:
    one = chat(columns=100)
    one.ask("and so on " * 12 + "ＮＥＥＤＬＥ")
    one.see("you said")
    one.ask("/search needle")
    one.see("  assistant  ")
    one.prompt()
    found = one.text[one.text.rindex("> /search") :].splitlines()[1:-1]
    assert len(found) == 2 and all("ＮＥＥＤＬＥ" in line.replace(" ", "") for line in found), found


def test_settings_that_are_none_do_not_hinder_a_conversation(
    chat: Open, env: dict[str, str], tmp_path: Path
) -> None:
    settings = {"lang": ["zh"], "on_full": "burst", "sampling": 3}
    talk = {"settings": settings, "messages": [{"role": "user", "content": "alpha"}]}
    file = tmp_path / "talk.json"
    file.write_text(json.dumps(talk), "utf-8")
    command = [sys.executable, "-m", "llamachat", "history", "import", str(file)]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=PATIENCE)
    one = chat("--continue")
    one.prompt("alpha")
    one.enter()
    one.see("you said 5: alpha")
    one.ask("/show")
    one.until(lambda: re.search(r"on-full +drop", one.text) is not None, "the settings")


def test_a_list_in_forty_columns_has_two_lines_for_each(chat: Open) -> None:
    one = chat(columns=40)
    say(one, "关于一条鲸鱼的问题")
    one.ask("/list")
    one.see("2 messages")
    one.prompt()
    listed = one.text[one.text.rindex("> /list") :].splitlines()[1:]
    assert re.fullmatch(r"1  [-\d: ]+  2 messages", listed[0])
    assert listed[1] == "  关于一条鲸鱼的问题"


def test_branches_are_listed_and_gone_to(chat: Open) -> None:
    one = chat(columns=100, rows=60)
    say(one, "alpha", "beta")
    one.ask("/undo")
    one.see("taken back")
    one.prompt()
    say(one, "gamma")
    one.ask("/branches")
    one.see("goes to the end of another one.")
    one.prompt()
    other = next(line.split()[0] for line in one.lines if re.match(r"\d+ .*beta$", line))
    one.ask(f"/branches {other}")
    one.until(lambda: one.text.count("you said 4: beta") == 2, "the other branch")


def test_another_model_than_before_is_named(env: dict[str, str]) -> None:
    for model in ("first", "second"):
        with fake_server("--health", json.dumps({"model": model, "n_ctx": 2048})) as server:
            resumed = ["--continue"] if model == "second" else []
            one = Chat(["--base-url", server.url, "--no-intro", *resumed], env, 100)
            if resumed:
                one.see("[first answered so far; now it is second]")
            say(one, f"alpha {model}")  # another text than the one that is shown again
            leave(one)


def test_a_question_that_was_not_answered_is_given_back_after_a_kill(chat: Open) -> None:
    one = chat()
    one.ask("silent")
    one.see("waiting")
    one.kill()
    again = chat("--continue")
    again.see("[the last question has no answer yet: Enter sends it]")
    again.prompt("silent")


def test_stored_text_cannot_drive_the_terminal(chat: Open) -> None:
    one = chat()
    one.ask("hostile")
    one.see("next")
    leave(one)
    again = chat("--continue", columns=200)
    again.see("next")
    for command in ("/list", "/search owned", "/context", "/branches"):
        again.ask(command)
        again.prompt()
    for driven in (b"\x1b]", b"\x1b[2J", b"\x1b[31m"):
        assert driven not in again.raw
    assert again.screen.title == ""


def test_half_a_character_is_shown_and_does_not_spoil_what_follows(chat: Open) -> None:
    one = chat()
    one.ask("surrogate")
    one.see("half ? of an emoji")
    one.prompt()
    say(one, "next")


def test_a_name_that_nobody_has_is_said_with_what_can_be_typed_there(chat: Open) -> None:
    one = chat(columns=120)
    say(one, "alpha")
    one.ask("/load nosuch")
    one.see("No conversation 'nosuch'. /list shows them.")
    one.prompt("/load nosuch")
    one.type("\x15")
    leave(one)
    unknown = chat("--resume", "nosuch", columns=120)
    unknown.see("No conversation 'nosuch'. See `llamachat history list`.")
    assert unknown.wait() == 8


def test_the_language_that_was_set_holds_when_the_conversation_is_resumed(chat: Open) -> None:
    one = chat("--lang", "zh")
    say(one, "alpha")
    one.ask("/lang en")
    one.see("The system message is en from now on.")
    leave(one)
    two = chat("--continue")
    two.ask("/lang")
    two.until(lambda: re.search(r"^> /lang.*\nen$", two.text, re.M) is not None, "the language")
    two.ask("request")
    two.see("You are an intelligent assistant.")
    leave(two)
