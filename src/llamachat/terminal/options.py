"""What a terminal is opened with."""

from __future__ import annotations

from dataclasses import dataclass

from llamachat.core.thinking import Think
from llamachat.terminal.theme import DARK, Theme


@dataclass(frozen=True, slots=True)
class DisplayOptions:
    """How answers are drawn: all is decided, nothing still `auto`."""

    color: bool
    markdown: bool
    think: Think = "fold"
    theme: Theme = DARK


@dataclass(frozen=True, slots=True)
class CommandHint:
    """A slash command for completion: its name without the slash, what it takes, what it does."""

    name: str
    arguments: str
    summary: str
    values: tuple[str, ...] = ()
