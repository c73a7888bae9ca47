"""The page as its user sees it."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import KEY, Page, WebProcess
from tests.support import clean_env

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
"""One red pixel."""


def stored(web: WebProcess) -> list[tuple[str, str]]:
    file = web.home / "home" / "data" / "llamachat" / "transcripts.db"
    if not file.exists():
        file = next(web.home.rglob("transcripts.db"))
    with sqlite3.connect(file) as db:
        return list(db.execute("SELECT role, content FROM message ORDER BY id"))


def test_a_question_is_answered_and_both_are_in_the_transcripts(page: Page) -> None:
    assert page.ask("hello page") == "you said 10: hello page"
    assert page.driver.current_url.startswith(f"{page.web.url}/c/")
    assert ("user", "hello page") in stored(page.web)
    assert ("assistant", "you said 10: hello page") in stored(page.web)
    assert "hello page" in page.text("#side li.current")
    assert page.complaints() == []


def test_markdown_tables_and_lists_are_drawn_and_code_is_copied(page: Page) -> None:
    page.ask("markdown")
    assert page.text("answer-text h1") == "Title of it"
    assert page.text("answer-text strong") == "bold words"
    assert page.text("answer-text td").split() == ["one", "1", "二", "22"]
    page.wait(lambda: page.all("answer-text pre .hljs-keyword"), "highlighting")
    link = page.one("answer-text a")
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert link.get_attribute("title") == "http://x.test/a"
    assert page.complaints() == []
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    page.one("answer-text .copy").click()
    page.wait(lambda: page.all("answer-text .copy[data-done]"), "copied")
    assert page.run("return navigator.clipboard.readText()") == "def f(x):\n    return x + 1\n"


def test_the_queue_the_reading_and_folded_thoughts_are_shown(page: Page) -> None:
    page.say("queued")
    page.wait(lambda: "Waiting behind 2 other requests" in page.text(".status"), "the queue")
    page.wait_until_idle()
    page.say("progress")
    page.wait(lambda: "500/1100" in page.text(".reading"), "the reading")
    page.wait_until_idle()
    assert page.ask("thinking") == "the answer"
    assert "deep thoughts" in page.text("details.thought")


def test_a_reload_in_an_answer_loses_nothing_and_stop_keeps_what_came(page: Page) -> None:
    page.say("endless")
    page.wait(lambda: "word5" in page.text("#live"), "some words")
    page.driver.refresh()
    page.wait(lambda: "word20" in page.text("#live"), "the rest")
    page.one("#stop").click()
    page.wait_until_idle()
    kept = page.text("article.answer answer-text")
    assert kept.split()[:20] == [f"word{i}" for i in range(20)]
    assert "[stopped]" in page.text("article.answer footer")
    page.one("article.answer footer button:not(.icon)").click()
    page.wait(lambda: "word1" in page.text("article.answer answer-text").removeprefix(kept), "more of it")
    assert page.text("article.answer answer-text").startswith(f"{kept} word0 word1")
    assert len(page.all("article.answer answer-text p")) == 1
    page.one("#stop").click()
    page.wait_until_idle()


def talk(page: Page, text: str) -> str:
    """What a chat in a terminal, on the page's conversation, says to `text`."""
    web, key = page.web, page.driver.current_url.rsplit("/", 1)[1]
    command = [sys.executable, "-m", "llamachat", "chat", "--base-url", web.base_url, "--resume", key]
    done = subprocess.run(
        command, input=f"{text}\n", text=True, capture_output=True, env=clean_env(web.home), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_tabs_and_a_terminal_share_a_conversation(page: Page) -> None:
    page.ask("first")
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    second = page.driver.current_window_handle
    try:
        page.open()
        page.one("#side li a").click()
        page.wait(lambda: page.text("article.question .said") == "first", "the conversation")
        page.driver.switch_to.window(first)
        page.say("endless")
        page.wait(lambda: "word3" in page.text("#live"), "some words")
        page.driver.switch_to.window(second)
        page.wait(lambda: "word3" in page.text("#live"), "the same words")
        page.one("#stop").click()
        page.wait_until_idle()
        # Two questions at one place are two versions of it. A part of an answer would be another place.
        page.say("silent")
        page.wait(lambda: ("user", "silent") in stored(page.web), "the question in the transcripts")
        assert "you said 15: from a terminal" in talk(page, "from a terminal")
        page.one("#stop").click()
        page.wait_until_idle()
        page.wait(lambda: "/2" in page.text("article.question .pages"), "both versions")
        assert "you said 9: once more" in talk(page, "once more")
        for tab in (second, first):
            page.driver.switch_to.window(tab)
            page.wait(
                lambda: "you said 9: once more" in page.text("article.answer"), "what the terminal said"
            )
            page.wait_until_idle()
            if tab == second:  # it got no answer there, and came back
                assert page.one("#message").get_attribute("value") == "silent"
        said = [content for _, content in stored(page.web)]
        assert {"first", "endless", "from a terminal", "once more"} <= set(said)
        # Deleted in one tab, it is left in the other, and what was typed there stays.
        page.type("a draft")
        page.driver.switch_to.window(second)
        page.run(
            "await fetch(location.pathname.replace('/c/', '/api/conversations/'), { method: 'DELETE',"
            " headers: { 'Content-Type': 'application/json' }, body: '{}' })"
        )
        page.driver.switch_to.window(first)
        page.wait(lambda: not page.all("article"), "a new conversation")
        assert page.one("#message").get_attribute("value") == "a draft"
    finally:
        page.driver.switch_to.window(second)
        page.driver.close()
        page.driver.switch_to.window(first)


def test_an_error_is_one_line_and_the_text_comes_back(page: Page) -> None:
    page.say("error")
    page.wait(lambda: "the model fell over" in page.text(".error"), "the error")
    assert page.one("#message").get_attribute("value") == "error"
    page.wait_until_idle()


def test_an_edited_question_is_a_version_that_can_be_paged(page: Page) -> None:
    page.ask("one")
    page.one("article.question button[title=Edit]").click()
    editor = page.one("#editor")
    editor.clear()
    editor.send_keys("two" + Keys.CONTROL + Keys.ENTER)
    page.wait(lambda: "you said 3: two" in page.text("article.answer"), "another answer")
    page.wait_until_idle()
    assert "2/2" in page.text("article.question .pages")
    page.one("article.question button[title='Previous version']").click()
    page.wait(lambda: "you said 3: one" in page.text("article.answer"), "the first version")
    page.one("article.answer button[title='Retry']").click()
    page.wait(lambda: "2/2" in page.text("article.answer .pages"), "another answer to it")
    page.wait_until_idle()
    page.one("article.question button[title='Undo']").click()
    page.wait(lambda: not page.all("article"), "nothing")


def test_a_long_paste_folds_and_goes_out_whole(page: Page) -> None:
    text = "\n".join(f"line {i}" for i in range(200))
    page.run(
        "const data = new DataTransfer(); data.setData('text/plain', args[0]);"
        "document.querySelector('#message').dispatchEvent("
        "new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))",
        text,
    )
    assert "[200 lines pasted]" in page.text(".chip")
    page.say("what is it?")
    page.wait(lambda: page.all("article.answer"), "an answer")
    page.wait_until_idle()
    assert page.text("article.question .said") == f"{text}\n\nwhat is it?"


def test_an_input_method_composes_and_its_enter_does_not_send(page: Page) -> None:
    page.one("#message").click()
    compose = {"selectionStart": 2, "selectionEnd": 2}
    page.driver.execute_cdp_cmd("Input.imeSetComposition", {"text": "ni", **compose})
    enter = {"type": "rawKeyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
    page.driver.execute_cdp_cmd("Input.dispatchKeyEvent", enter)
    # Safari ends the composition first, and says only by the code of the key that it did.
    for event in ({"isComposing": True}, {"keyCode": 229}):
        page.run(
            "document.querySelector('#message').dispatchEvent("
            "new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...args[0] }))",
            event,
        )
    assert page.all("article") == []
    assert page.one("#message").get_attribute("value") == "ni"
    page.driver.execute_cdp_cmd("Input.insertText", {"text": "你好"})
    assert page.ask("") == "you said 2: 你好"


def test_scrolling_up_is_respected_while_it_streams(page: Page) -> None:
    page.driver.set_window_size(500, 420)
    page.say("endless")
    page.wait(
        lambda: page.driver.execute_script(
            "const box = document.querySelector('#scroll'); return box.scrollHeight > box.clientHeight + 100"
        ),
        "a screen full",
    )
    page.driver.execute_script("document.querySelector('#scroll').scrollTop = 0")
    page.wait(lambda: page.one("#to-end").is_displayed(), "the way back")
    words = len(page.text("#live").split())
    page.wait(lambda: len(page.text("#live").split()) > words + 20, "more words")
    assert page.driver.execute_script("return document.querySelector('#scroll').scrollTop") == 0
    page.one("#stop").click()
    page.wait_until_idle()


def test_the_list_is_searched_renamed_pinned_and_deleted(page: Page) -> None:
    page.ask("about zebras 斑马")
    page.ask("second question")
    search = page.one("#search")
    search.send_keys("斑马")
    page.wait(
        lambda: len(page.all("#side li")) == 1 and "斑马" in page.text("#side li"), "the one that is found"
    )
    search.send_keys(Keys.CONTROL + "a" + Keys.BACKSPACE)
    page.wait(lambda: page.all("#side li.current"), "the list")
    page.one("#side li.current summary").click()
    page.one("#side li.current .more button:nth-of-type(1)").click()
    page.one("#answer").send_keys("my zebras" + Keys.ENTER)
    page.wait(lambda: "my zebras" in page.text("#side li.current"), "the name")
    if not page.all("#side li.current details[open]"):
        page.one("#side li.current summary").click()
    page.one("#side li.current .more button:nth-of-type(2)").click()
    page.wait(lambda: page.all("#side li:first-child.current > a > svg"), "the first place")
    if not page.all("#side li.current details[open]"):
        page.one("#side li.current summary").click()
    page.one("#side li.current .danger").click()
    page.one("#dialog .danger").click()
    page.wait(lambda: "my zebras" not in page.text("#side"), "its absence")
    assert not any("zebras" in content for _, content in stored(page.web))


def test_settings_and_system_message_go_out_with_the_next_question(page: Page) -> None:
    page.ask("first")
    page.one("button[title=Settings]").click()
    fields = page.all("#panel input")
    fields[0].send_keys(Keys.CONTROL + "a")
    fields[0].send_keys("0.25" + Keys.TAB)
    system = page.one("#panel textarea")
    system.clear()
    system.send_keys("Be brief." + Keys.TAB)
    page.wait(lambda: page.one("#panel textarea").get_attribute("value") == "Be brief.", "the system message")
    sent = json.loads(page.ask("request"))
    assert sent["temperature"] == 0.25
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent["headers"]["x-session-id"]


def test_a_file_goes_out_with_the_next_message(page: Page, tmp_path: Path) -> None:
    page.ask("first")
    file = tmp_path / "notes 笔记.txt"
    file.write_text("the notes", encoding="gb18030")
    page.one("#composer input[type=file]").send_keys(str(file))
    page.wait(lambda: "notes 笔记.txt" in page.text(".chip"), "the file")
    answer = page.ask("what is it?")
    assert "the notes" in answer and answer.endswith("what is it?")
    assert not page.all(".chip")


def test_formulas_lists_and_columns_are_what_they_are(page: Page) -> None:
    shown = page.run(
        "const { drawAnswer } = await import('/static/markdown.js');"
        "const root = document.createElement('div');"
        "document.querySelector('#messages').append(root); await drawAnswer(root, args[0]);"
        "return [root.querySelectorAll('math').length, root.querySelector('ol').start,"
        " root.querySelector('td').align, root.querySelectorAll('input[type=checkbox]:disabled').length,"
        " root.textContent.includes('$5')]",
        "Math $$a^2$$ and \\(b\\), \\[c\\] not $5 or $6.\n\n$$\n\\frac{1}{2}\n$$\n\n3. three\n4. four\n\n"
        "| a |\n|--:|\n| 1 |\n\n- [x] done\n",
    )
    assert shown == [4, 3, "right", 1, True]
    assert page.complaints() == []


def test_export_and_import(page: Page) -> None:
    page.ask("to be exported")
    key = page.driver.current_url.rsplit("/", 1)[1]
    text = page.run("return (await fetch(`/api/conversations/${args[0]}/export?format=json`)).text()", key)
    assert json.loads(text)["format"] == "llamachat"
    before = len(page.all("#side li"))
    file = page.web.home / "export.json"
    file.write_text(text, encoding="utf-8")
    page.one("#side input[type=file]").send_keys(str(file))
    page.wait(lambda: len(page.all("#side li")) == before + 1, "the imported one")


TEXTS = {  # template, what is typed, what the model is told besides
    "write": ("An invitation to a garden party", ""),
    "code": ("Sort the lines of a file by length", "experienced Python programmer"),
    "translate": ("Guten Morgen", "Translate everything into English"),
    "summary": ("A long story", ""),
    "sentiment": ("I loved every minute of it.", ""),
    "answer": ("The ring was found by Bilbo.", "from the given text alone"),
    "recommend": ("Hotel Adler, quiet; Hotel Post, loud", ""),
    "contract": ("Alice pays Bob 100 euros.", ""),
}


def test_the_ten_uses_once_through(page: Page) -> None:
    page.ask("a dialogue")
    for name, (text, told) in TEXTS.items():
        page.one(".up summary").click()
        page.wait(lambda: page.all(".up div button"), "the templates")
        next(button for button in page.all(".up div button") if button.text.startswith(name)).click()
        page.type(text)
        asked = page.one("#message").get_attribute("value") or ""
        assert text in asked and told in asked
        page.one("#send").click()
        page.wait(lambda: text in page.text("article.answer:last-of-type"), name)  # noqa: B023
        page.wait_until_idle()
    picture = page.web.home / "photo.png"
    picture.write_bytes(PNG)
    page.one("#composer input[type=file]").send_keys(str(picture))
    page.type("What is on it?")
    page.one("#send").click()
    page.wait(lambda: page.all(".question .said img[src^='data:image/png']"), "the picture that was sent")
    page.wait(lambda: "you saw 1: What is on it?" in page.text("article.answer:last-of-type"), "the answer")


def test_files_are_shown_until_they_are_sent_and_never_get_lost(page: Page) -> None:
    page.ask("first")
    file = page.web.home / "a.txt"
    file.write_text("text of a")
    page.one("#composer input[type=file]").send_keys(str(file))
    page.wait(lambda: "a.txt" in page.text(".chip"), "the file")
    page.driver.refresh()
    page.wait(lambda: "a.txt" in page.text(".chip"), "the file after a reload")
    assert "text of a" in page.ask("sent")
    assert not page.all(".chip")
    # What is attached while an answer comes goes out with the next question.
    page.say("silent")
    page.wait(lambda: page.all("#stop") and not page.all(".chip"), "the turn")
    page.one("#composer input[type=file]").send_keys(str(file))
    page.wait(lambda: "a.txt" in page.text(".chip"), "the file")
    page.one("#stop").click()
    page.wait_until_idle()
    page.one("#message").clear()
    assert "text of a" in page.ask("what is it?")
    assert not page.all(".chip")


def test_what_is_typed_outlives_a_reload_a_lost_cookie_and_a_second_enter(page: Page) -> None:
    page.type("a draft")
    page.driver.refresh()
    page.wait(lambda: page.one("#message").get_attribute("value") == "a draft", "the draft")
    page.driver.delete_all_cookies()
    page.press(Keys.ENTER)
    page.wait(lambda: page.all("main.out"), "the wish for the key")
    page.driver.get(f"{page.web.url}/#token={KEY}")
    page.wait(lambda: page.all("#message"), "the box")
    page.wait(lambda: page.one("#message").get_attribute("value") == "a draft", "the draft")
    page.driver.get_log("browser")
    before = len(stored(page.web))
    # Half of an emoji, which a broken paste leaves, can't be sent.
    page.driver.execute_script("document.querySelector('#message').value += '\\ud83d'")
    page.type(Keys.ENTER + Keys.ENTER)
    page.wait(lambda: "you said 8: a draft\ufffd" in page.text("article.answer"), "the answer")
    page.wait_until_idle()
    assert [content for role, content in stored(page.web)[before:] if role == "user"] == ["a draft\ufffd"]
    assert page.complaints() == []


def test_pinning_to_the_top_in_an_answer_leaves_the_file_as_it_is(page: Page) -> None:
    page.ask("first")
    page.say("endless")
    page.wait(lambda: "word5" in page.text("#live"), "some words")
    page.one("#side li.current summary").click()
    page.one("#side li.current .more button:nth-of-type(2)").click()
    page.wait(lambda: page.all("#side li:first-child.current > a > svg"), "the first place")
    page.wait(lambda: "word40" in page.text("#live"), "more words")
    assert ("assistant", "you said 5: first") in stored(page.web)
    page.one("#stop").click()
    page.wait_until_idle()
    assert stored(page.web)[-1][1].startswith("word0 word1 word2")


def test_an_edited_question_keeps_its_picture_and_what_was_behind_it_goes_at_once(page: Page) -> None:
    picture = page.web.home / "red.png"
    picture.write_bytes(PNG)
    page.ask("before")
    page.one("#composer input[type=file]").send_keys(str(picture))
    page.wait(lambda: "red.png" in page.text(".chip"), "the picture")
    assert page.ask("look") == "you saw 1: look"
    page.ask("behind")
    page.all("article.question button[title=Edit]")[1].click()
    page.wait(lambda: page.driver.switch_to.active_element.get_attribute("id") == "editor", "the editor")
    page.press(Keys.CONTROL, "a")
    page.press("see")
    page.press(Keys.CONTROL, Keys.ENTER)
    page.wait(lambda: "you saw 1: see" in page.text("article.answer"), "the answer")
    page.wait_until_idle()
    assert page.text("article.question .said") == "before\nsee"


def test_a_new_conversation_has_settings_and_a_box_that_grows(page: Page) -> None:
    page.one("button[title=Settings]").click()
    page.one("#panel textarea").send_keys(Keys.CONTROL + "a")
    page.one("#panel textarea").send_keys("Be brief." + Keys.TAB)
    height = page.one("#message").rect["height"]
    page.type("word " * 60)
    assert page.one("#message").rect["height"] > height
    page.one("#message").clear()
    assert json.loads(page.ask("request"))["messages"][0] == {"role": "system", "content": "Be brief."}
    assert page.one("#message").rect["height"] == height


def test_more_tabs_than_a_browser_has_connections(page: Page) -> None:
    page.ask("first")
    path = page.driver.current_url.removeprefix(page.web.url)
    first = page.driver.current_window_handle
    try:
        for _ in range(8):
            page.driver.switch_to.new_window("tab")
            page.open(path)
            page.wait(lambda: page.text("article.question .said") == "first", "the conversation")
        assert page.ask("last") == "you said 4: last"
        page.driver.switch_to.window(first)
        page.wait(lambda: page.text("article.question .said") == "first\nlast", "what came meanwhile")
    finally:
        for tab in page.driver.window_handles:
            if tab != first:
                page.driver.switch_to.window(tab)
                page.driver.close()
        page.driver.switch_to.window(first)


def test_a_message_waits_for_its_file_and_stays_if_that_is_too_large(page: Page) -> None:
    page.type("what is it?")
    drop_and_send = (
        "const files = new DataTransfer(); files.items.add(new File([args[0]], 'dropped.txt'));"
        "document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true }));"
        "document.querySelector('#composer').requestSubmit()"
    )
    page.run(drop_and_send, "word " * 100_000)
    page.wait(lambda: "the window has room for" in page.text(".error"), "the error")
    assert "/file" not in page.text(".error")  # no command can be typed here
    assert page.one("#message").get_attribute("value") == "what is it?"
    page.run(drop_and_send, "a few words")
    page.wait(lambda: page.text("article.answer answer-text").endswith("what is it?"), "it")
    assert "a few words" in page.text("article.answer")
    page.wait_until_idle()
    page.driver.get_log("browser")
