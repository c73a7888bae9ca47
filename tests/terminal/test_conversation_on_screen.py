"""What a person sees in a terminal, by what is on the screen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from tests.pty_chat import Chat
from tests.terminal.conftest import FakeServer, fake_server

Open = Callable[..., Chat]


def test_the_first_screen_says_what_it_is_connected_to_and_how_to_leave(chat: Open) -> None:
    model = "SmolLM2-135M-Instruct.Q4_1"
    with fake_server("--health", json.dumps({"model": model, "n_ctx": 2048, "bundled": True})) as server:
        one = chat("--base-url", server.url)
        one.prompt()
    first, second = one.lines[:2]
    assert server.url in first and model in first and "2048" in first
    assert "bye" in second and "Ctrl-D" in second


def test_an_answer_is_in_the_articles_green_and_the_prompt_in_its_red(chat: Open) -> None:
    one = chat()
    one.ask("hello")
    one.see("you said 5: hello")
    one.prompt()
    assert b"\x1b[92;1m" in one.raw
    assert b"\x1b[91;1m" in one.raw


def test_bye_quit_exit_and_ctrl_d_leave(chat: Open) -> None:
    for word in ("bye\r", "Quit\r", "EXIT\r", "/exit\r", "\x04"):
        one = chat()
        one.prompt()
        one.type(word)
        assert one.wait() == 0
        assert "BYE BYE!" in one.text
        assert b"\x1b[0mBYE BYE!" in one.raw


def test_a_message_that_only_contains_bye_is_sent(chat: Open) -> None:
    one = chat()
    one.ask("bye for now")
    one.see("you said 11: bye for now")
    one.prompt()


def test_the_introduction_comes_first_and_in_the_language_of_the_model(env: dict[str, str]) -> None:
    with fake_server("--health", json.dumps({"model": "tiny", "n_ctx": 2048, "embedded": True})) as server:
        one = Chat(["--base-url", server.url], env)
        one.see("Please introduce yourself in English")
        one.prompt()
        assert "tiny" in one.lines[0]
        one.kill()
        two = Chat(["--base-url", server.url, "--lang", "zh"], env)
        two.see("请用中文进行自我介绍")
        two.kill()


def test_one_can_type_while_the_introduction_comes_and_enter_or_ctrl_c_stops_it(env: dict[str, str]) -> None:
    with fake_server("--introduction", "endless") as server:
        one = Chat(["--base-url", server.url], env)
        one.type("hel")
        one.see("word30 ")
        one.prompt("hel")
        one.type("lo\r")
        one.see("you said 5: hello")
        one.prompt()
        shown = one.text
        words = re.findall(r"word(\d+)", shown)
        assert words == [str(number) for number in range(len(words))]
        assert shown.index("word30 ") < shown.index("[stopped: /continue") < shown.index("\n> hello")
        assert b"\x1b[0;92;1mword0" in one.raw
        one.kill()
        two = Chat(["--base-url", server.url], env)
        two.type("draft")
        two.see("word1 ")
        two.type("\x03")
        two.see("[stopped: /continue")
        two.prompt("draft")
        two.type("\x15bye\r")
        assert two.wait() == 0


def test_an_error_gives_the_typed_text_back_and_leaves_the_conversation_as_it_was(chat: Open) -> None:
    one = chat(columns=160)
    for scene, said in (
        ("error", "The server answered with an error: the model fell over."),
        ("empty", "The server closed the stream without an answer."),
        ("blank", "The model gave an empty answer."),
        ("cut", "The connection broke off before the answer was complete."),
        ("garbage", "What the server sent can't be read"),
        ("context", "maximum context length is 2048 tokens"),
    ):
        one.ask(scene)
        one.see(said)
        one.prompt(scene)
        one.type("\x15")
    one.ask("request")
    one.see('"role"')
    one.prompt()
    assert '"content": "request"' in re.sub(r"\s+", " ", one.text)
    assert '"content": "cut"' not in re.sub(r"\s+", " ", one.text)


def test_ctrl_c_in_an_answer_keeps_the_part_and_prompts_again(chat: Open) -> None:
    one = chat()
    one.ask("endless")
    one.see("word5 ")
    one.type("\x03")
    one.see("[stopped")
    one.prompt()
    one.ask("request")
    one.see('"assistant"')
    one.see("word5")


def test_ctrl_c_before_the_first_word_gives_the_text_back(chat: Open) -> None:
    one = chat()
    one.ask("silent")
    one.see("waiting")
    one.type("\x03")
    one.prompt("silent")


def test_ctrl_c_at_the_prompt_clears_the_line_and_twice_on_an_empty_one_leaves(chat: Open) -> None:
    one = chat()
    one.prompt()
    one.type("half a thought")
    one.prompt("half a thought")
    one.type("\x03")
    one.prompt()
    one.type("\x03")
    one.see("Ctrl-C again leaves")
    one.prompt()
    one.type("\x03")
    assert one.wait() == 0


def test_what_is_typed_ahead_waits_for_the_prompt(chat: Open) -> None:
    one = chat()
    one.ask("progress")
    one.see("reading")
    one.enter("typed ahead")
    one.see("you said 11: typed ahead")
    assert one.text.count("typed ahead") == 2


def test_ctrl_c_in_an_answer_keeps_what_is_typed_ahead(chat: Open) -> None:
    one = chat()
    one.ask("endless")
    one.see("word5 ")
    one.type("typed ahead\x03")
    one.see("[stopped")
    one.prompt("typed ahead")


def test_the_bar_the_queue_and_the_spinner_leave_no_trace(chat: Open) -> None:
    one = chat()
    one.ask("progress")
    one.see("reading 400/1000 tokens")
    one.see("read all")
    one.prompt()
    one.ask("queued")
    one.see("waiting in the queue, 2 ahead")
    one.see("at last")
    one.prompt()
    for moving in ("reading", "waiting"):
        assert moving not in one.text


def test_thinking_is_folded_shown_or_hidden_and_never_sent_back(chat: Open) -> None:
    for scene in ("thinking", "reasoning"):
        one = chat()
        one.ask(scene)
        one.see("(thought for ")
        one.see("the answer")
        one.ask("request")
        one.see('"request"')
        one.prompt()
        assert "deep thoughts" not in re.sub(r"\s+", " ", one.text)
    shown = chat("--think", "show")
    shown.ask("thinking")
    shown.see("deep thoughts")
    shown.see("the answer")
    hidden = chat("--think", "hide")
    hidden.ask("thinking")
    hidden.see("the answer")
    assert "thought" not in hidden.text


def test_what_the_model_writes_is_shown_and_not_obeyed(chat: Open) -> None:
    for markdown in ("always", "never"):
        one = chat("--markdown", markdown)
        one.ask("hostile")
        one.see("next")
        one.prompt()
        assert "␛]0;owned␇␛]52;c;" in one.text
        assert "<U+202E>gnp.exe" in one.text.replace("\n", "")
        for driven in (b"\x1b]", b"\x1b[2J", b"\x1b[31m", b"\x9b31m"):
            assert driven not in one.raw.replace("\u009b".encode(), b"")
        assert one.screen.title == ""


def test_the_death_of_the_server_keeps_the_part_and_the_next_message_connects_again(
    chat: Open, fake: FakeServer
) -> None:
    one = chat(columns=120)
    one.ask("die")
    one.see("the part before death")
    one.see("The connection broke off")
    one.prompt("die")
    fake.process.wait()
    one.type("\x15")
    one.ask("are you there?")
    one.see("No server answers")
    one.prompt("are you there?")
    fake.stop()
    fake.start()
    one.enter()
    one.see("you said 14: are you there?")


def test_an_answer_that_broke_off_can_be_continued(chat: Open) -> None:
    one = chat()
    one.ask("cut")
    one.see("broken off: /continue")
    one.prompt("cut")
    one.type("\x15")
    one.ask("/set temperature 0.1")
    one.see("temperature: 0.1")
    one.ask("/continue")
    one.until(lambda: one.text.count("only a part") == 2, "the same scene again")


def test_another_system_message_holds_for_an_answer_that_broke_off_too(chat: Open) -> None:
    one = chat()
    one.ask("please break once")
    one.see("broken off: /continue")
    one.prompt("please break once")
    one.type("\x15")
    one.ask("/system Be brief.")
    one.see("The system message is changed.")
    one.ask("/continue")
    one.see("and the rest")
    one.ask("/system")
    one.until(lambda: one.text.count("Be brief.") == 2, "the new system message")


def test_the_numbers_of_an_answer_are_shown_when_they_are_wanted(chat: Open) -> None:
    one = chat("--stats", columns=160)
    one.ask("hello")
    one.see(
        "read 100 (90 from the cache) · wrote 7 · 42.0 tokens/s · 1.2 of 2 threads, other programs "
        "are busy · first token after "
    )


def test_no_colour_where_it_is_not_wanted(chat: Open) -> None:
    for one in (chat(NO_COLOR="1"), chat("--color", "never")):
        one.ask("markdown")
        one.see("The end.")
        one.prompt()
        codes = set(re.findall(rb"\x1b\[([0-9;]*)m", one.raw))
        assert codes <= {b"0", b""}, codes


def test_nothing_bright_is_written_on_a_light_background(chat: Open) -> None:
    for one in (chat("--theme", "light"), chat(COLORFGBG="0;15")):
        one.ask("markdown")
        one.see("The end.")
        one.prompt()
        colours = {code for codes in re.findall(rb"\x1b\[([0-9;]*)m", one.raw) for code in codes.split(b";")}
        assert {b"31", b"32"} <= colours
        assert not colours & {b"91", b"92", b"93", b"94", b"96", b"97"}, colours


def test_a_screen_of_forty_columns_wraps_at_words_and_keeps_lists_apart(chat: Open) -> None:
    one = chat(columns=40)
    one.ask("markdown")
    one.see("The end.")
    one.prompt()
    lines = one.lines
    assert "• first item that is long enough to be" in lines
    assert "  wrapped on a narrow screen of forty" in lines
    assert "• 第二项是中文" in lines
    assert "    return x + 1" in lines
    assert any(re.fullmatch(r" ?二 +22", line) for line in lines)


def test_a_resize_in_the_middle_of_an_answer_does_no_harm(chat: Open) -> None:
    one = chat(columns=100)
    one.ask("stutter")
    one.see("Some bold words")
    one.resize(50)
    one.see("return x + 1")
    one.resize(90)
    one.see("The end.")
    one.prompt()
    text = one.text
    for once in ("Title of it", "first item", "def f(x):", "The end."):
        assert text.count(once) == 1
