"""The API key, kept out of what `ps` shows to everybody."""

from __future__ import annotations

import os
import sys

KEY_VARIABLE = "LLAMACHAT_API_KEY"
_FLAGS = ("--api-key", "--api_key")


def hide_key(key: str) -> None:
    """Become the same command with the key in the environment, where `ps` does not show it."""
    line = [sys.executable]
    parts = iter(sys.orig_argv[1:])
    for part in parts:
        if part in _FLAGS:
            next(parts, None)
        elif not part.startswith(tuple(f"{flag}=" for flag in _FLAGS)):
            line.append(part)
    if len(line) < len(sys.orig_argv):
        os.execve(sys.executable, line, {**os.environ, KEY_VARIABLE: key})
