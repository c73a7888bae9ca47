"""Templates in a chat: `chat -t`, `/t`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from llamachat.errors import ExitStatus
from tests.programs.conftest import Recorder
from tests.support import llamachat


def chat(env: dict[str, str], cwd: Path, *args: str, lines: str) -> subprocess.CompletedProcess[str]:
    return llamachat("chat", "--lines", "--lang", "en", "-s", "Mine.", *args, env=env, cwd=cwd, piped=lines)


def test_messages_are_put_into_a_template_once_or_from_now_on(
    recorder: Callable[..., Recorder], env: dict[str, str], tmp_path: Path
) -> None:
    server = recorder()
    env["LLAMACHAT_BASE_URL"] = server.base_url
    (tmp_path / "notes.txt").write_text("{a note}")
    lines = (
        "plain\n/t translate -p to 'Old English' hello\n/t sentiment\ngreat\n"
        "/file notes.txt\n/t summary\n/t off\nplain {again}\n/t nosuch\n"
    )
    done = chat(env, tmp_path, lines=lines)
    assert "There is no template 'nosuch'" in done.stderr
    said = [(body["messages"][0]["content"], body["messages"][-1]["content"]) for body in server.requests()]
    assert [text.splitlines()[-1] for _, text in said] == [
        "plain",
        "hello",
        "Is this text positive, negative or neutral?",
        "Sum this up in at most 100 words.",
        "plain {again}",
    ]
    systems = [system for system, _ in said]
    assert [system == "Mine." for system in systems] == [True, True, False, False, True]
    assert "exactly one of these labels" in systems[2]
    assert "into Old English" in said[1][1] and said[2][1].startswith("great\n")
    assert "{a note}" in said[3][1] and "great" not in said[3][1]


def test_a_chat_can_begin_with_a_template(
    recorder: Callable[..., Recorder], env: dict[str, str], tmp_path: Path
) -> None:
    server = recorder()
    env["LLAMACHAT_BASE_URL"] = server.base_url
    done = chat(env, tmp_path, "-t", "translate", "-p", "to", "German", lines="hello\n/t off\nhello\n")
    assert done.returncode == 0, done.stderr
    first, second = server.requests()
    assert "into German" in first["messages"][0]["content"]
    assert first["messages"][1]["content"] == "hello"
    assert second["messages"][0]["content"] == "Mine."
    refused = chat(env, tmp_path, "-t", "nosuch", lines="")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (ExitStatus.USAGE, 1)
