"""Tell `<think>…</think>` at the start of an answer from the answer itself, while it streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from llamachat.core.events import TextDelta, ThinkingDelta

Think = Literal["fold", "show", "hide"]
"""What is shown of it: one line, all, or nothing."""

OPEN, CLOSE = "<think>", "</think>"


class ThinkingSplitter:
    """Feed it text as it comes; a tag may be cut anywhere between two pieces."""

    def __init__(self) -> None:
        self._state = "start"
        self._held = ""

    def feed(self, text: str) -> Iterator[TextDelta | ThinkingDelta]:
        self._held += text
        if self._state == "start":
            self._look_for_open()
        if self._state == "thinking":
            yield from self._think()
        if self._state == "after":
            self._held = self._held.lstrip()
            self._state = "text" if self._held else "after"
        if self._state == "text" and self._held:
            yield TextDelta(self._held)
            self._held = ""

    def finish(self) -> Iterator[TextDelta | ThinkingDelta]:
        """What was held back in case it became a tag."""
        held, self._held = self._held, ""
        if held and self._state == "thinking":
            yield ThinkingDelta(held)
        elif held and self._state != "after":
            yield TextDelta(held)

    def _look_for_open(self) -> None:
        start = self._held.lstrip()
        if start.startswith(OPEN):
            self._state, self._held = "thinking", start[len(OPEN) :]
        elif not OPEN.startswith(start):
            self._state = "text"

    def _think(self) -> Iterator[ThinkingDelta]:
        inside, tag, rest = self._held.partition(CLOSE)
        if tag:
            self._state, self._held = "after", rest
        else:
            keep = next((n for n in range(len(CLOSE) - 1, 0, -1) if inside.endswith(CLOSE[:n])), 0)
            inside, self._held = inside[: len(inside) - keep], inside[len(inside) - keep :]
        if inside:
            yield ThinkingDelta(inside)
