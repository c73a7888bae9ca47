"""What the launcher tells the engine: to drain, and, by its own end, to exit: no orphan keeps the port."""

from __future__ import annotations

import os
import signal
import sys
import threading

from llamachat.core import shutdown
from llamachat.core.engine_options import EngineOptions

draining = threading.Event()
"""Set once the launcher wrote to the pipe: refuse new requests, and finish those that are there."""


def watch(options: EngineOptions) -> None:
    """Watch stdin, a pipe whose other end only the launcher holds: the system closes it with the launcher."""
    if options.parent_pid is not None:
        threading.Thread(target=_watch, args=(sys.stdin.fileno(),), name="parent-watch", daemon=True).start()


def _watch(pipe: int) -> None:
    while os.read(pipe, 1024):
        draining.set()
    # The server may be deep in a long prompt, which no signal handler interrupts.
    threading.Timer(shutdown.ENGINE, os._exit, args=(0,)).start()
    signal.raise_signal(signal.SIGTERM)
