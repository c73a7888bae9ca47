"""While there is nothing to read yet: a spinner with seconds, a bar while the prompt is read, the queue."""

from __future__ import annotations

from typing import IO, cast

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from llamachat.core.events import Progress, Queued, ThinkingDelta
from llamachat.language import _
from llamachat.terminal.screen import Screen

_LEAST_FOR_BAR = 64
"""Tokens to be read below which a bar would only flash."""


class WaitingLine:
    """One line at the bottom that is redrawn in place, and cleared by `stop`."""

    def __init__(self, screen: Screen) -> None:
        console = Console(
            file=cast("IO[str]", screen.stdout),
            force_terminal=True,
            color_system="standard" if screen.color else None,
            no_color=not screen.color,
            legacy_windows=False,
        )
        self._words = WaitingWords()
        self._bars = Bars(
            SpinnerColumn("line"),
            TextColumn("{task.description}", style="dim"),
            _KnownBar(bar_width=max(4, min(24, screen.width - 40))),
            _Seconds(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bars.add_task("waiting", total=None)

    def start(self) -> None:
        self._bars.start()

    def show(self, event: Progress | Queued | ThinkingDelta) -> None:
        words = self._words.of(event)
        if isinstance(event, Progress) and words:
            total, done = event.total - event.cache, event.processed - event.cache
            self._bars.update(self._task, description=words, total=total, completed=done)
        elif words:
            self._bars.update(self._task, description=words, total=None)

    def stop(self) -> None:
        self._bars.stop()


class WaitingWords:
    """What is waited for, in words."""

    def __init__(self) -> None:
        self._thought = 0

    def of(self, event: Progress | Queued | ThinkingDelta) -> str:
        """Empty if it is not worth saying."""
        if isinstance(event, Queued):
            ahead = _(", {position} ahead").format(position=event.position) if event.position else ""
            return _("waiting in the queue") + ahead
        if isinstance(event, ThinkingDelta):
            self._thought += 1
            return _("thinking, {thought} tokens").format(thought=self._thought)
        if event.total - event.cache < _LEAST_FOR_BAR:
            return ""
        return _("reading {processed}/{total} tokens").format(
            processed=event.processed - event.cache, total=event.total - event.cache
        )


class _KnownBar(BarColumn):
    """A bar only if the end is known."""

    def render(self, task: Task) -> Text:  # type: ignore[override]
        return Text("") if task.total is None else super().render(task)  # type: ignore[return-value]


class _Seconds(ProgressColumn):
    max_refresh = 0.1

    def render(self, task: Task) -> Text:
        return Text(f"{task.elapsed or 0:.0f} s", style="dim")
