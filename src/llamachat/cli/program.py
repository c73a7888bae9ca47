"""The program: runs one subcommand inside the one error boundary."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence

from llamachat.cli import console
from llamachat.cli.parser import parse
from llamachat.errors import ExitStatus, LlamachatError
from llamachat.language import _, reason


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status; every expected error ends as one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a letter shows a question mark
    try:
        return _run(arguments)
    except LlamachatError as error:
        console.report(error)
        return error.exit_status
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except OSError as error:
        full = error.errno == errno.ENOSPC
        if not full and not isinstance(error, BrokenPipeError):
            raise
        # Our output is no longer read; without this the interpreter complains on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if full:
            console.report(_("{message}.").format(message=reason(error)))
        return ExitStatus.ERROR


def _run(arguments: Sequence[str]) -> int:
    try:
        command, args = parse(arguments)
    except SystemExit as stop:  # after --help or --version
        return int(stop.code or 0)
    return int(importlib.import_module(command.module).run(args)) if command else ExitStatus.OK


def _open_missing_streams() -> None:
    """Replace a missing stdin, stdout or stderr by an empty one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
