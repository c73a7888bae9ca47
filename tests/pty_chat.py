"""`llamachat chat` in a real pty, with a screen that shows what a person would see."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable, Sequence

import pexpect
import pyte

PATIENCE = 120.0
"""Seconds for what takes a moment; a busy machine is not a failure."""


class Chat:
    """`llamachat chat`, or another command, in a pty.

    `raw` is every byte it wrote, `screen` what is to be seen of them.
    """

    def __init__(
        self,
        arguments: list[str],
        env: dict[str, str],
        columns: int = 80,
        rows: int = 24,
        command: Sequence[str] = (sys.executable, "-m", "llamachat", "chat"),
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=2000)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.process = pexpect.spawn(
            command[0],
            [*command[1:], *arguments],
            env=env,
            dimensions=(rows, columns),
            timeout=PATIENCE,
        )
        self.process.delaybeforesend = None

    def type(self, text: str) -> None:
        self.process.send(text)

    def enter(self, text: str = "") -> None:
        self.type(text + "\r")

    def pump(self, seconds: float = 0.05) -> None:
        """Read what has come, for at most so long."""
        try:
            data = self.process.read_nonblocking(65536, timeout=seconds)
        except pexpect.TIMEOUT:
            return
        self.raw += data
        self._stream.feed(data)
        # A prompt asks where the cursor is, as it does of a real terminal.
        for _ in range(data.count(b"\x1b[6n")):
            self.process.send(f"\x1b[{self.screen.cursor.y + 1};{self.screen.cursor.x + 1}R")

    def until(self, met: Callable[[], bool], what: str = "it") -> None:
        deadline = time.monotonic() + PATIENCE
        while not met():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited for {what}; the screen was:\n{self.text}\n{self.raw[-600:]!r}")
            try:
                self.pump()
            except pexpect.EOF:
                assert met(), f"ended before {what}; the screen was:\n{self.text}"
                return

    def see(self, text: str) -> None:
        self.until(lambda: text in self.text, repr(text))

    def prompt(self, draft: str = "") -> None:
        """The prompt is up, with `draft` in it and at most the window's status beside it."""
        line = re.compile(rf"{re.escape(f'> {draft}'.rstrip())}(\s+\d+/\d+)?")
        self.until(lambda: line.fullmatch(self.last_line) is not None, f"a prompt with {draft!r}")

    def ask(self, text: str) -> None:
        self.prompt()
        self.enter(text)

    @property
    def lines(self) -> list[str]:
        """The lines above and on the screen, without blanks at their ends."""
        above = ["".join(row[x].data for x in range(self.screen.columns)) for row in self.screen.history.top]
        return [line.rstrip() for line in [*above, *self.screen.display]]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()

    @property
    def last_line(self) -> str:
        return self.text.rsplit("\n", 1)[-1]

    def resize(self, columns: int, rows: int = 24) -> None:
        self.screen.resize(rows, columns)
        self.process.setwinsize(rows, columns)

    def wait(self) -> int:
        """Read to the end; the exit status, negative for a signal."""
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                self.pump()
            raise AssertionError(f"waited for the end; the screen was:\n{self.text}")
        except pexpect.EOF:
            pass
        self.process.close()
        if self.process.signalstatus is not None:
            return -int(self.process.signalstatus)
        return int(self.process.exitstatus)

    def kill(self) -> None:
        if self.process.isalive():
            self.process.kill(signal.SIGKILL)
        self.process.close()
