"""Ctrl-C, and outputs that can't be written."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llamachat.errors import ExitStatus
from tests.programs.conftest import Recorder
from tests.support import DEADLINE, llamachat, wait_for

COMMAND = [sys.executable, "-m", "llamachat"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and shells")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text("text\n" + "".join(f"row {i}\n" for i in range(40)))
    return path


@posix
def test_ctrl_c_in_a_batch_keeps_what_is_answered(
    recorder: Callable[..., Recorder], env: dict[str, str], tmp_path: Path, table: Path
) -> None:
    server = recorder("--pause", "0.1")
    env["LLAMACHAT_BASE_URL"] = server.base_url
    args = ["batch", str(table), "-o", "out.csv", "--prompt", "Say {text}"]
    journal = tmp_path / "out.csv.journal"
    running = subprocess.Popen([*COMMAND, *args], env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: journal.exists() and len(journal.read_bytes().splitlines()) > 5, "five rows")
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=DEADLINE)
    (line,) = said.splitlines()
    kept = len(journal.read_bytes().splitlines()) - 1
    assert (running.returncode, f"Stopped: {kept} of 40 rows" in line) == (ExitStatus.INTERRUPTED, True), said
    assert llamachat(*args, env=env, cwd=tmp_path).returncode == 0
    # Asked again is at most what was under way: nothing, since that was waited for.
    assert sorted(server.prompts()) == sorted(f"Say row {i}" for i in range(40))


@posix
def test_ctrl_c_in_ask_is_one_line(
    recorder: Callable[..., Recorder], env: dict[str, str], tmp_path: Path
) -> None:
    server = recorder("--pause", "60")
    env["LLAMACHAT_BASE_URL"] = server.base_url
    running = subprocess.Popen(
        [*COMMAND, "ask", "hi"],
        env=env,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: bool(server.requests()), "the request")
    running.send_signal(signal.SIGINT)
    out, said = running.communicate(timeout=DEADLINE)
    assert (running.returncode, out, said) == (ExitStatus.INTERRUPTED, "", "llamachat: Stopped.\n")


@posix
@pytest.mark.parametrize(
    ("redirection", "words"),
    [
        (">&-", "stdout is closed"),
        pytest.param(
            ">/dev/full",
            "No space left",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full"),
        ),
    ],
)
def test_an_answer_that_can_not_be_written_is_an_error(
    recorder: Callable[..., Recorder], env: dict[str, str], tmp_path: Path, redirection: str, words: str
) -> None:
    env["LLAMACHAT_BASE_URL"] = recorder().base_url
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m llamachat ask hi {redirection}', sys.executable],
        env=env,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    (line,) = done.stderr.splitlines()
    assert (done.returncode != 0, words in line) == (True, True), line


def test_an_output_that_is_a_folder_is_refused_before_anything_is_asked(
    recorder: Callable[..., Recorder], env: dict[str, str], tmp_path: Path, table: Path
) -> None:
    server = recorder()
    env["LLAMACHAT_BASE_URL"] = server.base_url
    (tmp_path / "out.csv").mkdir()
    done = llamachat("batch", str(table), "-o", "out.csv", "--prompt", "{text}", env=env, cwd=tmp_path)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "is a folder" in line) == (ExitStatus.USAGE, True), line
    (tmp_path / "other.csv.journal").mkdir()
    done = llamachat("batch", str(table), "-o", "other.csv", "--prompt", "{text}", env=env, cwd=tmp_path)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "can't be written" in line) == (ExitStatus.ERROR, True), line
    assert not server.requests()
