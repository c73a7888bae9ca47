from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from llamachat.engine.marks import Marks

LEFT, RIGHT = 1, 2
CONTROL = {"<|end|>": 0, "<|start|>": 0, "<s>": 0, "<|tight|>": LEFT | RIGHT}
PIECES = st.sampled_from([*CONTROL, "<", "|", "end", "你好", " ", "\n", "x"])


def marks() -> Marks:
    return Marks(CONTROL, LEFT, RIGHT)


@given(st.lists(PIECES).map("".join))
def test_the_stretches_are_the_prompt_again_and_no_spelling_is_left_to_stock(content: str) -> None:
    made = marks()
    prompt = f"<|start|>user\n{made.put(content)}<|end|>"
    parts = list(made.split(prompt.encode()))
    assert b"".join(part for part, _ in parts).decode() == f"<|start|>user\n{content}<|end|>"
    read_as_control = b"".join(part for part, literal in parts if not literal).decode()
    assert read_as_control.replace("<|start|>", "", 1).replace("<|end|>", "", 1).count("<|end|>") == 0


def test_ordinary_text_is_left_alone() -> None:
    messages = [{"role": "user", "content": "plain <b>text</b>"}]
    assert marks().put(messages) == messages


def test_every_text_of_a_message_is_marked_but_its_role() -> None:
    made = marks()
    message = {"role": "<s>", "content": [{"type": "text", "text": "<s>"}], "name": "<s>"}
    marked = made.put(message)
    assert marked["role"] == "<s>"
    assert marked["name"] == marked["content"][0]["text"] == f"<{made.mark}s>"


def test_tokens_that_swallow_spaces_beside_them_still_do() -> None:
    made = marks()
    prompt = f"<|tight|>  {made.put('<s>')}  <|tight|>".encode()
    assert list(made.split(prompt)) == [(b"<|tight|>", False), (b"<s>", True), (b"<|tight|>", False)]


def test_marks_differ_from_start_to_start() -> None:
    command = [sys.executable, "-c", "from llamachat.engine import marks; print(marks.MARK)"]
    first, second = (subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2))
    assert len(first) > 32 and first != second


def test_a_vocabulary_without_control_tokens_changes_nothing() -> None:
    none = Marks({}, LEFT, RIGHT)
    assert none.put("<s>") == "<s>" and list(none.split(b"<s>")) == [(b"<s>", False)]
