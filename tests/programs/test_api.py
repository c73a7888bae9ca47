"""`from llamachat import ask, batch, serve`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import llamachat
from llamachat.errors import AnswerCut, LlamachatError, TextTooLong, Unavailable
from tests.programs.conftest import Recorder
from tests.programs.models import Invoice
from tests.support import ServerProcess, clean_env


def test_to_import_the_package_imports_nothing_heavy() -> None:
    code = "import sys, llamachat; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "llamachat" in loaded
    assert not {"llamachat.api", "pydantic", "httpx2", "openai", "sqlite3", "asyncio"} & set(loaded)


def test_ask_gives_text_a_choice_or_an_instance(serve: ServerProcess) -> None:
    url = serve.base_url
    assert isinstance(llamachat.ask("Name a river.", base_url=url, max_tokens=300), str)
    assert llamachat.ask("Is it good?", text="Great film!", choices=["yes", "no"], base_url=url) in (
        "yes",
        "no",
    )
    invoice = llamachat.ask("Invoice 7, total 12.50", schema=Invoice, base_url=url)
    assert isinstance(invoice, Invoice)


def test_batch_yields_the_rows_in_order_with_their_errors(
    recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    url = recorder("--pause", "0.01").base_url
    rows = [{"text": f"row {i}"} for i in range(20)]
    rows[3] = {"text": "x" * 20_000}
    journal = tmp_path / "kept"
    for _ in range(2):
        said = list(llamachat.batch(rows, prompt="Say {text}", base_url=url, journal=journal))
        assert [row.columns for row in said] == rows
        assert said[3].error and said[3].answer is None
        assert [row.answer for row in said[4:]] == [f"answer to Say row {i}" for i in range(4, 20)]


def test_a_cut_answer_is_an_error_that_holds_it(recorder: Callable[..., Recorder]) -> None:
    url = recorder().base_url
    with pytest.raises(AnswerCut, match="after 2 tokens") as caught:
        llamachat.ask("hi", base_url=url, max_tokens=2)
    assert caught.value.text == "answer t"


def test_the_async_forms_do_the_same(recorder: Callable[..., Recorder]) -> None:
    url = recorder().base_url

    async def both() -> tuple[str, list[str]]:
        one, many = await asyncio.gather(llamachat.aask("hi", base_url=url), collect())
        return one, many

    async def collect() -> list[str]:
        return [row.answer async for row in llamachat.abatch(["a", "b"], base_url=url)]

    assert asyncio.run(both()) == ("answer to hi", ["answer to a", "answer to b"])


def test_errors_are_ours(recorder: Callable[..., Recorder]) -> None:
    with pytest.raises(Unavailable):
        llamachat.ask("hi", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(TextTooLong):
        llamachat.ask("hi", text="x" * 20_000, base_url=recorder().base_url)
    assert issubclass(Unavailable, LlamachatError)


def test_a_program_without_a_server_gets_one_and_it_ends_with_it(tmp_path: Path) -> None:
    """The default address is changed, since port 8000 may be somebody's."""
    code = (
        "from llamachat import api, ask, serve\n"
        "with serve(n_ctx=512) as server:\n"
        "    print(ask('Hi', base_url=server.base_url, api_key=server.api_key, max_tokens=300) != '')\n"
        "api.DEFAULT_URL = 'http://127.0.0.1:9/v1'\n"
        "print(ask('Hi', max_tokens=300) != '', api._own._process.pid)\n"
    )
    env = clean_env(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second, pid = done.stdout.split()
    assert (first, second) == ("True", "True")
    assert not Path(f"/proc/{pid}").exists()


def test_a_chat_remembers_what_was_said(serve: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    with llamachat.Chat(system="Be brief.", base_url=serve.base_url, transcripts=file, max_tokens=20) as chat:
        first = chat.ask("Name a river.")
        second = "".join(chat.stream("And a lake?"))
        assert chat.finish_reason in ("stop", "length")
        roles = [message["role"] for message in chat.messages]
        assert roles == ["system", "user", "assistant", "user", "assistant"]
        assert [chat.messages[2]["content"], chat.messages[4]["content"]] == [first, second]
        for _ in chat.stream("Count to a hundred."):
            break
        assert len(chat.messages) in (5, 7)  # it may have been stopped before its first word was kept
    assert file.stat().st_size > 0


def test_a_chat_that_fails_is_as_it_was(recorder: Callable[..., Recorder]) -> None:
    server = recorder()
    with llamachat.Chat(base_url=server.base_url) as chat:
        chat.ask("one")
        before = chat.messages
        server.process.kill()
        server.process.wait()
        with pytest.raises(LlamachatError):
            chat.ask("two")
        assert chat.messages == before
