"""The input line, in a pty."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from tests.pty_chat import Chat

Open = Callable[..., Chat]


def history_file(env: dict[str, str]) -> Path:
    return Path(env["XDG_STATE_HOME"]) / "llamachat" / "input_history"


def test_a_paste_of_forty_lines_with_blank_ones_is_one_message(chat: Open) -> None:
    one = chat()
    one.prompt()
    lines = [f"line {n}" if n % 3 else "" for n in range(1, 41)]
    one.type("\x1b[200~" + "\r".join(lines) + "\x1b[201~")
    one.see("… line 40")
    one.enter()
    one.see(f"you said {len(chr(10).join(lines))}: line 1")
    one.prompt()


def test_a_long_paste_is_one_mark_and_goes_out_whole(chat: Open, env: dict[str, str]) -> None:
    one = chat(columns=100)
    one.prompt()
    pasted = "\n".join(f"line {n}\tof it" for n in range(1, 201))
    one.type("what is it? \x1b[200~" + pasted.replace("\n", "\r") + "\r\x1b[201~")
    one.see("> what is it? [200 lines pasted]")
    assert "line 1" not in one.text
    one.enter()
    one.see(f"you said {len('what is it? ' + pasted)}: what is it? line 1")
    one.prompt()
    assert "+line 200\tof it\n" in history_file(env).read_text(encoding="utf-8")
    one.type("\x1b[200~" + "x" * 3000 + "\x1b[201~")
    one.prompt("[3000 characters pasted]")
    one.type("\x7fshort\r")
    one.see("you said 5: short")


def test_a_tab_is_shown_as_blanks(chat: Open) -> None:
    one = chat()
    one.prompt()
    one.type("\x1b[200~a\tb\x1b[201~")
    one.prompt("a   b")
    one.type("\r")
    one.see("you said 3: a")


def test_chinese_is_typed_and_deleted_over_a_wrapped_line(chat: Open) -> None:
    one = chat(columns=40)
    one.prompt()
    one.type("你好世界" * 8)
    one.until(lambda: "".join(one.text.split()).endswith("你好世界" * 8), "all of it")
    one.type("\x7f" * 28)
    one.prompt("你好世界")
    one.type("é👍🏽")
    one.enter()
    one.see("你好世界")
    one.see("you said")


def test_what_looks_like_one_character_is_deleted_and_passed_as_one(chat: Open) -> None:
    one = chat()
    one.prompt()
    one.type(
        "中e\u0301\U0001f468\u200d\U0001f469\u200d\U0001f467か\u3099" + "\x1b[D" * 2 + "\x1b[3~" + "\x7f"
    )
    one.type("\x1b[C\x7f\r")
    one.see("you said 1: 中")
    one.prompt()
    one.type("e\u0301e\u0301\x1b[Dx\r")
    one.see("you said 5: \xe9x\xe9")


def test_a_search_of_the_history_ends_with_enter_or_ctrl_c(chat: Open) -> None:
    one = chat()
    one.ask("an apple")
    one.see("you said 8: an apple")
    one.prompt()
    one.type("\x12app")
    one.see("I-search backward: app")
    one.type("\r")
    one.prompt("an apple")
    one.type("\x05\x15half\x12app")
    one.see("I-search backward: app")
    one.type("\x03")
    one.prompt("half")


def test_a_paste_keeps_the_indent_of_its_first_line(chat: Open) -> None:
    one = chat()
    one.prompt()
    one.type("\x1b[200~\r    a\r        b\r\r\x1b[201~\r")
    one.see("you said 15:     a")


def test_a_paste_without_brackets_is_one_message_and_lines_typed_ahead_are_two(chat: Open) -> None:
    one = chat()
    one.prompt()
    one.type("one\rtwo\r\rfour\r")
    one.see("you said 13: one")
    one.prompt()
    one.enter("stutter")
    one.see("Title")
    one.type("first\rsecond\r")
    one.see("you said 5: first")
    one.see("you said 6: second")


def test_several_lines_are_typed_in_four_ways(chat: Open) -> None:
    for typed, length in (("a\nb", 3), ("a\x1b\rb", 3), ("a\\\rb", 3), ('"""\ra\rb"""', 3)):
        one = chat()
        one.prompt()
        one.type(typed)
        one.see("… ")
        one.enter()
        one.see(f"you said {length}: a")
        one.kill()


def test_an_editor_writes_the_message(chat: Open, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "from the editor" > "$1"\n')
    editor.chmod(0o755)
    one = chat(EDITOR=str(editor), VISUAL="")
    one.prompt()
    one.type("\x18\x05")
    one.see("you said 15: from the editor")


def test_the_history_is_private_whole_and_shared_by_two_chats(chat: Open, env: dict[str, str]) -> None:
    one, two = chat(), chat()
    for number, each in enumerate((one, two)):
        each.prompt()
        each.type(f"first{number}\nsecond{number}\r")
        each.see("you said 14: first")
    path = history_file(env)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert all(f"+first{n}\n+second{n}\n" in text for n in (0, 1))
    three = chat()
    three.prompt()
    three.type("\x1b[A")
    three.see("… second1")
    four = chat()
    four.prompt()
    four.type("\x12first0")
    four.see("… second0")


def test_no_history_is_kept_where_none_is_wanted(chat: Open, env: dict[str, str]) -> None:
    one = chat(LLAMACHAT_NO_HISTORY="1")
    one.ask("a secret")
    one.see("you said 8")
    assert not history_file(env).exists()


def test_a_history_that_cannot_be_kept_does_not_stop_the_chat(chat: Open, env: dict[str, str]) -> None:
    path = history_file(env)
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("a file where a folder should be")
    one = chat()
    one.ask("hello")
    one.see("you said 5: hello")


def test_tab_completes_commands_their_values_and_files(chat: Open, tmp_path: Path) -> None:
    one = chat(columns=200)
    one.prompt()
    one.type("/he\t")
    one.prompt("/help")
    one.type("\x15/set temp\t")
    one.prompt("/set temperature")
    one.type(" 0.5\r")
    one.see("temperature: 0.5")
    (tmp_path / "a long name.txt").write_text("text")
    one.prompt()
    one.type(f"/file {tmp_path}/a\t")
    one.see("name.txt")
    one.enter()
    one.see("a long name.txt: 4 characters")


def test_an_unknown_command_is_not_sent_but_answered_with_the_nearest(chat: Open) -> None:
    one = chat(columns=120)
    one.ask("/hlep")
    one.see("There is no command /hlep. Did you mean /help?")
    one.prompt("/hlep")
    one.type("\x15")
    one.ask("//etc/passwd")
    one.see("you said 11: /etc/passwd")
