"""How fast the page is, in real Chromium: python benchmarks/web.py [long] [answers]

A server of scenes streams at a fixed speed, so that what is measured is the page and not a model; only the opening of
a long conversation, whose messages have to be counted, is measured with `llamachat serve` and the bundled model. Needs
chromium, chromedriver and the dev group.
"""

# ruff: noqa: E501 - scripts are what they are

from __future__ import annotations

import http.server
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.browser.conftest import Page, WebProcess, chromium
from tests.support import ServerProcess, clean_env

PIECE = "word **bold** and `code` of a line that goes on, "
PARAGRAPH = "\n\n```python\nfor i in range(10):\n    print(i)\n```\n\n- one\n- two\n\n"
CHARACTERS = 48_000
PER_SECOND = 100


def long_answer() -> Iterator[str]:
    sent = 0
    for number in range(10**6):
        text = PARAGRAPH if number % 60 == 59 else PIECE
        yield text
        sent += len(text)
        if sent > CHARACTERS:
            return


def answer(body: dict[str, Any]) -> Iterable[str]:
    return long_answer() if body["messages"][-1]["content"] == "long" else ["an answer"]


class Model(http.server.BaseHTTPRequestHandler):
    answer = staticmethod(answer)
    health: ClassVar[dict[str, Any]] = {"status": "ok", "model": "bench", "n_ctx": 10**6}

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.reply(self.health)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("count"):
            self.reply({"count": sum(len(m["content"]) // 4 + 4 for m in body["messages"])})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        began = time.monotonic()
        for number, text in enumerate(self.answer(body)):
            time.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
            self.event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, value: dict[str, Any]) -> None:
        head = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "bench"}
        self.wfile.write(f"data: {json.dumps({**head, **value})}\n\n".encode())
        self.wfile.flush()

    def reply(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def scenes() -> Iterator[str]:
    """The server of scenes: its base URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


@contextmanager
def page_of(driver: Any, base_url: str, **env: str) -> Iterator[Page]:
    """The page before the server at `base_url`, with a home of its own."""
    with tempfile.TemporaryDirectory() as folder:
        web = WebProcess(base_url, Path(folder), env=env)
        web.start()
        try:
            yield Page(driver, web).open()
        finally:
            web.kill()


@contextmanager
def everything() -> Iterator[Page]:
    with scenes() as base_url, chromium() as driver, page_of(driver, base_url) as page:
        yield page


def usable(page: Page) -> float:
    """Milliseconds from the navigation until the box is there."""
    page.driver.get("about:blank")
    page.driver.get(page.web.url)
    return float(
        page.run(
            "while (!document.querySelector('#message')) await new Promise(requestAnimationFrame);"
            "return performance.now();"
        )
    )


def opened(page: Page, messages: int) -> float:
    """Milliseconds from the click on a stored conversation until its messages are there."""
    turns = [
        {"role": role, "content": text}
        for i in range(messages // 2)
        for role, text in (("user", f"question {i}"), ("assistant", f"answer {i}: {PIECE * 8}{PARAGRAPH}"))
    ]
    key = page.run(
        "return (await (await fetch('/api/import', { method: 'POST', headers: { 'Content-Type': 'application/json' },"
        " body: JSON.stringify({ text: args[0] }) })).json()).keys[0]",
        json.dumps({"messages": turns}),
    )
    page.open()
    page.one(f"#side a[href='/c/{key}']")
    settled = "await new Promise((done) => requestIdleCallback(done));"
    page.run(settled)
    return float(
        page.run(
            "const began = performance.now(); document.querySelector(`#side a[href='/c/${args[0]}']`).click();"
            "while (document.querySelectorAll('article').length < args[1]) await new Promise(requestAnimationFrame);"
            "await new Promise(requestAnimationFrame); return performance.now() - began;",
            key,
            messages,
        )
    )


def scrolled(page: Page) -> tuple[float, float]:
    """Frames a second while the open conversation is scrolled through, and its longest frame in milliseconds."""
    gaps = page.run(
        "const box = document.querySelector('#scroll'); const gaps = []; box.scrollTop = box.scrollHeight;"
        "let last = await new Promise(requestAnimationFrame);"
        "for (let i = 0; i < 300; i += 1) { box.scrollTop -= 200; const now = await new Promise(requestAnimationFrame);"
        " gaps.push(now - last); last = now; } return gaps;"
    )
    return 1000 / statistics.mean(gaps), max(gaps)


def streamed(page: Page) -> tuple[float, float]:
    """The share of a core that scripts take, and the 95th percentile of a flush in milliseconds."""
    page.open()
    page.driver.execute_cdp_cmd("Performance.enable", {})
    page.driver.execute_script(
        "window.flushes = []; addEventListener('drawn', (event) => window.flushes.push(event.detail));"
    )

    def script_seconds() -> float:
        metrics = page.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == "ScriptDuration"))

    before, began = script_seconds(), time.monotonic()
    page.say("long")
    page.wait(lambda: page.all("#stop"), "the answer")
    page.wait_until_idle()
    share = (script_seconds() - before) / (time.monotonic() - began)
    flushes = page.driver.execute_script("return window.flushes")
    return share, float(statistics.quantiles(flushes, n=20)[-1])


def first_token(page: Page) -> tuple[float, float]:
    """Milliseconds from Enter until the first text is in the document, or in a pipe from a chat; both before it is drawn."""
    page.open()
    page.ask("warm")
    times = []
    for _ in range(5):
        times.append(
            float(
                page.run(
                    "const n = document.querySelectorAll('article.answer').length;"
                    "const box = document.querySelector('#message'); box.value = 'short'; const began = performance.now();"
                    "box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }));"
                    "while (![...document.querySelectorAll('article.answer')].slice(n).some((a) =>"
                    " a.textContent.includes('an answer'))) await new Promise((go) => setTimeout(go, 1));"
                    "return performance.now() - began;"
                )
            )
        )
        page.wait_until_idle()
    # Both keep what is said: the question is on the disk before it is sent.
    stored = ["--transcripts", str(page.web.home / "terminal.db")]
    chat = subprocess.Popen(
        [sys.executable, "-m", "llamachat", "chat", "--base-url", page.web.base_url, "--lines", *stored],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert chat.stdin and chat.stdout
    terminal = []
    for _ in range(6):
        began = time.monotonic()
        chat.stdin.write("short\n")
        chat.stdin.flush()
        chat.stdout.read(1)
        terminal.append((time.monotonic() - began) * 1000)
        chat.stdout.readline()
    chat.stdin.close()
    chat.wait()
    return statistics.median(times), statistics.median(terminal[1:])


Rows = Iterator[tuple[str, str, str]]


def long_conversation(driver: Any) -> Rows:
    with (
        tempfile.TemporaryDirectory() as home,
        ServerProcess(env=clean_env(Path(home)), cwd=Path(home)) as engine,
    ):
        engine.wait_until_ready()
        with page_of(driver, engine.base_url, LLAMACHAT_API_KEY=str(engine.api_key)) as page:
            yield (
                "400 messages open, ms",
                f"{statistics.median(opened(page, 400) for _ in range(3)):.0f}",
                "500",
            )
            a_second, longest = scrolled(page)
            yield "frames a second while they are scrolled", f"{a_second:.0f}", "60"
            yield "the longest of these frames, ms", f"{longest:.0f}", ""


def answers(driver: Any) -> Rows:
    with scenes() as base_url, page_of(driver, base_url) as page:
        yield "page usable, ms", f"{statistics.median(usable(page) for _ in range(5)):.0f}", "300"
        share, flush = streamed(page)
        yield (
            f"scripts at {PER_SECOND} tokens/s into {CHARACTERS // 1000} kB, of a core",
            f"{share:.0%}",
            "20 %",
        )
        yield "a flush, 95th percentile, ms", f"{flush:.1f}", "8"
        ours, terminal = first_token(page)
        yield "first token beside the terminal, ms", f"{ours - terminal:+.0f}", "+20"
        for number in range(10):
            page.open()
            page.ask(f"conversation {number}")
        assert page.web.process
        memory = psutil.Process(page.web.process.pid).memory_info().rss / 2**20
        yield "memory of web, 10 conversations, MB", f"{memory:.0f}", "90"


def main() -> None:
    wanted = sys.argv[1:] or ["long", "answers"]
    print("| | measured | goal |\n|-|-:|-:|")
    with chromium() as driver:
        driver.set_script_timeout(120)
        for name, part in (("long", long_conversation), ("answers", answers)):
            for row in part(driver) if name in wanted else ():
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
