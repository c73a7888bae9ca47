"""The history of what was typed: a file that only the user reads, to which several chats append."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory


class PrivateFileHistory(FileHistory):
    """prompt_toolkit's file format; each entry is one write, so that two chats don't mix theirs.

    `unfold` makes the text to be kept of what was typed.
    """

    def __init__(self, path: Path, unfold: Callable[[str], str]) -> None:
        super().__init__(path)
        self._unfold = unfold

    def store_string(self, string: str) -> None:
        lines = "".join(f"+{line}\n" for line in self._unfold(string).split("\n"))
        entry = f"\n# {datetime.now()}\n{lines}".encode("utf-8", "replace")
        # A full disk takes the history, not the chat.
        with suppress(OSError):
            file = os.open(self.filename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, entry)
            finally:
                os.close(file)


def open_history(path: Path | None, unfold: Callable[[str], str]) -> History:
    """The history at `path`, made if it is missing; one in memory for None or if it can't be used."""
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError:
        return InMemoryHistory()
    return PrivateFileHistory(path, unfold)
