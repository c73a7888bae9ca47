"""What Ctrl-C does, by real signals to this process."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from llamachat.terminal.tty_state import interrupts_call, interrupts_raise


@pytest.fixture(autouse=True)
def handler_given_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_in_haste_does_not_undo_what_the_first_kept() -> None:
    interrupts_raise()
    called: list[int] = []
    with interrupts_call(lambda: called.append(1)):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    assert called == [1]
    interrupts_raise()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_after_an_answer_that_was_not_stopped_ctrl_c_raises_as_before() -> None:
    interrupts_raise()
    with interrupts_call(lambda: None):
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
