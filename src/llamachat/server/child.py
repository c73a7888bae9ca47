"""The child process: its own session, its log, its end by a signal and then by force."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import psutil

from llamachat.core import shutdown
from llamachat.server import cause

LOG_LINES = 500
DRAIN_SECONDS = 1.0
"""To read the end of its log after it has ended."""

# With `--plain` nothing watches the parent. Linux can signal a child when its parent dies: this asks for
# that and then becomes the command. macOS and Windows have nothing that works for a plain command.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    raise SystemExit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Child:
    """One run of the server. `echo` gets the lines of its log; `watched`: the engine watches our pipe."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        watched: bool,
        echo: Callable[[str], None] | None = None,
    ) -> None:
        if not watched and sys.platform == "linux":
            command = [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._echo = echo
        self._process = subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._reader = threading.Thread(target=self._read_log, name="server-log", daemon=True)
        self._reader.start()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def resident_bytes(self) -> int:
        """Its resident memory; 0 if that can't be read."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def listens_on(self, port: int) -> bool:
        """Whether it listens on `port`; True if the system doesn't tell."""
        try:
            process = psutil.Process(self.pid)  # on Windows a venv's python.exe starts another one
            connections = [
                c for p in (process, *process.children(recursive=True)) for c in p.net_connections("tcp")
            ]
        except psutil.AccessDenied:
            return True
        except psutil.Error:
            return False
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)

    def cause_of_death(self) -> str:
        """Why it ended; call this only when it has."""
        self._reader.join(timeout=2)
        return cause.explain(self._process.wait(), tuple(self._log))

    def dies_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def silence(self) -> None:
        """Stop echoing the log."""
        self._echo = None

    def drain(self) -> None:
        """Have it refuse new requests from now on; the bare server doesn't know how."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(b"drain\n")
            self._process.stdin.flush()

    def stop(self) -> None:
        """Ask it to end, and kill it if it doesn't; release its pipes and threads."""
        if self.alive:
            self._process.terminate() if os.name == "posix" else self._interrupt()
        stdin = self._process.stdin
        if stdin is not None:
            with contextlib.suppress(OSError):
                stdin.close()
        try:
            self._process.wait(shutdown.LAUNCHER)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(DRAIN_SECONDS)

    def _interrupt(self) -> None:
        """Ctrl-Break is how Windows asks a process to end."""
        with contextlib.suppress(OSError):
            self._process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))

    def _read_log(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip()
                self._log.append(line)
                try:
                    if self._echo:
                        self._echo(line)
                except OSError:  # the log is no longer read, and the child must not block on a full pipe
                    self._echo = None
