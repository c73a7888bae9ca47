"""The progress bar of a download."""

from __future__ import annotations

from types import TracebackType

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from llamachat.cli import console
from llamachat.cli.progress import Watch, say_how_to_continue

RATE_OVER = 30.0  # seconds that the rate is averaged over


class _Shrinking(TextColumn):
    """Shrinks if the line is too short, and ends with an ellipsis instead of wrapping."""

    def __init__(self, text: str, style: str = "none") -> None:
        super().__init__(text, style, markup=False, table_column=Column())

    def render(self, task: Task) -> Text:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


class Bar(Watch):
    """Percent, bytes, rate and time left on one line; connection losses as a count with the last reason."""

    def __init__(self) -> None:
        self._progress = Progress(
            _Shrinking("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            DownloadColumn(table_column=Column(no_wrap=True)),
            TransferSpeedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            _Shrinking("{task.fields[losses]}", "dim"),
            console=console.stderr(),
            speed_estimate_period=RATE_OVER,
        )
        self._task: TaskID | None = None
        self._losses = 0

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        say_how_to_continue(kind)

    def started(self, name: str, size: int, have: int) -> None:
        self._task = self._progress.add_task(shorten(name), total=size, completed=have, losses="")

    def advanced(self, n_bytes: int) -> None:
        if self._task is not None:
            self._progress.advance(self._task, n_bytes)

    def lost(self, reason: str) -> None:
        self._losses += 1
        if self._task is not None:
            self._progress.update(self._task, losses=f"{self._losses}× {reason}")

    def noted(self, text: str) -> None:
        self._progress.console.print(text, markup=False)


def shorten(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:14]}…{name[-17:]}"
