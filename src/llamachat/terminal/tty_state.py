"""The state of the tty during a chat, and its restoration however the chat ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import TextIO

RESTORE = "\033[0m\033[?25h\033[?2004l"
"""Colours off, cursor shown, bracketed paste off."""


@contextmanager
def guarded(stdin: TextIO, stdout: TextIO, color_again: Callable[[], str]) -> Iterator[None]:
    """Keep typed-ahead input for the next prompt without echoing it, and restore everything at the end.

    SIGTERM, SIGHUP and SIGQUIT become SystemExit, so that they end here too. After a suspension
    `color_again` returns the sequence of the colour that was on.
    """
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        stack.callback(_write, stdout, RESTORE)
        if sys.platform == "win32":
            stack.enter_context(_windows_console())
        else:
            stack.enter_context(_quiet_input(stdin, stdout, color_again))
        stack.enter_context(exits_call(_raise))
        yield


@contextmanager
def interrupts_call(on_interrupt: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C calls `on_interrupt` instead of raising somewhere in the middle of drawing.

    After the first, further ones do nothing until the next prompt: pressed twice, it still means this answer,
    which is to be kept.
    """
    pressed = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        on_interrupt()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _ignore if pressed else before)


def interrupts_raise() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupts_pass() -> None:
    """From now on Ctrl-C does nothing, unless it is a key that a prompt reads."""
    signal.signal(signal.SIGINT, _ignore)


def _ignore(number: int, frame: FrameType | None) -> None:
    pass


@contextmanager
def _handler(number: signal.Signals, handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, before)


def _raise(error: SystemExit) -> None:
    raise error


@contextmanager
def exits_call(leave: Callable[[SystemExit], None]) -> Iterator[None]:
    """A signal that ends the chat calls `leave` with what it means: an event loop may not let it through."""

    def handle(number: int, frame: FrameType | None) -> None:
        leave(SystemExit(128 + number))

    with ExitStack() as stack:
        for name in ("SIGTERM", "SIGHUP", "SIGQUIT"):
            if hasattr(signal, name):
                stack.enter_context(_handler(signal.Signals[name], handle))
        yield


def _write(stdout: TextIO, text: str) -> None:
    """Write and flush; on the way out a terminal that is gone is not an error."""
    with suppress(OSError, ValueError):
        stdout.write(text)
        stdout.flush()


if sys.platform != "win32":
    import termios

    @contextmanager
    def _quiet_input(stdin: TextIO, stdout: TextIO, color_again: Callable[[], str]) -> Iterator[None]:
        fd = stdin.fileno()
        before = termios.tcgetattr(fd)
        quiet = termios.tcgetattr(fd)
        # Without ICRNL a typed-ahead Enter is still an Enter when the prompt reads it, not Ctrl-J.
        quiet[0] &= ~termios.ICRNL
        quiet[3] &= ~(termios.ECHO | termios.ICANON)
        # Otherwise Ctrl-C during an answer discards what was typed ahead.
        quiet[3] |= termios.NOFLSH

        def suspend(number: int, frame: FrameType | None) -> None:
            now = termios.tcgetattr(fd)
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
            _write(stdout, RESTORE)
            os.kill(os.getpid(), signal.SIGSTOP)
            termios.tcsetattr(fd, termios.TCSADRAIN, now)
            _write(stdout, color_again())

        termios.tcsetattr(fd, termios.TCSADRAIN, quiet)
        try:
            with _handler(signal.SIGTSTP, suspend):
                yield
        finally:
            with suppress(termios.error):
                termios.tcsetattr(fd, termios.TCSADRAIN, before)


if sys.platform == "win32":
    import ctypes

    _STDOUT, _UTF8, _VT = -11, 65001, 0x0004

    @contextmanager
    def _windows_console() -> Iterator[None]:
        kernel = ctypes.windll.kernel32
        handle = kernel.GetStdHandle(_STDOUT)
        mode = ctypes.c_uint32()
        has_mode = kernel.GetConsoleMode(handle, ctypes.byref(mode))
        code_page = kernel.GetConsoleOutputCP()
        kernel.SetConsoleOutputCP(_UTF8)
        if has_mode:
            kernel.SetConsoleMode(handle, mode.value | _VT)
        try:
            yield
        finally:
            kernel.SetConsoleOutputCP(code_page)
            if has_mode:
                kernel.SetConsoleMode(handle, mode.value)
