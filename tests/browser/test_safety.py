"""An answer is hostile input: nothing of it runs, asks another host, or leaves its place."""

# ruff: noqa: E501 - scripts and attacks are what they are

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.browser.conftest import KEY, Page, WebProcess


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A port that nobody should ever call, and who did."""
    calls: list[bytes] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    calls.append(connection.recv(1000))

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], calls


ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src='http://127.0.0.1:PORT/a.png'>",
    "![pixel](http://127.0.0.1:PORT/b.png)",
    "![p][1]\n\n[1]: http://127.0.0.1:PORT/c.png",
    "[click](javascript:alert(1)) [x](JaVaScRiPt:alert(1)) [y](data:text/html,<script>alert(1)</script>)",
    "<a href='javascript:alert(1)' onclick='alert(1)'>a</a>",
    "<svg onload=alert(1)><script>alert(1)</script><use href='http://127.0.0.1:PORT/d.svg#x'/></svg>",
    "<math><mtext><style><img src=x onerror=alert(1)></style></mtext></math>",
    "<iframe src='http://127.0.0.1:PORT/e'></iframe><object data='http://127.0.0.1:PORT/f'></object>",
    "<style>@import 'http://127.0.0.1:PORT/g.css'; body { display: none }</style>",
    "<link rel=stylesheet href='http://127.0.0.1:PORT/h.css'>",
    "<form action='http://127.0.0.1:PORT/i'><input name=q autofocus><button>go</button></form>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:PORT/j'><base href='http://127.0.0.1:PORT/'>",
    "<video poster='http://127.0.0.1:PORT/k'><source src='http://127.0.0.1:PORT/l'></video>",
    "<div style='position:fixed;inset:0;background:url(http://127.0.0.1:PORT/m)'>over all</div>",
    "<div id=message class=primary name=attributes>clobber</div><a id=send></a>",
    "$$\\href{javascript:alert(1)}{x} \\url{http://127.0.0.1:PORT/n} \\includegraphics{http://127.0.0.1:PORT/o}$$",
    "\\(\\htmlData{x=1}{y} \\rule{1000em}{1000em}\\)",
    "```mermaid\ngraph TD; A[<img src=x onerror=alert(1)>]-->B\n```",
    "```<img/src=x onerror=alert(1)>\ncode\n```",
    "<details open ontoggle=alert(1)><summary>s</summary></details>",
    "<template><script>alert(1)</script></template><noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "\u202eevil\u2066 text\u2069 and `code \u202e here`",
    "<<SCRIPT>alert(1);//<</SCRIPT>",
    '[a](<http://127.0.0.1:PORT/p> "onmouseover=alert(1)")',
    "| a | b |\n|---|---|\n" + "| <img src=x onerror=alert(1)> | ![x](http://127.0.0.1:PORT/q) |\n" * 20,
    "<textarea><script>alert(1)</script></textarea><select><option>x</select>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
    "<dialog open>phish</dialog><marquee>x</marquee><portal src='http://127.0.0.1:PORT/r'></portal>",
)


def test_no_attack_runs_asks_or_complains(page: Page, listener: tuple[int, list[bytes]]) -> None:
    port, calls = listener
    for attack in ATTACKS:
        text = attack.replace("PORT", str(port))
        # Whole, and as it streams: in pieces of one character nothing half finished may run either.
        left = page.run(
            "const { AnswerView, drawAnswer } = await import('/static/markdown.js');"
            "const root = document.createElement('answer-text'); const whole = document.createElement('div');"
            "document.querySelector('#messages').append(root, whole);"
            "const view = new AnswerView(root); for (const sign of args[0]) view.add(sign); await view.end();"
            "await drawAnswer(whole, args[0]);"
            "const bad = [root, whole].flatMap((r) => [...r.querySelectorAll('*')]).filter((e) =>"
            " /^(script|style|iframe|object|embed|form|link|meta|base|svg|video|audio|dialog|template|marquee|portal)$/i"
            ".test(e.tagName) || [...e.attributes].some((a) => /^on/i.test(a.name) || /^(style|id|name)$/i.test(a.name))"
            " || /^\\s*(javascript|data:text)/i.test(e.getAttribute('href') ?? ''));"
            "return bad.map((e) => e.outerHTML);",
            text,
        )
        assert left == [], attack
    page.driver.execute_script("for (const a of document.querySelectorAll('answer-text a[href]')) a.focus()")
    assert page.driver.execute_script("return document.querySelector('#message').tagName") == "TEXTAREA"
    assert [call for call in calls if call] == []
    assert page.complaints() == []


def test_a_line_of_a_megabyte_is_drawn(page: Page) -> None:
    for text in (
        "x" * 2**20,
        "`" + "y" * 2**20,
        "| a |" * 2000,
        "> " * 3000 + "deep",
        "*" * 20_000,
        "[" * 20_000,
    ):
        drawn = page.run(
            "const { drawAnswer } = await import('/static/markdown.js');"
            "const root = document.createElement('div'); await drawAnswer(root, args[0]); return root.textContent.length",
            text,
        )
        assert isinstance(drawn, int) and drawn > 0, text[:20]


PREFIXES = (
    "# Title\n\nSome **bold** and *it* `code`.\n\n- a\n- b\n\n  more of b\n\n      deep code\n- c\n\nafter\n",
    "Text\n===\n\nmore\n---\n\n| a | b |\n|--|:-:|\n| 1 | 2 |\n\n1. x\n2. y\n   ```py\n   z = 1\n   ```\n3. w\n",
    "```python\ndef f():\n    return '```'\n\n# ~~~\n```\nrest <b>html</b>\n\n<div>\n\nopen\n\n</div>\nend",
    "> quote\n> ```\n> code\n> ```\nlazy\n\n~~~~\n~~~\nx\n~~~~\n\n[ref]: http://x.test\n\n[ref] and ![i](data:,x)\n",
    "Math $$a^2$$ and \\(b\\) not $5 or $6.\n\n$$\n\\frac{1}{2}\n$$\n\n- [x] done\n- [ ] open\n\nfoot\\\nbreak  \nend",
    "第一段，**重点**。\n\n1. 一\n\n2. 二\n\n```\n代码\n",
)


def test_every_prefix_looks_as_its_full_rendering_does(page: Page) -> None:
    for text in PREFIXES:
        wrong = page.run(
            "const { AnswerView } = await import('/static/markdown.js');"
            # A line end at the end of a block of code that is still open can't be seen.
            "const look = (r) => r.innerHTML.replace(/\\n*(<\\/code>)/g, '$1');"
            "const grown = document.createElement('div'); const view = new AnswerView(grown);"
            "for (let i = 1; i <= args[0].length; i += 1) {"
            "  view.add(args[0][i - 1]);"
            "  const whole = document.createElement('div'); new AnswerView(whole).add(args[0].slice(0, i));"
            "  const plain = (r) => { for (const e of r.querySelectorAll('[data-done]')) { e.textContent = e.textContent;"
            "    e.removeAttribute('data-done'); } for (const e of r.querySelectorAll('[data-tex]')) {"
            "    e.textContent = e.dataset.tex; e.removeAttribute('data-tex'); } return look(r); };"
            "  const a = plain(grown.cloneNode(true)), b = plain(whole.cloneNode(true));"
            "  if (a !== b) return [args[0].slice(0, i), a, b];"
            "} return null;",
            text,
        )
        assert wrong is None, wrong


def call(
    web: WebProcess, method: str, path: str, headers: dict[str, str], body: object = None
) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def test_only_the_page_with_its_cookie_may_come_in(web: WebProcess) -> None:
    own = f"http://127.0.0.1:{web.port}"
    cookie = {"Cookie": f"llamachat_{web.port}={KEY}"}
    mine = {**cookie, "Origin": own, "Content-Type": "application/json"}
    refused: tuple[tuple[int, str, str, dict[str, str]], ...] = (
        (401, "GET", "/api/conversations", {}),
        (401, "GET", "/api/conversations", {"Cookie": f"llamachat_{web.port}=wrong"}),
        (403, "GET", "/", {"Host": "evil.test"}),
        (403, "GET", "/api/conversations", {**cookie, "Host": "evil.test"}),
        (403, "POST", "/api/conversations", {**mine, "Origin": "http://evil.test"}),
        (403, "POST", "/api/conversations", {k: v for k, v in mine.items() if k != "Origin"}),
        (403, "POST", "/api/conversations", {**mine, "Origin": "null"}),
        (415, "POST", "/api/conversations", {**mine, "Content-Type": "text/plain"}),
        (413, "POST", "/api/import", {**mine, "Content-Length": str(2**31)}),
        (405, "GET", "/api/conversations/1/turns", cookie),
    )
    for status, method, path, headers in refused:
        assert (
            call(web, method, path, headers, {} if method == "POST" and status != 413 else None)[0] == status
        ), headers
    assert call(web, "POST", "/api/conversations", mine, {})[0] == 200
    assert call(web, "POST", "/api/sign-in", mine, {"token": "wrong"})[0] == 401


@pytest.mark.parametrize(
    ("status", "more", "body"),
    [
        (400, {}, b'{"token": "\\ud800"}'),
        (400, {}, b"[" * 200_000),
        (411, {"Transfer-Encoding": "chunked"}, b"2\r\n{}\r\n0\r\n\r\n"),
    ],
    ids=["half a character", "nested too deep", "of unknown length"],
)
def test_a_wrong_body_is_refused(web: WebProcess, status: int, more: dict[str, str], body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    headers = {"Origin": web.url, "Content-Type": "application/json", **more}
    try:
        connection.request("POST", "/api/sign-in", body, headers)
        assert connection.getresponse().status == status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/turns", {"action": "ask", "text": "hi", "head": []}),
        ("POST", "/turns", {"action": "dance"}),
        ("PATCH", "", {"pin": {}}),
        ("PATCH", "", {"set": ["top_k"]}),
    ],
)
def test_a_value_of_a_wrong_type_is_refused(web: WebProcess, method: str, path: str, body: object) -> None:
    cookie = {"Cookie": f"llamachat_{web.port}={KEY}"}
    mine = {**cookie, "Origin": web.url, "Content-Type": "application/json"}
    assert call(web, method, f"/api/conversations/new{path}", mine, body)[0] == 400


def test_the_key_is_in_a_strict_cookie_and_the_policy_on_every_answer(web: WebProcess) -> None:
    own = {"Origin": f"http://127.0.0.1:{web.port}", "Content-Type": "application/json"}
    status, headers = call(web, "POST", "/api/sign-in", own, {"token": KEY})
    assert status == 200
    cookie = headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    for path in ("/", "/static/app.js", "/nosuch", "/api/conversations"):
        _, headers = call(web, "GET", path, {})
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_the_model_servers_key_never_reaches_the_browser_and_no_link_sends_a_prompt(page: Page) -> None:
    page.ask("hello")
    assert "not-needed" not in page.driver.page_source
    page.driver.get(f"{page.web.url}/?q=hello&prompt=hello#q=hello")
    page.one("#message")
    assert page.all("article") == []
