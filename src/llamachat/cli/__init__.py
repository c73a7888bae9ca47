"""The command line: a parser, a table of subcommands, and the one error boundary.

Each subcommand is a module of this package with `add_arguments(parser)` and `run(args) -> int`. It is
imported only when it is the one that was asked for, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from llamachat import __version__
from llamachat.errors import ExitStatus, LlamachatError, UsageError


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    summary: str
    module: str
    takes_rest: bool = False  # what stands behind `--` is handed on as args.rest


COMMANDS = (
    Command("serve", "run the server on a GGUF model", "llamachat.cli.serve", takes_rest=True),
    Command("chat", "talk to a running server", "llamachat.cli.chat"),
    Command("pull", "fetch a model that fits this computer", "llamachat.cli.pull"),
    Command("models", "list, show, verify, remove and explain models", "llamachat.cli.models"),
    Command("doctor", "check this computer, the engine and the network", "llamachat.cli.doctor"),
    Command("history", "find, show, export and remove what was said", "llamachat.cli.history"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status; every expected error ends as one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter shows a question mark
    try:
        return _run(arguments)
    except LlamachatError as error:
        print(f"llamachat: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except OSError as error:
        full = error.errno == errno.ENOSPC
        if not full and not isinstance(error, BrokenPipeError):
            raise
        # Nobody takes our output any more; without this the interpreter complains while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if full:
            print(f"llamachat: {error.strerror}.", file=sys.stderr)  # noqa: T201
        return ExitStatus.ERROR


def _open_missing_streams() -> None:
    """Give what was started without a stdin, stdout or stderr an empty one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _run(arguments: Sequence[str]) -> int:
    chosen = next((c for c in COMMANDS if arguments and c.name == arguments[0]), None)
    rest: list[str] = []
    if chosen is not None and chosen.takes_rest and "--" in arguments:
        split = list(arguments).index("--")
        arguments, rest = arguments[:split], [*arguments[split + 1 :]]
    parser = build_parser(chosen)
    try:
        args, unknown = parser.parse_known_args(arguments, argparse.Namespace(rest=rest))
    except SystemExit as stop:  # after --help or --version
        return int(stop.code or 0)
    if args.command is None:
        parser.print_help()
        return ExitStatus.OK
    assert chosen is not None
    if unknown:
        raise UsageError(
            f"`llamachat {chosen.name}` takes no {unknown[0]}.",
            f"`llamachat {chosen.name} --help` shows what it takes.",
        )
    return int(importlib.import_module(chosen.module).run(args))


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line like every other error, where argparse prints its usage too."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}.", f"`{self.prog} --help` shows what there is.")


def build_parser(chosen: Command | None) -> argparse.ArgumentParser:
    """The parser; only the chosen subcommand's module is imported and gives its arguments."""
    parser = _Parser(
        prog="llamachat",
        description="A local Llama: `llamachat serve` in one terminal, `llamachat chat` in another.",
    )
    parser.add_argument("--version", action="version", version=f"llamachat {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name, help=command.summary, description=command.summary, allow_abbrev=False
        )
        if command == chosen:
            importlib.import_module(command.module).add_arguments(sub)
    return parser
