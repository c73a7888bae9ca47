"""Real processes for tests: start, wait until ready, stop. Polls with deadlines, never sleeps blindly."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil

ROOT = Path(__file__).parent.parent
DEADLINE = 120.0
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def wait_for(condition: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    """Poll until `condition()`; fail naming `what` after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline:.0f} s"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_env(home: Path, **extra: str) -> dict[str, str]:
    """This environment with llamachat's folders under `home`, without proxies and stray settings."""
    # The size of the terminal that runs the tests is not that of the terminals that they open.
    dropped = ("LLAMACHAT_", "OPENAI_", "COLUMNS", "LINES", "COLORFGBG")
    env = {k: v for k, v in os.environ.items() if not k.startswith(dropped) and k.lower() not in PROXIES}
    folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE", "STATE")}
    models = str(home / "data" / "llamachat" / "models")  # and not those of the checkout
    return env | folders | {"PYTHONUTF8": "1", "LLAMACHAT_FOLDER": models} | extra


def llamachat(
    *args: str, env: Mapping[str, str], cwd: Path, piped: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself; `piped` is its stdin."""
    command = [sys.executable, "-m", "llamachat", *args]
    return subprocess.run(
        command,
        env=dict(env),
        cwd=cwd,
        input=piped,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )


class ServerProcess:
    """`llamachat serve` on a free port; `stdout()` and `stderr()` are what it wrote so far."""

    def __init__(
        self,
        *args: str,
        env: Mapping[str, str],
        cwd: Path,
        api_key: str | None = None,
        prefix: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self.api_key = api_key
        self._folder = tempfile.TemporaryDirectory(prefix="serve")
        self._out = Path(self._folder.name) / "stdout"
        self._err = Path(self._folder.name) / "stderr"
        command = prefix or [sys.executable, "-m", "llamachat", "serve"]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *args],
                env=dict(env) | ({"LLAMACHAT_API_KEY": api_key} if api_key else {}),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()

    def stdout(self) -> str:
        return self._out.read_text(encoding="utf-8", errors="replace")

    def stderr(self) -> str:
        return self._err.read_text(encoding="utf-8", errors="replace")

    def wait_until_ready(self) -> ServerProcess:
        wait_for(lambda: "Ready at" in self.stdout() or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.stderr()
        found = re.search(r"OPENAI_API_KEY=(\S+)", self.stdout())
        assert found, self.stdout()
        self.api_key = found[1]
        return self

    def wait_until_listening(self) -> ServerProcess:
        """For a server of another program, which does not say when it is ready."""
        wait_for(lambda: self._answers() or self.process.poll() is not None, "listening")
        assert self.process.poll() is None, self.stderr()
        return self

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", "/health")
            return connection.getresponse().status != 503
        return False

    def child(self) -> psutil.Process:
        """The process that runs `llama_cpp.server`."""
        (child,) = psutil.Process(self.process.pid).children()
        return child

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, unless it has ended, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
