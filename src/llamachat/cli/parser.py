"""The parser: a table of subcommands, each a module with `add_arguments(parser)` and `run(args) -> int`.

Only the module of the subcommand that was typed is imported, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from llamachat import __version__
from llamachat.errors import UsageError


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    summary: str
    module: str
    takes_rest: bool = False  # what follows `--` is passed on as args.rest


COMMANDS = (
    Command("serve", "run the server on a GGUF model", "llamachat.cli.serve", takes_rest=True),
    Command("chat", "talk to a running server", "llamachat.cli.chat"),
    Command("web", "talk to a running server in the browser", "llamachat.cli.web"),
    Command("ask", "ask one question: in a shell, in a pipe, about files", "llamachat.cli.ask"),
    Command("batch", "ask the same question for every row of a file", "llamachat.cli.batch"),
    Command("templates", "list and show the named prompts", "llamachat.cli.templates"),
    Command("pull", "fetch a model that fits this computer", "llamachat.cli.pull"),
    Command("models", "list, show, verify, remove and explain models", "llamachat.cli.models"),
    Command("ps", "list the servers that are running", "llamachat.cli.ps"),
    Command("doctor", "check this computer, the engine and the network", "llamachat.cli.doctor"),
    Command("completion", "print a script that completes in your shell", "llamachat.cli.completion"),
    Command("history", "find, show, export and remove conversations", "llamachat.cli.history"),
)
ALIASES = {"run": ("serve", "--chat"), "ls": ("models", "list")}
"""Commands that users of other programs type."""


def parse(arguments: Sequence[str]) -> tuple[Command | None, argparse.Namespace]:
    """Return the subcommand, None for a bare `llamachat` (which prints its help), and its arguments.

    Raises UsageError, and SystemExit after `--help` and `--version`.
    """
    arguments = [*ALIASES.get(arguments[0], arguments[:1]), *arguments[1:]] if arguments else []
    chosen = next((c for c in COMMANDS if arguments and c.name == arguments[0]), None)
    rest: list[str] = []
    if chosen is not None and chosen.takes_rest and "--" in arguments:
        split = arguments.index("--")
        arguments, rest = arguments[:split], [*arguments[split + 1 :]]
    parser = build((chosen,) if chosen else ())
    args = parser.parse_args(arguments, argparse.Namespace(rest=rest))
    if chosen is None:
        parser.print_help()
    return chosen, args


def build(commands: Collection[Command]) -> argparse.ArgumentParser:
    """The parser; only the modules of `commands` are imported and add their arguments."""
    parser = _Parser(
        prog="llamachat",
        description="A local Llama: `llamachat serve` in one terminal, `llamachat chat` in another.",
        epilog="`llamachat run MODEL` is `llamachat serve --chat MODEL`, and `ls` is `models list`.",
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"llamachat {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name, help=command.summary, description=command.summary, allow_abbrev=False
        )
        if command in commands:
            importlib.import_module(command.module).add_arguments(sub)
    return parser


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line, with the nearest valid name; argparse would print the usage too."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message.removeprefix('argument ')}.", self._see_help())

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown arguments here, where `self` is the parser of the innermost subcommand."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            first = unknown[0].split("=")[0]
            kind = "option" if first.startswith("-") else "argument"
            near = _nearest(first, self._option_string_actions) if kind == "option" else ""
            raise UsageError(f"Unknown {kind} {first} for `{self.prog}`.", near or self._see_help())
        return parsed, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            what = f"Unknown command {value!r} for `{self.prog}`"
        else:
            what = f"{'/'.join(action.option_strings)}: {value!r} is not one of {', '.join(action.choices)}"
        raise UsageError(
            f"{what}.",
            _nearest(str(value), [*action.choices, *(ALIASES if self.prog == "llamachat" else ())])
            or self._see_help(),
        )

    def _see_help(self) -> str:
        return f"See `{self.prog} --help`."


def _nearest(typed: str, names: Iterable[str]) -> str:
    bare = {name.lstrip("-"): name for name in names}
    near = difflib.get_close_matches(typed.lstrip("-"), bare, n=1)
    return f"Did you mean {bare[near[0]]}?" if near else ""
