"""What is kept on disk between two runs: whole or not at all, private, and only where it fits."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamachat.core.engine_options import ENVIRONMENT_VARIABLE, EngineOptions
from llamachat.engine.kv_keep import KeepFolder
from llamachat.engine.kv_parked import Parked
from tests.integration.test_kv_cache import CHUNK, Open, answer, chunks, fresh, open_llama, tiny_model

__all__ = ["open_llama", "tiny_model"]  # fixtures

KEY = {"library": "1", "model": "m"}
SOON = 60.0


def sequence(seed: int = 0, n_bytes: int = 4096) -> Parked:
    random = np.random.default_rng(seed)
    return Parked(
        random.integers(0, 9, 100).astype(np.int32), random.integers(0, 256, n_bytes).astype(np.uint8)
    )


def write(folder: KeepFolder, parked: Parked) -> Path:
    path = folder.write(parked, deadline=time.monotonic() + SOON)
    assert path is not None
    return path


def test_a_restart_reads_only_what_is_new(open_llama: Open, tiny_model: Path, tmp_path: Path) -> None:
    options = EngineOptions(cache_dir=str(tmp_path / "kept"))
    llama = open_llama(tiny_model, options)
    replies = [answer(llama, chunks(1, 2, 3))[0], answer(llama, chunks(11, 12, 13))[0]]
    llama.save()
    restarted = open_llama(tiny_model, options)
    again = [answer(restarted, chunks(1, 2, 3)), answer(restarted, chunks(11, 12, 13))]
    assert [reply for reply, _ in again] == replies
    assert all(read < 10 for _, read in again)


def test_a_new_conversation_that_begins_alike_leaves_what_was_kept(
    open_llama: Open, tiny_model: Path, tmp_path: Path
) -> None:
    options = EngineOptions(cache_dir=str(tmp_path / "kept"))
    for prompt in (chunks(1, 2, 3, 4, 5), chunks(1, 21)):
        llama = open_llama(tiny_model, options)
        answer(llama, prompt)
        llama.save()
    restarted = open_llama(tiny_model, options)
    assert answer(restarted, chunks(1, 21))[1] < 10
    assert answer(restarted, chunks(1, 2, 3, 4, 5))[1] < 10


def test_without_keep_nothing_is_written(open_llama: Open, tiny_model: Path, tmp_path: Path) -> None:
    options = EngineOptions(cache_dir=str(tmp_path / "kept"))
    for without in (replace(options, cache_dir=None), options):
        assert not (tmp_path / "kept").exists()
        llama = open_llama(tiny_model, without)
        answer(llama, chunks(1, 2, 3))
        llama.save()
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_another_window_does_not_fit_and_a_copy_of_the_model_does(
    open_llama: Open, tiny_model: Path, tmp_path: Path
) -> None:
    options = EngineOptions(cache_dir=str(tmp_path / "kept"))
    llama = open_llama(tiny_model, options)
    answer(llama, chunks(1, 2, 3))
    llama.save()
    assert answer(open_llama(tiny_model, options, n_ctx=512), chunks(1, 2, 3))[1] > 3 * CHUNK
    copied = tmp_path / "copy.gguf"
    copied.write_bytes(tiny_model.read_bytes())
    assert answer(open_llama(copied, options), chunks(1, 2, 3))[1] < 10


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "text"])
def test_a_damaged_file_is_removed_and_the_prompt_read(
    open_llama: Open, tiny_model: Path, tmp_path: Path, damage: str
) -> None:
    options = EngineOptions(cache_dir=str(tmp_path / "kept"))
    llama = open_llama(tiny_model, options)
    answer(llama, chunks(1, 2, 3))
    llama.save()
    (path,) = (tmp_path / "kept").iterdir()
    data = path.read_bytes()
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    path.write_bytes({"flip": flipped, "truncate": data[:-9], "empty": b"", "text": b"hello" * 99}[damage])
    restarted = open_llama(tiny_model, options)
    assert answer(restarted, chunks(1, 2, 3))[0] == fresh(open_llama, tiny_model, chunks(1, 2, 3))
    assert not path.exists()


def test_what_was_taken_and_went_on_is_replaced(open_llama: Open, tiny_model: Path, tmp_path: Path) -> None:
    options = EngineOptions(cache_dir=str(tmp_path / "kept"))
    for prompt in (chunks(1, 2, 3), chunks(1, 2, 3, 4), chunks(1, 2, 3, 4, 5)):
        llama = open_llama(tiny_model, options)
        answer(llama, prompt)
        llama.save()
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.stat().st_size > 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_folder_and_its_files_are_private(tmp_path: Path) -> None:
    path = write(KeepFolder(tmp_path / "kept", KEY), sequence())
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    parked = sequence()
    write(KeepFolder(tmp_path, KEY), parked)
    folder = KeepFolder(tmp_path, KEY)
    (found,) = folder.find()
    assert found.path is not None
    state = folder.read(found.path)
    assert state is not None and parked.state is not None
    assert np.array_equal(found.tokens, parked.tokens) and np.array_equal(state, parked.state)


def test_another_library_s_files_go_and_another_model_s_stay(tmp_path: Path) -> None:
    old = write(KeepFolder(tmp_path, {**KEY, "library": "0"}), sequence(1))
    other = write(KeepFolder(tmp_path, {**KEY, "model": "n"}), sequence(2))
    assert KeepFolder(tmp_path, KEY).find() == []
    assert not old.exists()
    assert other.exists()


def test_the_folder_stays_within_its_bound_and_the_oldest_go(tmp_path: Path) -> None:
    folder = KeepFolder(tmp_path, KEY, max_bytes=10_000)
    old = [write(folder, sequence(i)) for i in range(3)]
    for i, path in enumerate(old):
        os.utime(path, (i, i))
    new = write(folder, sequence(9))
    folder.finish([new])
    assert [path.exists() for path in [*old, new]] == [False, False, True, True]
    assert folder.write(sequence(4, n_bytes=20_000), deadline=time.monotonic() + SOON) is None


def test_when_time_is_up_nothing_is_left_behind(tmp_path: Path) -> None:
    folder = KeepFolder(tmp_path, KEY)
    assert folder.write(sequence(), deadline=time.monotonic() - 1) is None
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys, time, numpy as np
from pathlib import Path
from llamachat.engine.kv_keep import KeepFolder
from llamachat.engine.kv_parked import Parked
folder = KeepFolder(Path(sys.argv[1]), {"library": "1", "model": "m"})
for i in range(1_000_000):
    state = np.full(40_000_000, i, np.uint8)
    folder.write(Parked(np.full(100, i, np.int32), state), deadline=time.monotonic() + 60)
"""


