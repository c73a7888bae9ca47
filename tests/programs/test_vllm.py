"""vLLM by its address: nothing to name, its own counts. Recorded from its documentation: it needs a GPU."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llamachat.errors import ExitStatus
from tests.fakes import foreign
from tests.support import llamachat as run
from tests.terminal.conftest import fake_server


@pytest.fixture
def vllm(env: dict[str, str]) -> Iterator[dict[str, str]]:
    with fake_server("--kind", "vllm", module=foreign.__name__) as server:
        yield env | {"LLAMACHAT_BASE_URL": server.url}


def test_ask(vllm: dict[str, str], tmp_path: Path) -> None:
    done = run("ask", "Hello", "--json", env=vllm, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["answer"], said["model"], said["usage"]["completion_tokens"]) == (
        "you said 5: Hello",
        foreign.MODEL,
        7,
    )


def test_an_answer_of_a_schema(vllm: dict[str, str], tmp_path: Path) -> None:
    done = run("ask", "How many?", "--schema", "n int", env=vllm, cwd=tmp_path)
    assert (json.loads(done.stdout), done.returncode) == ({"n": 7}, 0)


def test_a_text_that_does_not_fit_is_not_sent(vllm: dict[str, str], tmp_path: Path) -> None:
    done = run("ask", "word " * 1000, env=vllm, cwd=tmp_path)
    assert done.returncode == ExitStatus.INCOMPLETE and "room for 496" in done.stderr


def test_a_batch(vllm: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": f"row {n}"}) for n in range(3)))
    done = run("batch", "rows.jsonl", "-o", "out.jsonl", "--prompt", "{text}", env=vllm, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in rows] == [f"you said 5: row {n}" for n in range(3)]


def test_a_name_that_it_does_not_have(vllm: dict[str, str], tmp_path: Path) -> None:
    done: subprocess.CompletedProcess[str] = run("ask", "Hello", "-m", "other", env=vllm, cwd=tmp_path)
    assert done.returncode == ExitStatus.MODEL and "no model 'other'" in done.stderr
