"""Starts the child, waits for it, restarts it if it dies, and stops it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType

from llamachat.errors import AddressError, ServerError
from llamachat.language import _
from llamachat.server.child import Child
from llamachat.server.readiness import (
    POLL_SECONDS,
    Endpoint,
    is_drained,
    listens,
    wait_until_ready,
)

MOST_RESTARTS = 3
RESTART_WINDOW = 60.0


class Signals:
    """While `caught`, stop signals like Ctrl-C are only noted: in `received`, a second one in `again`."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.again = False

    @contextlib.contextmanager
    def caught(self) -> Iterator[Signals]:
        before = {number: signal.signal(number, self._note) for number in stop_signals()}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def interrupted(self) -> bool:
        return self.received == signal.SIGINT

    @contextlib.contextmanager
    def given_back(self) -> Iterator[None]:
        """While entered, Ctrl-C raises KeyboardInterrupt again, and any other stop signal SystemExit."""
        before = {number: signal.getsignal(number) for number in stop_signals()}
        for number in before:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else _leave)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.again = self.received is not None
        self.received = self.received or number


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _ignore(text: str) -> None:
    pass


def stop_signals() -> tuple[int, ...]:
    """SIGINT, SIGTERM, and this system's signal for a closed terminal, unless `nohup` ignores it."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = tuple(getattr(signal, name) for name in names if hasattr(signal, name))
    ignored = getattr(signal, "SIGHUP", None)
    return tuple(n for n in numbers if n != ignored or signal.getsignal(n) != signal.SIG_IGN)


class Supervisor:
    """Owns the child while entered. `say` gets one line for each restart.

    `launch` is told how often it was called before.
    """

    def __init__(
        self, launch: Callable[[int], Child], endpoint: Endpoint, say: Callable[[str], None]
    ) -> None:
        self._launch = launch
        self._endpoint = endpoint
        self._say = say
        self._restarts: deque[float] = deque()
        self._launched = 0
        self._silent = False
        self.child: Child | None = None

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child is not None:
            self.child.stop()

    def silence(self) -> None:
        """Write nothing from now on, not even a log: a chat uses the terminal."""
        self._silent = True
        self._say = _ignore
        if self.child is not None:
            self.child.silence()

    def start(self, tick: Callable[[Child], bool]) -> bool:
        """Start the child and wait for its first token; False as soon as `tick` is."""
        child = self.child = self._launch(self._launched)
        self._launched += 1
        if self._silent:
            child.silence()
        return wait_until_ready(child, self._endpoint, lambda: tick(child))

    def watch(self, stopped: Callable[[], bool]) -> None:
        """Keep the child alive until `stopped()`. Raises ServerError if it dies too often."""
        while not stopped():
            if self.child is not None and not self.child.alive:
                why = self.child.cause_of_death()
                self.child.stop()
                self._restart(why, stopped)
            time.sleep(POLL_SECONDS)

    def drain(self, seconds: float, hurried: Callable[[], bool]) -> None:
        """Let running requests finish, for at most `seconds`, while new ones are refused."""
        if self.child is None or not self.child.alive:
            return
        self.child.drain()
        deadline = time.monotonic() + seconds
        told = False
        while not is_drained(self._endpoint) and time.monotonic() < deadline and not hurried():
            if not told:
                self._say(
                    _(
                        "Stopping: running requests have {seconds:g} s to finish, new ones are refused."
                    ).format(seconds=seconds)
                )
                told = True
            time.sleep(POLL_SECONDS)

    def _restart(self, why: str, stopped: Callable[[], bool]) -> None:
        while not stopped():
            self._count_restart(why)
            self._say(_("The server died: {why}. Restarting it.").format(why=why))
            try:
                if self.start(lambda _: not stopped()):
                    self._say(_("The server is back."))
                return
            except (ServerError, AddressError) as error:
                why = error.message.rstrip(".")
                if self.child is not None:
                    self.child.stop()
                if isinstance(error, AddressError):
                    self._say(_("{message} Waiting for it to be free.").format(message=error.message))
                    self._wait_for_port(stopped)

    def _wait_for_port(self, stopped: Callable[[], bool]) -> None:
        """Another program took it while the child was down."""
        while listens(self._endpoint) and not stopped():
            time.sleep(POLL_SECONDS)

    def _count_restart(self, why: str) -> None:
        now = time.monotonic()
        while self._restarts and now - self._restarts[0] > RESTART_WINDOW:
            self._restarts.popleft()
        if len(self._restarts) >= MOST_RESTARTS:
            raise ServerError(
                _("The server died {count} times within a minute, the last time: {why}.").format(
                    count=MOST_RESTARTS + 1, why=why
                ),
                _("--verbose shows its log."),
            )
        self._restarts.append(now)
