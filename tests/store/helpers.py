"""What the store's tests share."""

from __future__ import annotations

from llamachat.errors import StoreError


def no_trouble(error: StoreError) -> None:
    """A report that nobody expects."""
    raise error


class Told:
    """Collects what the user would be told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, error: StoreError) -> None:
        self.lines.append(str(error))
