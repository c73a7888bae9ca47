"""The progress bar while a model loads."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from llamachat.cli import console
from llamachat.core.units import size
from llamachat.language import _

if TYPE_CHECKING:
    from rich.progress import Progress


class LoadingBar:
    """A bar on stderr that fills as the weights are loaded; one line if `plain` or without a terminal."""

    def __init__(self, name: str, size: int, *, plain: bool) -> None:
        self._name, self._size = name, size
        self._plain = plain or not sys.stderr.isatty()
        self._progress: Progress | None = None

    def __enter__(self) -> LoadingBar:
        if self._plain:
            console.say(_("Loading {name} ({size}) …").format(name=self._name, size=size(self._size)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()

    def show(self, resident_bytes: int) -> None:
        if self._plain:
            return
        if self._progress is None:
            self._progress = _open(self._name, self._size)
        self._progress.update(self._progress.task_ids[0], completed=min(resident_bytes, self._size))


def _open(name: str, size: int) -> Progress:
    """Imports rich only after the server has been started, so that this costs no extra time."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn(_("Loading {task.description}")),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=console.stderr(),
        transient=True,
    )
    progress.add_task(name, total=size)
    progress.start()
    return progress
