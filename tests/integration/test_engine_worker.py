"""What a gateway needs of a server: how it is, a refusal at once, a drain, and figures."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from llamachat.core.engine_options import EngineOptions
from tests.integration.engine_process import Engine, Stream, question, running
from tests.support import ROOT, ServerProcess, wait_for

STORY = "Tell me a long story about the sea."


def sample(engine: Engine, series: str) -> float:
    """One figure of `/metrics`."""
    lines = engine.ask("GET", "/metrics").body.decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == series)


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Stream]:
    """A stream that has the model; it is hung up at the end."""
    stream = engine.open_stream(question(STORY, max_tokens=1000))
    next(iter(stream))
    try:
        yield stream
    finally:
        stream.hang_up()
        wait_for(lambda: not engine.health()["busy"], "the model is free")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine in whose queue one request may wait."""
    options = EngineOptions(model_name="small", max_queue=1, restarts=2)
    with running(tmp_path_factory.mktemp("worker") / "log", options) as engine:
        assert engine.health()["state"] == "loading"
        assert engine.ask("GET", "/health/ready").status == 503
        engine.chat("Hello")
        yield engine


def test_health_says_ready_and_busy(worker: Engine) -> None:
    ready = worker.health()
    assert (ready["state"], ready["lanes"], ready["queue"]) == ("ready", 1, 0)
    with writing(worker):
        assert worker.health()["state"] == "busy"
        answer = worker.ask("GET", "/health/ready")
        assert (answer.status, answer.json()) == (200, {"state": "busy"})


@pytest.mark.parametrize("stream", [True, False])
def test_a_full_queue_is_a_503_at_once(worker: Engine, stream: bool) -> None:
    refused = sample(worker, 'llamachat_requests_total{outcome="refused"}')
    with writing(worker) as first:
        waiting = worker.open_stream(question("Hello"))
        wait_for(lambda: worker.health()["queue"] == 1, "one waits")
        answer = worker.ask("POST", "/v1/chat/completions", question("Hello", stream=stream))
        assert answer.status == 503 and answer.json()["error"]["code"] == "queue_full"
        assert int(answer.headers["retry-after"]) >= 1
        first.hang_up()
        assert list(waiting)[-1] == "[DONE]"
    assert sample(worker, 'llamachat_requests_total{outcome="refused"}') == refused + 1


def test_tokens_and_outcomes_are_counted(worker: Engine) -> None:
    names = (
        'llamachat_requests_total{outcome="ok"}',
        'llamachat_requests_total{outcome="error"}',
        "llamachat_prompt_tokens_read_total",
        "llamachat_prompt_tokens_cached_total",
        "llamachat_completion_tokens_total",
        "llamachat_queue_seconds_count",
        "llamachat_first_token_seconds_count",
    )
    before = [sample(worker, name) for name in names]
    asked = question("What is the sea? Say it in a line.", stream_options={"include_usage": True})
    usages = [list(worker.open_stream(asked))[-2]["usage"] for _ in range(2)]
    assert worker.chat("word " * 5000).status == 400
    after = [sample(worker, name) for name in names]
    cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    read = sum(usage["prompt_tokens"] for usage in usages) - cached
    written = sum(usage["completion_tokens"] for usage in usages)
    assert cached > 0
    assert [a - b for a, b in zip(after, before, strict=True)] == [2, 1, read, cached, written, 2, 2]
    assert sample(worker, "llamachat_restarts_total") == 2
    assert 0 < sample(worker, "llamachat_kv_cells_used") < sample(worker, "llamachat_kv_cells") == 2048


def test_who_hangs_up_is_counted_as_cancelled(worker: Engine) -> None:
    before = sample(worker, 'llamachat_requests_total{outcome="cancelled"}')
    with writing(worker):
        assert sample(worker, "llamachat_lanes_busy") == 1
    assert sample(worker, 'llamachat_requests_total{outcome="cancelled"}') == before + 1


def test_a_stream_that_has_nothing_to_say_says_so(worker: Engine) -> None:
    """A gateway such as vllm-router notices that its client left when it has something to send to it."""
    with writing(worker):
        connection = worker.ask_and_leave({**question("Hello"), "stream": True})
        with contextlib.closing(connection):
            lines = iter(connection.getresponse())
            assert any(line.startswith(b":") for line in lines)


def test_the_dashboard_shows_figures_that_there_are(worker: Engine) -> None:
    dashboard = (ROOT / "docs" / "grafana.json").read_text(encoding="utf-8")
    known = set(re.findall(r"^(llamachat_\w+)", worker.ask("GET", "/metrics").body.decode(), re.M))
    shown = set(re.findall(r"llamachat_\w+", json.dumps(json.loads(dashboard))))
    assert shown and shown <= known


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
class TestDrain:
    """`llamachat serve` at SIGTERM."""

    def test_running_requests_finish_and_new_ones_are_refused(
        self, env: Mapping[str, str], tmp_path: Path
    ) -> None:
        with ServerProcess("--n-ctx", "1024", "--drain", "100", env=env, cwd=tmp_path) as server:
            engine = self.engine(server)
            running = engine.open_stream(question(STORY, max_tokens=150))
            next(iter(running))
            waiting = engine.open_stream(question("Hello"))
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: engine.ask("GET", "/health/ready").status == 503, "it drains")
            assert engine.health()["state"] == "draining"
            answer = engine.chat("Hello")
            assert answer.status == 503 and answer.json()["error"]["code"] == "draining"
            assert answer.headers["retry-after"] == "1"
            assert list(running)[-1] == list(waiting)[-1] == "[DONE]"
            assert server.wait() == 0
            assert "running requests have 100 s to finish" in server.stderr()

    @pytest.mark.parametrize("flags", [("--drain", "0"), ("--drain", "100")])
    def test_a_second_signal_or_no_time_ends_at_once(
        self, env: Mapping[str, str], tmp_path: Path, flags: tuple[str, str]
    ) -> None:
        with ServerProcess(*flags, env=env, cwd=tmp_path) as server:
            engine = self.engine(server)
            running = engine.open_stream(question(STORY, max_tokens=1500))
            next(iter(running))
            server.process.send_signal(signal.SIGTERM)
            if flags[1] != "0":
                wait_for(lambda: "to finish" in server.stderr(), "it drains")
                server.process.send_signal(signal.SIGTERM)
            assert list(running)[-1]["error"]["message"] == "The server is stopping."
            assert server.wait() == 0

    def engine(self, server: ServerProcess) -> Engine:
        server.wait_until_ready()
        return Engine(server.port, server.process, Path())
