"""Real replicas of the real engine under a real Ray Serve."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest

from llamachat.errors import ExitStatus
from tests import fakes
from tests.integration.engine_process import Engine, Stream, question, small_model, text_of
from tests.support import clean_env, free_port, wait_for
from tests.support import llamachat as run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install .[ray]"
    ),
]
DRIVER = Path(fakes.__file__).parent / "ray_driver.py"
SESSIONS = [f"conversation-{n}" for n in range(10)]


@dataclass
class Cluster:
    driver: subprocess.Popen[str]
    gateway: Engine

    def deploy(self, **arguments: str) -> None:
        assert self.driver.stdin and self.driver.stdout
        self.driver.stdin.write(json.dumps({"n_threads": "1", **arguments}) + "\n")
        self.driver.stdin.flush()
        assert self.driver.stdout.readline() == "ready\n", self.gateway.log.read_text()

    def engines(self) -> list[psutil.Process]:
        """The engines of the replicas; a replica is the parent of its engine."""
        found = psutil.Process(self.driver.pid).children(recursive=True)
        return [process for process in found if "llamachat.engine" in command(process)]

    def ask(self, session: str, text: str = "Hello", **more: object) -> Stream:
        return self.gateway.open_stream(question(text, **more), headers={"X-Session-ID": session})


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def health(engine: psutil.Process) -> dict[str, object]:
    words = command(engine)
    port = int(words[words.index("--port") + 1])
    said: dict[str, object] = Engine(port, None, Path()).health()  # type: ignore[arg-type]
    return said


def metrics(engine: psutil.Process) -> tuple[float, float]:
    """Requests that were answered, and prompt tokens that were read."""
    words = command(engine)
    url = f"http://127.0.0.1:{words[words.index('--port') + 1]}/metrics"
    text = httpx2.get(url).text
    return figure(text, "llamachat_requests_total"), figure(text, "llamachat_prompt_tokens_read_total")


def figure(text: str, name: str) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("ray")
    port, log = free_port(), folder / "log"
    with log.open("wb") as errors:
        driver = subprocess.Popen(
            [sys.executable, str(DRIVER), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=clean_env(folder, RAY_USAGE_STATS_ENABLED="0"),
        )
        cluster = Cluster(driver, Engine(port, driver, log))  # type: ignore[arg-type]
        assert driver.stdin and driver.stdout
        with driver.stdin, driver.stdout:
            cluster.deploy(replicas="2")
            yield cluster
        driver.wait()


def test_each_conversation_has_its_history_read_once(cluster: Cluster) -> None:
    for session in SESSIONS:
        first = f"This is {session}. " + "word " * 100
        events = list(cluster.ask(session, first, stream_options={"include_usage": True}))
        said = [
            {"role": "user", "content": first},
            {"role": "assistant", "content": text_of(events)},
            {"role": "user", "content": "Go on."},
        ]
        again = list(cluster.ask(session, messages=said, stream_options={"include_usage": True}))
        held = events[-2]["usage"]["total_tokens"]
        assert again[-2]["usage"]["prompt_tokens_details"]["cached_tokens"] > held - 12


@pytest.mark.parametrize("stream", [True, False])
def test_a_hang_up_in_a_reading_stops_the_engine(cluster: Cluster, stream: bool) -> None:
    text = f"{stream} " + " ".join(f"word{n}" for n in range(350))
    connection = cluster.gateway.ask_and_leave(question(text, stream=stream))
    wait_for(lambda: any(health(engine)["busy"] for engine in cluster.engines()), "an engine reads")
    connection.close()
    wait_for(lambda: not any(health(engine)["busy"] for engine in cluster.engines()), "it is free", 10)


@contextlib.contextmanager
def busy(cluster: Cluster, chats: int) -> Iterator[None]:
    """So many chats go on all the time; none of their requests may be lost."""
    ends: list[object] = []
    over = threading.Event()

    def go_on(session: str) -> None:
        while not over.is_set():
            ends.append(list(cluster.ask(session, max_tokens=8))[-1])

    threads = [threading.Thread(target=go_on, args=(session,)) for session in SESSIONS[:chats]]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(ends) >= chats and set(ends) == {"[DONE]"}


def test_another_model_loses_no_request(cluster: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.symlink_to(small_model())
    with busy(cluster, 4):
        cluster.deploy(replicas="2", model=str(other))
    assert {health(engine)["model"] for engine in cluster.engines()} == {"other"}
    with busy(cluster, 4):
        cluster.deploy(replicas="2")


def test_a_batch_is_spread_over_the_replicas_and_each_reads_the_prefix_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    rows = "\n".join(json.dumps({"text": f"row {n}"}) for n in range(48))
    (tmp_path / "rows.jsonl").write_text(rows)
    env = clean_env(tmp_path, LLAMACHAT_BASE_URL=f"http://127.0.0.1:{cluster.gateway.port}/v1")
    before = {engine.pid: metrics(engine) for engine in cluster.engines()}
    prompt = "Read this with care. " + "word " * 200 + "{text}"
    options = ["--prompt", prompt, "--max-tokens", "2", "--parallel", "16"]
    done = run("batch", "rows.jsonl", "-o", "out.jsonl", *options, env=env, cwd=tmp_path)
    assert done.returncode == ExitStatus.INCOMPLETE, done.stderr  # answers are cut
    assert (tmp_path / "out.jsonl").read_text().count("\n") == 48
    for engine in cluster.engines():
        requests, read = (now - then for now, then in zip(metrics(engine), before[engine.pid], strict=True))
        assert requests >= 3
        assert read < 200 + requests * 60


def test_replicas_follow_the_load(cluster: Cluster) -> None:
    cluster.deploy(
        replicas="1", max_replicas="3", requests_each="1", upscale_delay_s="1", downscale_delay_s="5"
    )
    wait_for(lambda: len(cluster.engines()) == 1, "one replica is left")
    with busy(cluster, 8):
        wait_for(lambda: len(cluster.engines()) == 3, "there are three")
    wait_for(lambda: len(cluster.engines()) == 1, "one is left")
    cluster.deploy(replicas="2")


def test_a_replica_that_is_killed_takes_its_engine_with_it_and_no_other_stream(cluster: Cluster) -> None:
    streams = [cluster.ask(f"{n}", "Tell me a story.", max_tokens=40) for n in range(50)]
    killed, kept = cluster.engines()
    replica = killed.parent()
    assert replica is not None
    replica.kill()
    ends = [list(stream)[-1:] for stream in streams]
    assert ["[DONE]"] in ends
    assert any(end != ["[DONE]"] for end in ends)
    wait_for(lambda: not killed.is_running(), "its engine ends")
    assert kept.is_running()
    assert [list(cluster.ask(session, max_tokens=2))[-1] for session in SESSIONS] == ["[DONE]"] * 10
    wait_for(lambda: len(cluster.engines()) == 2, "there is another")
