"""What a gateway and two servers behind it owe to people who chat."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import gateways
from tests.integration.engine_process import Engine, Stream, question
from tests.integration.gateways import Setup
from tests.integration.test_engine_worker import STORY, sample
from tests.support import free_port, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the gateways come as wheels for Linux")
SESSIONS = [f"conversation-{n}" for n in range(12)]


@pytest.fixture(params=gateways.GATEWAYS)
def setup(request: pytest.FixtureRequest, env: dict[str, str], tmp_path: Path) -> Iterator[Setup]:
    ports = [free_port(), free_port()]
    try:
        gateways.GATEWAYS[request.param](0, ports, tmp_path)
    except gateways.NotInstalled as missing:
        pytest.skip(str(missing))
    with (
        gateways.replicas(ports, env, tmp_path) as servers,
        gateways.routing(request.param, ports, env, tmp_path) as gateway,
    ):
        yield Setup(gateway, servers)


def ask(setup: Setup, session: str, text: str = "Hello", **more: object) -> Stream:
    return setup.gateway.open_stream(question(text, **more), headers={"X-Session-ID": session})


def answered(replica: Engine) -> float:
    return sample(replica, 'llamachat_requests_total{outcome="ok"}')


def home(setup: Setup, session: str) -> int:
    """Which replica answers the conversation."""
    before = [answered(replica) for replica in setup.replicas]
    assert list(ask(setup, session, max_tokens=1))[-1] == "[DONE]"
    after = [answered(replica) for replica in setup.replicas]
    (number,) = (n for n in range(2) if after[n] > before[n])
    return number


def test_a_conversation_stays_at_its_replica(setup: Setup) -> None:
    homes = [home(setup, session) for session in SESSIONS]
    assert set(homes) == {0, 1}
    assert [home(setup, session) for session in SESSIONS] == homes


def test_a_hang_up_in_a_reading_reaches_the_replica(setup: Setup) -> None:
    replica = setup.replicas[home(setup, SESSIONS[0])]
    names = ('llamachat_requests_total{outcome="cancelled"}', "llamachat_first_token_seconds_count")
    before = [sample(replica, name) for name in names]
    connection = setup.gateway.ask_and_leave(
        question(" ".join(f"word{n}" for n in range(400)), stream=True), headers={"X-Session-ID": SESSIONS[0]}
    )
    wait_for(lambda: sample(replica, "llamachat_lanes_busy") == 1, "the replica reads")
    connection.close()
    wait_for(lambda: sample(replica, "llamachat_lanes_busy") == 0, "the replica is free")
    assert [sample(replica, name) for name in names] == [before[0] + 1, before[1]]


def test_a_replica_that_is_killed_costs_its_own_streams(setup: Setup) -> None:
    at = {home(setup, session): session for session in SESSIONS}
    dying, living = (ask(setup, at[n], STORY, max_tokens=200) for n in range(2))
    assert next(iter(dying))["choices"] and next(iter(living))["choices"]
    setup.servers[0].process.kill()
    assert "[DONE]" not in list(dying)
    assert list(living)[-1] == "[DONE]"
    for session in SESSIONS:
        assert list(ask(setup, session, max_tokens=1))[-1] == "[DONE]"


def test_a_replica_that_drains_loses_nothing(setup: Setup) -> None:
    at = {home(setup, session): session for session in SESSIONS}
    drained = ask(setup, at[0], STORY, max_tokens=200)
    next(iter(drained))
    ends: list[object] = []

    def go_on(session: str) -> None:
        for _ in range(5):
            ends.append(list(ask(setup, session, max_tokens=2))[-1])

    chats = [threading.Thread(target=go_on, args=(session,)) for session in SESSIONS[:6]]
    for chat in chats:
        chat.start()
    setup.servers[0].process.send_signal(signal.SIGTERM)
    for chat in chats:
        chat.join()
    assert ends == ["[DONE]"] * 30
    assert list(drained)[-1] == "[DONE]"
    assert setup.servers[0].wait() == 0
