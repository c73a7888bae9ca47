"""What one sees while a model loads."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn


class LoadingBar:
    """A bar on stderr that fills as the weights come into memory; one line where `plain`, or no terminal."""

    def __init__(self, name: str, size: int, *, plain: bool) -> None:
        console = Console(stderr=True)
        plain = plain or not console.is_terminal
        self._size = size
        self._progress = Progress(
            TextColumn("Loading {task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=plain,
        )
        self._task = self._progress.add_task(name, total=size)
        if plain:
            console.print(f"Loading {name} ({size / 1e6:,.0f} MB) …", highlight=False, soft_wrap=True)

    def __enter__(self) -> LoadingBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, resident_bytes: int) -> None:
        self._progress.update(self._task, completed=min(resident_bytes, self._size))
