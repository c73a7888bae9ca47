"""A server of one's own, for a program that finds none: started, waited for, and ended with it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from types import TracebackType

from llamachat.errors import ExitStatus, LlamachatError, ModelError, ServerError, UsageError
from llamachat.language import _

_READY = re.compile(r"^Ready at (?P<url>\S+)")
_KEY = re.compile(r"OPENAI_API_KEY=(?P<key>\S+)")
_STOP_SECONDS = 10.0


class OwnServer:
    """`llamachat serve` as a child; `base_url` and `api_key` are known once it is entered.

    `keep` leaves it running. Raises the LlamachatError that `serve` ended with.
    """

    def __init__(self, *arguments: str, keep: bool = False) -> None:
        self._arguments, self._keep = arguments, keep
        self.base_url = self.api_key = ""

    def __enter__(self) -> OwnServer:
        # A file, not a pipe: a server that is kept can go on writing when nobody reads.
        self._messages = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "llamachat", "serve", *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=os.name == "posix",
        )
        assert self._process.stdout
        try:
            line = next((line for line in self._process.stdout if _READY.match(line)), "")
        except BaseException:
            self._end()
            raise
        if not line:
            status = self._process.wait()
            self._messages.seek(0)
            said = self._messages.readlines()
            self._close()
            raise _error(status, said)
        ready, key = _READY.match(line), _KEY.search(line)
        assert ready
        self.base_url, self.api_key = ready["url"], key["key"] if key else "not-needed"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keep:
            self._close()
        else:
            self._end()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        self._messages.close()
        if self._process.stdout:
            self._process.stdout.close()


def _error(status: int, said: list[str]) -> LlamachatError:
    """What `serve` said last, with its exit status."""
    line = next((text for text in reversed(said) if text.startswith("llamachat: ")), "")
    message = line.removeprefix("llamachat: ").strip() or _("The server ended with status {status}.").format(
        status=status
    )
    kinds: dict[int, type[LlamachatError]] = {ExitStatus.MODEL: ModelError, ExitStatus.USAGE: UsageError}
    return kinds.get(status, ServerError)(message)


@contextlib.contextmanager
def serve(model: str | None = None, **options: object) -> Iterator[OwnServer]:
    """A server on `model`; `options` are those of `llamachat serve` (`n_ctx=4096`)."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
    with OwnServer("--port=0", *([f"--model={model}"] if model else []), *flags) as server:
        yield server
