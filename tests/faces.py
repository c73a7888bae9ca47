"""A face without a terminal: what a page or a function call would be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llamachat.core.events import Event, TextDelta


class Recorder:
    """Collects what is shown and told; says `consents` to every question; stops after `enough` pieces."""

    commands = True

    def __init__(self, *, consents: bool = False, enough: int | None = None) -> None:
        self.events: list[Event] = []
        self.told: list[str] = []
        self.asked: list[str] = []
        self.consents = consents
        self._enough = enough
        self._stop: Callable[[], None] = lambda: None

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @contextmanager
    def answer(self, stop: Callable[[], None]) -> Iterator[Recorder]:
        self.events.clear()
        self._stop = stop
        yield self

    def show(self, event: Event) -> None:
        self.events.append(event)
        if self._enough is not None and len(self.events) >= self._enough:
            self._stop()

    def tell(self, text: str) -> None:
        self.told.append(text)

    def ask(self, question: str) -> bool:
        self.asked.append(question)
        return self.consents
