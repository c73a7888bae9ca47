from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llamachat.core.events import TextDelta, ThinkingDelta
from llamachat.core.thinking import ThinkingSplitter


def split(pieces: list[str]) -> tuple[str, str]:
    """Thinking and text."""
    splitter = ThinkingSplitter()
    events = [event for piece in pieces for event in splitter.feed(piece)]
    events += splitter.finish()
    thought = "".join(e.text for e in events if isinstance(e, ThinkingDelta))
    return thought, "".join(e.text for e in events if isinstance(e, TextDelta))


@given(st.integers(min_value=1, max_value=9))
def test_thinking_is_told_from_text_however_the_tags_are_cut(size: int) -> None:
    for text, expected in (
        ("<think>a < b\n</think>\n\nyes", ("a < b\n", "yes")),
        ("\n<think>never closed", ("never closed", "")),
        ("no <think>tag</think> at the start", ("", "no <think>tag</think> at the start")),
        ("<thin", ("", "<thin")),
        ("<think></think>x", ("", "x")),
        ("", ("", "")),
    ):
        assert split([text[i : i + size] for i in range(0, len(text), size)]) == expected
