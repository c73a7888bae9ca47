"""A real Chromium before a real `llamachat web`, whose model server plays scenes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support import ROOT, clean_env, free_port, wait_for

KEY = "the-key-of-the-page"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en-US",
    "--window-size=1100,800",
)


@dataclass
class WebProcess:
    """`llamachat web`; `restart` kills it and starts it again."""

    base_url: str
    home: Path
    port: int = field(default_factory=free_port)
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *args: str) -> None:
        command = [sys.executable, "-m", "llamachat", "web", "--base-url", self.base_url, "--key", KEY]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), *args],
            env=clean_env(self.home, **self.env),
            cwd=self.home,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert "The page is at" in self.process.stdout.readline()
        wait_for(self._answers, "the page")

    def _answers(self) -> bool:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            if self.process.stdout:
                self.process.stdout.close()


@dataclass
class Page:
    """What a user does and sees."""

    driver: Any
    web: WebProcess

    def open(self, path: str = "/") -> Page:
        """Load the page and wait for its list; with the key where there is no cookie yet."""
        self.driver.get(self.web.url + path)
        self.wait(lambda: self.all("#message, main.out"), "the page")
        if self.all("main.out"):
            self.driver.get(f"{self.web.url}{path}#token={KEY}")
            # A change of the fragment alone loads nothing.
            self.driver.refresh()
            self.wait(lambda: self.all("#message"), "the box")
        return self

    def all(self, selector: str) -> list[WebElement]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def one(self, selector: str) -> WebElement:
        self.wait(lambda: self.all(selector), selector)
        return self.all(selector)[0]

    def text(self, selector: str) -> str:
        """The text of all that matches, as the page has it now."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim()).join('\\n')"
        )
        return str(self.driver.execute_script(script, selector))

    def wait(self, condition: Callable[[], object], what: str) -> None:
        wait_for(lambda: bool(condition()), what, 30)

    def type(self, text: str) -> None:
        self.one("#message").send_keys(text)

    def say(self, text: str) -> None:
        self.type(text + Keys.ENTER)

    def press(self, *keys: str) -> None:
        """The last key while the ones before it are held."""
        chain = ActionChains(self.driver)
        for key in keys[:-1]:
            chain.key_down(key)
        chain.send_keys(keys[-1])
        for key in keys[:-1]:
            chain.key_up(key)
        chain.perform()

    def ask(self, text: str) -> str:
        """Say it and wait for the end of the answer, which is returned."""
        before = len(self.all("article.answer"))
        self.say(text)
        self.wait(lambda: len(self.all("article.answer")) > before, "an answer")
        self.wait_until_idle()
        return self.text("article.answer:last-of-type answer-text")

    def wait_until_idle(self) -> None:
        self.wait(lambda: self.all("#send") and not self.all("#stop"), "the end of the answer")

    def run(self, script: str, *args: object) -> Any:
        """Run the body of an async function in the page."""
        wrapped = (
            "const done = arguments[arguments.length - 1];"
            f"(async (...args) => {{{script}}})(...arguments).then(done, (e) => done('ERROR ' + e));"
        )
        return self.driver.execute_async_script(wrapped, *args)

    def complaints(self) -> list[str]:
        """What the browser's console says is wrong."""
        return [row["message"] for row in self.driver.get_log("browser") if row["level"] != "INFO"]


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of its own: its driver."""
    binary, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not chromedriver:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    running.set_script_timeout(60)
    try:
        yield running
    finally:
        running.quit()


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    with chromium() as running:
        yield running


@contextmanager
def playing(*args: str) -> Iterator[str]:
    """A server of scenes (tests/fakes/server.py): its base URL."""
    command = [sys.executable, "-m", "tests.fakes.server", *args]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


@pytest.fixture(scope="session")
def model_server() -> Iterator[str]:
    with playing() as base_url:
        yield base_url


@pytest.fixture(scope="session")
def web(model_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    web = WebProcess(model_server, tmp_path_factory.mktemp("web"))
    web.start()
    try:
        yield web
    finally:
        web.kill()


@pytest.fixture
def page(driver: Any, web: WebProcess) -> Iterator[Page]:
    driver.set_window_size(1100, 800)
    opened = Page(driver, web).open()
    driver.get_log("browser")
    yield opened
    driver.get(web.url + "/static/words.js")
    driver.execute_script("sessionStorage.clear()")  # what the test left in the box
    driver.get("about:blank")
