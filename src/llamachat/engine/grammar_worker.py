"""A process that turns jobs into rules: `python -m llamachat.engine.grammar_worker`.

It says that it is ready, then reads jobs from its stdin and writes what became of them, pickled, to its
stdout, each behind its length.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import struct
import sys
from typing import IO

from llamachat.engine.grammar_jobs import compiled

LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], content: bytes) -> None:
    stream.write(LENGTH.pack(len(content)) + content)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """Raises EOFError where the other side has ended."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (length,) = LENGTH.unpack(head)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine ends it
    with contextlib.suppress(EOFError, BrokenPipeError):
        send(sys.stdout.buffer, b"ready")
        while True:
            send(sys.stdout.buffer, pickle.dumps(compiled(receive(sys.stdin.buffer))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
