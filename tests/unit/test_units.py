from __future__ import annotations

from llamachat.core.units import counted


def test_one_of_a_thing_is_not_many() -> None:
    assert [counted(n, "message") for n in range(3)] == ["0 messages", "1 message", "2 messages"]
