"""What a terminal is opened with."""

from __future__ import annotations

from dataclasses import dataclass

from llamachat.core.thinking import Think


@dataclass(frozen=True, slots=True)
class DisplayOptions:
    """How answers are drawn: `color` and `markdown` are decided, no longer `auto`."""

    color: bool
    markdown: bool
    think: Think = "fold"


@dataclass(frozen=True, slots=True)
class CommandHint:
    """A slash command for completion: its name without the slash, what it takes, what it does."""

    name: str
    arguments: str
    summary: str
    values: tuple[str, ...] = ()
