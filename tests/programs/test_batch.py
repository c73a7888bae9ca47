"""`llamachat batch`: every row answered once, whatever happens in between."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamachat.errors import ExitStatus
from tests.programs.conftest import Recorder
from tests.support import llamachat, wait_for

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def server(recorder: Callable[..., Recorder], env: dict[str, str]) -> Recorder:
    started = recorder()
    env["LLAMACHAT_BASE_URL"] = started.base_url
    return started


@pytest.fixture
def batch(env: dict[str, str], tmp_path: Path) -> Run:
    return lambda *args: llamachat("batch", *map(str, args), env=env, cwd=tmp_path)


def table(path: Path, texts: list[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows(enumerate(texts, 1))
    return path


def answers(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_row_is_answered_in_the_order_of_the_input(server: Recorder, batch: Run, tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [f"row number {i}, with 中文" for i in range(30)])
    done = batch(source, "--prompt", "Say: {text}", "-o", "out.csv")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    rows = answers(tmp_path / "out.csv")
    assert [row["answer"] for row in rows] == [f"answer to Say: row number {i}," for i in range(30)]
    assert [row["text"] for row in rows] == [f"row number {i}, with 中文" for i in range(30)]
    assert {row["error"] for row in rows} == {""}


def test_programs_have_a_sampling_of_their_own_and_say_who_they_are(
    server: Recorder, batch: Run, env: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[chat]\ntemperature = 1.5\n")
    env["LLAMACHAT_CONFIG"] = str(config)
    source = table(tmp_path / "in.csv", ["a", "b"])
    batch(source, "--prompt", "{text}", "-o", "回答.csv", "-s", "Be brief.")
    first, second = server.requests()
    assert (first["temperature"], first["repeat_penalty"], first["seed"]) == (0, 1, 0)
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert second["headers"]["x-session-id"].isascii()  # a digest: paths are nobody's business
    assert first["headers"]["x-llamachat-priority"] == "1"


def test_a_gateway_can_tell_the_rows_that_are_asked_at_once_apart(
    server: Recorder, batch: Run, tmp_path: Path
) -> None:
    source = table(tmp_path / "in.csv", [f"row {i}" for i in range(20)])
    batch(source, "--prompt", "{text}", "-o", "out.csv", "--parallel", "4")
    sessions = {request["headers"]["x-session-id"].partition("-") for request in server.requests()}
    assert len({name for name, _, _ in sessions}) == 1
    numbers = {number for _, _, number in sessions}
    assert 2 <= len(numbers) <= 5  # the first row goes alone, the others four at a time


def test_the_same_command_asks_nothing_twice_and_only_edited_rows_again(
    server: Recorder, batch: Run, tmp_path: Path
) -> None:
    source = table(tmp_path / "in.csv", ["a", "b", "c"])
    for _ in range(2):
        assert batch(source, "--prompt", "{text}", "-o", "out.jsonl").returncode == 0
    assert len(server.requests()) == 3
    table(source, ["a", "edited", "c"])
    assert batch(source, "--prompt", "{text}", "-o", "out.jsonl").returncode == 0
    assert server.prompts()[3:] == ["edited"]
    assert [row["answer"] for row in answers(tmp_path / "out.jsonl")] == [
        "answer to a",
        "answer to edited",
        "answer to c",
    ]


def test_other_settings_need_a_restart(server: Recorder, batch: Run, tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", ["a"])
    batch(source, "--prompt", "{text}", "-o", "out.jsonl")
    done = batch(source, "--prompt", "Say {text}", "-o", "out.jsonl")
    assert (done.returncode, "other settings: prompt" in done.stderr) == (ExitStatus.USAGE, True)
    assert answers(tmp_path / "out.jsonl")[0]["answer"] == "answer to a"
    done = batch(source, "--prompt", "Say {text}", "-o", "out.jsonl", "--restart")
    assert answers(tmp_path / "out.jsonl")[0]["answer"] == "answer to Say a"


def test_a_row_that_does_not_fit_is_named_and_ends_nothing(
    server: Recorder, batch: Run, tmp_path: Path
) -> None:
    texts = [f"row {i}" for i in range(100)]
    texts[41] = "x" * 20_000
    done = batch(table(tmp_path / "in.csv", texts), "--prompt", "{text}", "-o", "out.csv")
    assert done.returncode == ExitStatus.INCOMPLETE
    assert "row 42: The text has 5004 tokens, and the window has room for 2032." in done.stderr
    assert "Traceback" not in done.stderr
    rows = answers(tmp_path / "out.csv")
    assert sum(row["error"] == "" for row in rows) == 99
    assert "5004 tokens" in rows[41]["error"] and rows[41]["answer"] == ""


def test_the_schema_gives_the_columns_and_a_wrong_answer_is_an_error(
    recorder: Callable[..., Recorder], batch: Run, env: dict[str, str], tmp_path: Path
) -> None:
    env["LLAMACHAT_BASE_URL"] = recorder("--answer", '{"name": "Bob", "age": 42}').base_url
    source = table(tmp_path / "in.csv", ["Bob is 42."])
    assert batch(source, "--prompt", "{text}", "--schema", "name, age int", "-o", "out.csv").returncode == 0
    assert answers(tmp_path / "out.csv")[0] == {
        "id": "1",
        "text": "Bob is 42.",
        "name": "Bob",
        "age": "42",
        "error": "",
    }
    done = batch(source, "--prompt", "{text}", "--schema", "name, age bool", "-o", "other.csv")
    assert done.returncode == ExitStatus.INCOMPLETE
    assert "does not fit the schema" in answers(tmp_path / "other.csv")[0]["error"]


def test_openais_batch_files_are_read_and_written_in_their_form(
    server: Recorder, batch: Run, tmp_path: Path
) -> None:
    requests = [
        {
            "custom_id": f"request-{i}",
            "method": "POST",
            "url": "/v1/chat/completions" if i else "/v1/embeddings",
            "body": {
                "model": "x",
                "messages": [{"role": "user", "content": f"question {i}"}],
                "temperature": 0.5,
                "presence_penalty": 0.25,
                **({"logprobs": True} if i == 2 else {}),
                **({"tools": [{"type": "function"}]} if i == 3 else {}),
                **({"max_completion_tokens": 2} if i == 4 else {}),
            },
        }
        for i in range(5)
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(r) + "\n" for r in requests))
    assert batch(source, "-o", "out.jsonl").returncode == ExitStatus.INCOMPLETE
    lines = answers(tmp_path / "out.jsonl")
    assert [line["custom_id"] for line in lines] == [f"request-{i}" for i in range(5)]
    assert lines[0]["response"] is None and "/v1/embeddings" in lines[0]["error"]["message"]
    response = lines[1]["response"]
    assert (response["status_code"], lines[1]["error"]) == (200, None)
    assert response["body"]["choices"][0]["message"]["content"] == "answer to question 1"
    for line, name in ((lines[2], "logprobs"), (lines[3], "tools")):
        assert line["response"] is None and repr(name) in line["error"]["message"]
    (cut,) = lines[4]["response"]["body"]["choices"]
    assert (cut["finish_reason"], cut["message"]["content"]) == ("length", "answer t")
    assert {(r["temperature"], r["presence_penalty"]) for r in server.requests()} == {(0.5, 0.25)}


def test_after_kill_9_at_any_moment_no_row_is_lost_and_none_is_twice(
    recorder: Callable[..., Recorder], env: dict[str, str], tmp_path: Path
) -> None:
    server = recorder("--pause", "0.002")
    env["LLAMACHAT_BASE_URL"] = server.base_url
    source = table(tmp_path / "in.csv", [f"row {i}" for i in range(300)])
    command = [sys.executable, "-m", "llamachat", "batch", str(source), "--prompt", "{text}", "-o", "out.csv"]
    pick = random.Random(3)
    journal = tmp_path / "out.csv.journal"

    def written() -> int:
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    for _ in range(8):
        goal = written() + pick.randrange(1, 40)
        with subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
            wait_for(lambda g=goal, p=process: written() >= g or p.poll() is not None, "rows")  # type: ignore[misc]
            process.kill()
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [row["answer"] for row in answers(tmp_path / "out.csv")] == [
        f"answer to row {i}" for i in range(300)
    ]
    kept = Counter(json.loads(line).get("key") for line in journal.read_text("utf-8").splitlines()[1:])
    assert len(kept) == 300 and set(kept.values()) == {1}


def test_a_torn_line_is_removed(server: Recorder, batch: Run, tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", ["a", "b"])
    batch(source, "--prompt", "{text}", "-o", "out.csv")
    journal = tmp_path / "out.csv.journal"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert batch(source, "--prompt", "{text}", "-o", "out.csv").returncode == 0
    assert len(server.requests()) == 3
    assert len(journal.read_bytes().splitlines()) == 3


def test_a_server_that_is_gone_is_waited_for(
    recorder: Callable[..., Recorder], env: dict[str, str], tmp_path: Path
) -> None:
    server = recorder("--pause", "0.05", "--lanes", "2")
    port = server.base_url.split(":")[2].split("/")[0]
    source = table(tmp_path / "in.csv", [f"row {i}" for i in range(40)])
    command = [sys.executable, "-m", "llamachat", "batch", str(source), "--prompt", "{text}", "-o", "out.csv"]
    command += ["--base-url", server.base_url]
    with subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: len(server.requests()) > 10, "rows")
        server.process.kill()
        server.process.wait()
        assert process.stderr
        assert "Waiting for it" in process.stderr.readline()
        recorder("--port", port)
        assert process.wait(60) == 0
    assert len(answers(tmp_path / "out.csv")) == 40


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["in.csv", "--prompt", "{text}"], "Where should the answers go?"),
        (["in.csv", "--prompt", "{txt}", "-o", "o.csv"], "{txt}"),
        (["in.csv", "-o", "o.csv"], "What should be asked?"),
        (["in.csv", "--prompt", "x", "-o", "in.csv"], "is the input"),
        (["in.csv", "--prompt", "x", "-o", "o.xml"], "must end in"),
        (["in.csv", "--prompt", "x", "-o", "no/o.csv"], "no folder"),
        (["no.csv", "--prompt", "x", "-o", "o.csv"], "no file"),
        (["in.txt", "--prompt", "x", "-o", "o.csv"], "is not a .csv"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(batch: Run, tmp_path: Path, args: list[str], words: str) -> None:
    table(tmp_path / "in.csv", ["a"])
    (tmp_path / "in.txt").write_text("x")
    done = batch(*args)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, words in line) == (ExitStatus.USAGE, True), line


def test_a_row_longer_than_the_window_is_cut_where_it_says_so(
    server: Recorder, batch: Run, tmp_path: Path
) -> None:
    long = " ".join(f"word{i}" for i in range(3000))
    source = table(tmp_path / "in.csv", ["short", long])
    done = batch(source, "--prompt", "Row {id}: {text}", "--long", "map", "-o", "out.csv")
    assert done.returncode == 0, done.stderr
    first, *parts = server.prompts()
    assert first == "Row 1: short" and len(parts) > 3
    assert all(part.startswith("Row 2: ") for part in parts)
    said = " ".join(part.removeprefix("Row 2: ") for part in parts)
    assert said.split() == long.split()


def test_x_keeps_the_code_alone(
    recorder: Callable[..., Recorder], batch: Run, env: dict[str, str], tmp_path: Path
) -> None:
    env["LLAMACHAT_BASE_URL"] = recorder("--answer", "Here:\n```\nx = 1\n```\n").base_url
    assert (
        batch(table(tmp_path / "in.csv", ["a"]), "--prompt", "{text}", "-x", "-o", "out.csv").returncode == 0
    )
    assert answers(tmp_path / "out.csv")[0]["answer"] == "x = 1\n"


def test_rows_that_cannot_be_read_become_errors_of_their_own(
    server: Recorder, batch: Run, tmp_path: Path
) -> None:
    nested = "[" * 100_000
    good = {
        "custom_id": "a",
        "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "hi"}]},
    }
    bad = {**good, "custom_id": "b", "body": {"messages": [1]}}
    (tmp_path / "in.jsonl").write_text('{"text": "\\ud800"}\n{"text": "good"}\n' + nested + "\n")
    (tmp_path / "openai.jsonl").write_text(json.dumps(bad) + "\n" + json.dumps(good) + "\n")
    assert batch("in.jsonl", "--prompt", "{text}", "-o", "o.jsonl").returncode == ExitStatus.INCOMPLETE
    rows = answers(tmp_path / "o.jsonl")
    assert rows[1]["answer"] == "answer to good" and "not valid JSON" in rows[2]["error"]
    done = batch("openai.jsonl", "-o", "o2.jsonl")
    assert (done.returncode, "Traceback" in done.stderr) == (ExitStatus.INCOMPLETE, False)
    lines = answers(tmp_path / "o2.jsonl")
    assert "no role" in lines[0]["error"]["message"] and lines[1]["error"] is None


def test_an_open_quote_is_not_half_a_table(server: Recorder, batch: Run, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('text\n"open\nsecond\n')
    done = batch("in.csv", "--prompt", "{text}", "-o", "o.csv")
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "in.csv, line" in line) == (ExitStatus.USAGE, True), line
