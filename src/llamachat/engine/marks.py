"""Random marks in messages, put there before the template is rendered and gone before the prompt is read.

**Text stays text.** The library reads the whole rendered prompt with control tokens on, so a pasted
`<|eot_id|>` would end the turn, and what follows could open another role (ggml-org/llama.cpp #11270 warns of
this). Here a mark breaks such spellings; only the stretches of text that hold a mark are read with control
tokens off. A prompt without such spellings is read as the library reads it.

**A message goes on** (`continue_final_message`, as vLLM calls it; llama-server does it unasked). The template
would close the last message and open another. Here a mark is put at its end, and what the template sets
behind the mark is cut off.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

SPACES = b" \t\n\v\f\r"
MARK = secrets.token_hex(16)
END_MARK = secrets.token_hex(16)
"""Both are drawn once, not by whoever comes first: two that come at once would draw two and mix them up."""


def leave_open(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same messages, of which the last one is marked to go on."""
    last = messages[-1]
    return [*messages[:-1], {**last, "content": f"{last['content']}{END_MARK}"}]


def cut_at_end(prompt: bytes) -> bytes:
    return prompt.partition(END_MARK.encode())[0]


class Marks:
    """`strips_left` and `strips_right`: control tokens that swallow the spaces beside them."""

    def __init__(self, control: Mapping[str, int], strips_left: int, strips_right: int) -> None:
        self._attributes = {text.encode(): attributes for text, attributes in control.items()}
        self._strips_left, self._strips_right = strips_left, strips_right
        longest_first = sorted(control, key=len, reverse=True)
        pattern = "|".join(map(re.escape, longest_first)) or r"(?!)"
        self._text = re.compile(pattern)
        self._bytes = re.compile(b"(" + pattern.encode() + b")")
        self.mark = MARK

    def are_in(self, prompt: bytes) -> bool:
        return self.mark.encode() in prompt

    def put(self, value: Any, key: str = "") -> Any:
        """The same messages with every spelling of a control token broken, except in roles."""
        if isinstance(value, str):
            return value if key in ("role", "type") else self._text.sub(self._broken, value)
        if isinstance(value, list):
            return [self.put(item) for item in value]
        if isinstance(value, dict):
            return {name: self.put(item, name) for name, item in value.items()}
        return value

    def _broken(self, match: re.Match[str]) -> str:
        return match[0][0] + self.mark + match[0][1:]

    def split(self, prompt: bytes) -> Iterator[tuple[bytes, bool]]:
        """The prompt in stretches, each with whether it is text alone; the marks are gone."""
        mark, stock = self.mark.encode(), b""
        parts = self._bytes.split(prompt)
        for index, part in enumerate(parts):
            if mark not in part:
                stock += part
                continue
            if stock:
                yield stock, False
                stock = b""
            text = part.replace(mark, b"")
            if index and self._attributes[parts[index - 1]] & self._strips_right:
                text = text.lstrip(SPACES)
            if index + 1 < len(parts) and self._attributes[parts[index + 1]] & self._strips_left:
                text = text.rstrip(SPACES)
            yield text, True
        if stock:
            yield stock, False
