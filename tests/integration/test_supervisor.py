"""Children that die on purpose: real processes on real sockets."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from llamachat.errors import AddressError, ServerError
from llamachat.server.child import Child
from llamachat.server.readiness import Endpoint
from llamachat.server.supervisor import MOST_RESTARTS, Supervisor
from tests import fakes
from tests.support import free_port, wait_for

FAKE = Path(fakes.__file__).parent / "dying_server.py"


def supervisor(modes: list[str], said: list[str], port: int | None = None) -> Supervisor:
    """One whose n-th child behaves as the n-th of `modes`, and later ones as the last."""
    port = port or free_port()

    def launch(restarts: int) -> Child:
        mode = modes[min(restarts, len(modes) - 1)]
        return Child([sys.executable, str(FAKE), str(port), mode], os.environ, watched=True)

    return Supervisor(launch, Endpoint("http", "127.0.0.1", port), said.append)


def going_on(child: Child) -> bool:
    return True


def test_a_child_that_answers_is_ready() -> None:
    with supervisor(["fine"], []) as running:
        assert running.start(going_on)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("load", "it is too strange"),
        ("first-token", "first token: killed by SIGSEGV"),
        ("refuse", "HTTP 500"),
    ],
)
def test_a_child_that_fails_before_it_is_ready_says_why(mode: str, words: str) -> None:
    with supervisor([mode], []) as running, pytest.raises(ServerError, match=words):
        running.start(going_on)


def test_a_port_that_somebody_else_took_meanwhile_is_not_taken_for_the_childs() -> None:
    port = free_port()
    with supervisor(["fine"], [], port) as first:
        assert first.start(going_on)
        with (
            supervisor(["fine"], [], port) as second,
            pytest.raises(AddressError, match=f"Port {port} is in use by"),
        ):
            second.start(going_on)


def test_waiting_ends_when_told_to() -> None:
    with supervisor(["slow"], []) as running:
        assert not running.start(lambda child: False)


def test_a_child_that_ignores_a_polite_end_is_killed() -> None:
    with supervisor(["linger"], []) as running:
        assert running.start(going_on)
        assert running.child is not None
        pid = running.child.pid
    assert not psutil.pid_exists(pid)


def test_a_child_that_saves_as_slowly_as_it_may_is_not_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "saved"
    monkeypatch.setenv("SAVED", str(saved))
    with supervisor(["save"], []) as running:
        assert running.start(going_on)
    assert saved.read_text() == "all of it"


def test_a_log_that_nobody_reads_any_more_does_not_stop_the_child() -> None:
    read, write = os.pipe()
    os.close(read)
    talkative = "import sys; [print('a' * 100) for _ in range(5000)]; sys.exit('llamachat: the end')"

    def echo(line: str) -> None:
        os.write(write, line.encode())

    with Child([sys.executable, "-c", talkative], os.environ, watched=True, echo=echo) as child:
        wait_for(lambda: not child.alive, "the end of the child")
        assert child.cause_of_death() == "ended with status 1: the end"
    os.close(write)


def test_a_port_that_is_lost_while_the_child_is_down_is_waited_for() -> None:
    said: list[str] = []
    port = free_port()
    with supervisor(["fine"], said, port) as running:
        assert running.start(going_on)
        assert running.child is not None
        with ThreadPoolExecutor(1) as pool:
            over = threading.Event()
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                psutil.Process(running.child.pid).kill()
                wait_for(lambda: _takes(other, port), "the port")
                watching = pool.submit(running.watch, over.is_set)
                wait_for(lambda: any("in use by" in line for line in said) or watching.done(), "the loss")
            wait_for(lambda: "The server is back." in said or watching.done(), "the server")
            over.set()
            watching.result()
    assert said[1].startswith(f"Port {port} is in use by ") and said[1].endswith("Waiting for it to be free.")
    assert said[-1] == "The server is back."


def _takes(other: socket.socket, port: int) -> bool:
    try:
        other.bind(("127.0.0.1", port))
    except OSError:
        return False
    other.listen()
    return True


def test_a_child_that_dies_later_is_started_again_with_the_cause() -> None:
    said: list[str] = []
    with supervisor(["fine"], said) as running:
        assert running.start(going_on)
        assert running.child is not None
        psutil.Process(running.child.pid).kill()
        running.watch(_until(lambda: len(said) == 2))
    assert said == [
        "The server died: killed by SIGKILL, as the system does when memory runs out. Restarting it.",
        "The server is back.",
    ]


def test_after_three_restarts_in_a_minute_it_gives_up() -> None:
    said: list[str] = []
    with supervisor(["fine", "load"], said) as running:
        assert running.start(going_on)
        assert running.child is not None
        psutil.Process(running.child.pid).kill()
        with pytest.raises(ServerError, match="it is too strange"):
            running.watch(_until(lambda: False))
    assert len(said) == MOST_RESTARTS


def _until(condition: Callable[[], bool]) -> Callable[[], bool]:
    """A stop that fails the test rather than hang it."""
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        assert asked < 1000, "not within 100 s"
        return condition()

    return stopped