def test_a_writer_that_is_killed_leaves_only_whole_files(tmp_path: Path) -> None:
    folder = KeepFolder(tmp_path, KEY)
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) as writer:
        wait_for(lambda: any(tmp_path.glob("*.kv")) and any(tmp_path.glob("*unfinished")))
        writer.kill()
    for found in folder.find():
        assert found.path is not None
        assert folder.read(found.path) is not None
    for left in tmp_path.glob("*unfinished"):
        os.utime(left, (0, 0))
    folder.find()
    assert not list(tmp_path.glob("*unfinished"))


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a right there")
def test_a_file_that_is_not_there_any_more_stops_nothing(tmp_path: Path) -> None:
    folder = KeepFolder(tmp_path, KEY)
    kept = write(folder, sequence())
    (tmp_path / "dangling.kv").symlink_to(tmp_path / "nowhere")
    (found,) = folder.find()
    folder.finish([kept])
    kept.unlink()
    assert found.path == kept and folder.read(kept) is None


def test_a_state_larger_than_the_budget_is_not_copied(open_llama: Open, tiny_model: Path) -> None:
    """Its copy would take the memory that the budget is there to spare."""
    llama = open_llama(tiny_model, EngineOptions(kv_park=1000))
    answer(llama, chunks(1, 2, 3))
    tracemalloc.start()
    answer(llama, chunks(11, 12))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < llama.lanes.kv._slots[0].cells.state_size()


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM")
def test_a_server_that_is_stopped_takes_its_conversation_up_again(tiny_model: Path, tmp_path: Path) -> None:
    kept, log = tmp_path / "kept", tmp_path / "log"
    for _ in range(2):
        with server(tiny_model, kept, log) as url:
            complete(url, " ".join(f"w{i}" for i in range(60)))
    assert len(list(kept.iterdir())) == 1
    assert "prefix-match hit, remaining" in log.read_text().rsplit("Started server process", 1)[1]


@contextlib.contextmanager
def server(model: Path, kept: Path, log: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = EngineOptions(cache_dir=str(kept)).to_json()
    argv = ["--model", str(model), "--port", str(port), "--n_ctx", "1024", "--logits_all", "false"]
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, "-m", "llamachat.engine", *argv, "--verbose", "true", "--use_mlock", "false"],
            env={**os.environ, ENVIRONMENT_VARIABLE: options},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            wait_for(lambda: can_connect(port) or process.poll() is not None)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def can_connect(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def complete(url: str, prompt: str) -> Any:
    body = json.dumps({"prompt": prompt, "max_tokens": 4, "temperature": 0}).encode()
    request = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
