"""kill -9 of the page's server, of the model's server and of the tab, in the middle of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from tests.browser.conftest import Page, WebProcess, chromium, playing
from tests.support import free_port


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ExitStack, int]]:
    """A server of scenes that may die: what ends it, and its port."""
    with ExitStack() as stack:
        port = free_port()
        stack.enter_context(playing("--port", str(port)))
        yield stack, port


def test_web_is_killed_in_an_answer(page: Page) -> None:
    page.ask("before")
    page.say("endless")
    page.wait(lambda: "word60" in page.text("#live"), "some words")
    page.web.kill()
    page.wait(lambda: "connection is lost" in page.text("#composer .status"), "the loss")
    page.web.start()
    page.wait(lambda: not page.text("#composer .status"), "the connection")
    page.wait_until_idle()
    # What came is on the disk twice a second.
    kept = page.text("article.answer:last-of-type answer-text").split()
    assert kept[:10] == [f"word{i}" for i in range(10)]
    assert "[stopped]" in page.text("article.answer:last-of-type footer")
    page.web.kill()
    page.wait(lambda: "connection is lost" in page.text("#composer .status"), "the loss")
    page.say("is anybody there")
    page.wait(lambda: "does not answer" in page.text(".error"), "the error")
    assert page.one("#message").get_attribute("value") == "is anybody there"
    page.web.start()
    page.wait(lambda: not page.text("#composer .status"), "the connection")
    page.one("#message").clear()
    assert page.ask("after") == "you said 5: after"
    assert page.text("article.question .said") == "before\nendless\nafter"


def test_the_model_server_is_killed_in_an_answer(
    driver: Any, model: tuple[ExitStack, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    stack, port = model
    web = WebProcess(f"http://127.0.0.1:{port}/v1", tmp_path_factory.mktemp("killed"))
    web.start()
    stack.callback(web.kill)
    page = Page(driver, web).open()
    page.say("die")
    page.wait(lambda: page.text(".error"), "the error")
    page.wait_until_idle()
    assert page.text("article.answer answer-text") == "the part before death"
    assert page.one("#message").get_attribute("value") == "die"
    # What was said can be read without the server, after a restart of the page's own too.
    page.web.kill()
    page.web.start()
    page.driver.refresh()
    page.wait(lambda: page.text("article.answer answer-text") == "the part before death", "what came")
    stack.enter_context(playing("--port", str(port)))
    page.one("#message").clear()
    assert page.ask("after") == "you said 5: after"
    driver.get("about:blank")


def test_the_tab_is_killed_in_an_answer(page: Page) -> None:
    with chromium() as other:
        Page(other, page.web).open().say("endless")
        page.wait(lambda: "word5" in Page(other, page.web).text("#live"), "some words")
        for process in psutil.Process(other.service.process.pid).children(recursive=True):
            process.kill()
    page.open()
    page.one("#side li a").click()
    page.wait(lambda: "word20" in page.text("#live"), "the answer goes on")
    page.one("#stop").click()
    page.wait_until_idle()
    assert page.text("article.answer answer-text").split()[:20] == [f"word{i}" for i in range(20)]
