"""The page as its user sees it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import Page, WebProcess
from tests.support import clean_env


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


def test_a_chat_in_a_terminal_goes_on_with_it(page: Page) -> None:
    page.ask("begun in the page")
    command = [sys.executable, "-m", "llamachat", "chat", "--base-url", page.web.base_url, "--continue"]
    done = subprocess.run(
        command,
        input="and in a terminal\n",
        text=True,
        capture_output=True,
        env=clean_env(page.web.home),
        check=False,
    )
    assert "you said 17: and in a terminal" in done.stdout, done.stderr
    page.driver.refresh()
    page.wait(lambda: "and in a terminal" in page.text("article.answer"), "what was said in the terminal")


def test_markdown_tables_code_and_lists_are_drawn(page: Page) -> None:
    page.ask("markdown")
    assert page.text("answer-text h1") == "Title of it"
    assert page.text("answer-text strong") == "bold words"
    assert page.text("answer-text td").split() == ["one", "1", "二", "22"]
    page.wait(lambda: page.all("answer-text pre .hljs-keyword"), "highlighting")
    link = page.one("answer-text a")
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert link.get_attribute("title") == "http://x.test/a"
    assert page.complaints() == []


def test_code_is_copied_as_it_is(page: Page) -> None:
    page.ask("markdown")
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    page.one("answer-text .copy").click()
    page.wait(lambda: page.all("answer-text .copy[data-done]"), "copied")
    assert page.run("return navigator.clipboard.readText()") == "def f(x):\n    return x + 1\n"


def test_thoughts_are_folded_and_no_part_of_the_answer(page: Page) -> None:
    page.say("thinking")
    page.wait(lambda: page.all("details.thought"), "thoughts")
    page.wait_until_idle()
    assert page.text("article.answer answer-text") == "the answer"


def test_the_queue_and_the_reading_are_shown(page: Page) -> None:
    page.say("queued")
    page.wait(lambda: "Waiting behind 2 others" in page.text(".status"), "the queue")
    page.wait_until_idle()
    page.say("progress")
    page.wait(lambda: "500/1100" in page.text(".reading"), "the reading")
    page.wait_until_idle()


def test_stop_keeps_what_came_and_continue_goes_on(page: Page) -> None:
    page.say("endless")
    page.wait(lambda: "word5" in page.text("#live"), "some words")
    page.one("#stop").click()
    page.wait_until_idle()
    kept = page.text("article.answer answer-text")
    assert "word5" in kept and "[stopped]" in page.text("article.answer footer")
    page.wait(lambda: page.all("article.answer footer button:not(.icon)"), "continue")


def test_a_reload_in_the_middle_of_an_answer_loses_nothing(page: Page) -> None:
    page.say("endless")
    page.wait(lambda: "word5" in page.text("#live"), "some words")
    page.driver.refresh()
    page.wait(lambda: "word40" in page.text("#live"), "the rest")
    shown = page.text("#live").split()
    assert shown[:30] == [f"word{i}" for i in range(30)]
    page.one("#stop").click()
    page.wait_until_idle()


def test_two_tabs_see_the_same_answer_grow(page: Page) -> None:
    page.ask("first")
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    try:
        page.driver.get(page.web.url)
        page.one("#side li a").click()
        page.wait(lambda: page.text("article.question .said") == "first", "the conversation")
        second = page.driver.current_window_handle
        page.driver.switch_to.window(first)
        page.say("endless")
        page.wait(lambda: "word3" in page.text("#live"), "some words")
        page.driver.switch_to.window(second)
        page.wait(lambda: "word3" in page.text("#live"), "the same words")
        page.one("#stop").click()
        page.wait_until_idle()
        assert "[stopped]" in page.text("article.answer footer")
        page.driver.close()
    finally:
        page.driver.switch_to.window(first)
    page.wait_until_idle()
    assert "[stopped]" in page.text("article.answer footer")


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
    page.one("article.answer button[title='Answer again']").click()
    page.wait(lambda: "2/2" in page.text("article.answer .pages"), "another answer to it")
    page.wait_until_idle()
    page.one("article.question button[title='Take back']").click()
    page.wait(lambda: not page.all("article"), "nothing")


def test_enter_does_not_send_while_an_input_method_composes(page: Page) -> None:
    page.type("ni")
    for event in ({"isComposing": True}, {"keyCode": 229}):
        page.run(
            "document.querySelector('#message').dispatchEvent("
            "new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...args[0] }))",
            event,
        )
    assert page.all("article") == []
    assert page.one("#message").get_attribute("value") == "ni"


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


def test_scrolling_up_is_respected_while_it_streams(page: Page) -> None:
    page.driver.set_window_size(800, 500)
    page.say("endless")
    page.wait(lambda: "word120" in page.text("#live"), "a screen full")
    page.driver.execute_script("document.querySelector('#scroll').scrollTop = 0")
    page.wait(lambda: page.one("#to-end").is_displayed(), "the way back")
    page.wait(lambda: "word200" in page.text("#live"), "more words")
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
    alert = page.driver.switch_to.alert
    alert.send_keys("my zebras")
    alert.accept()
    page.wait(lambda: "my zebras" in page.text("#side li.current"), "the name")
    if not page.all("#side li.current details[open]"):
        page.one("#side li.current summary").click()
    page.one("#side li.current .more button:nth-of-type(2)").click()
    page.wait(lambda: page.all("#side li:first-child.current > a > svg"), "the first place")
    if not page.all("#side li.current details[open]"):
        page.one("#side li.current summary").click()
    page.one("#side li.current .danger").click()
    page.driver.switch_to.alert.accept()
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


def test_a_killed_server_is_said_and_the_page_goes_on_with_the_next(page: Page) -> None:
    page.ask("before")
    page.web.kill()
    page.wait(lambda: "connection is lost" in page.text("#composer .status"), "the loss")
    page.say("is anybody there")
    page.wait(lambda: "does not answer" in page.text(".error"), "the error")
    assert page.one("#message").get_attribute("value") == "is anybody there"
    page.web.start()
    page.wait(lambda: not page.text("#composer .status"), "the connection")
    page.one("#message").clear()
    assert page.ask("after") == "you said 5: after"
    assert page.text("article.question .said") == "before\nafter"


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    page.ask("one")
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("k").key_up(Keys.CONTROL).perform()
    page.wait(lambda: page.driver.switch_to.active_element.get_attribute("id") == "search", "the search")
    ActionChains(page.driver).key_down(Keys.CONTROL).key_down(Keys.SHIFT).send_keys("o").key_up(
        Keys.SHIFT
    ).key_up(Keys.CONTROL).perform()
    page.wait(lambda: page.driver.switch_to.active_element.get_attribute("id") == "message", "the box")
    assert not page.all("article")


def test_nothing_is_cut_off_on_a_phone_and_at_200_percent(page: Page) -> None:
    page.ask("markdown")
    for width, height, zoom in ((360, 700, 1), (1100, 800, 2)):
        page.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width // zoom,
                "height": height // zoom,
                "deviceScaleFactor": zoom,
                "mobile": width < 400,
            },
        )
        wide = page.driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
        box = page.one("#message").rect
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert wide <= 0
        assert box["width"] > 120


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
