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
from llamachat.cli.help_format import HelpFormatter
from llamachat.errors import UsageError
from llamachat.language import N_, _, gettext, ngettext


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    summary: str
    module: str
    takes_rest: bool = False  # what follows `--` is passed on as args.rest


COMMANDS = (
    Command("serve", N_("run the server on a GGUF model"), "llamachat.cli.serve", takes_rest=True),
    Command("chat", N_("talk to a running server"), "llamachat.cli.chat"),
    Command("web", N_("talk to a running server in the browser"), "llamachat.cli.web"),
    Command("ask", N_("ask one question: in a shell, in a pipe, about files"), "llamachat.cli.ask"),
    Command("batch", N_("ask the same question for every row of a file"), "llamachat.cli.batch"),
    Command("templates", N_("list and show the named prompts"), "llamachat.cli.templates"),
    Command("pull", N_("fetch a model that fits this computer"), "llamachat.cli.pull"),
    Command("models", N_("list, show, verify, remove and explain models"), "llamachat.cli.models"),
    Command("ps", N_("list the servers that are running"), "llamachat.cli.ps"),
    Command("doctor", N_("check this computer, the engine and the network"), "llamachat.cli.doctor"),
    Command("completion", N_("print a completion script for your shell"), "llamachat.cli.completion"),
    Command("history", N_("find, show, export and remove conversations"), "llamachat.cli.history"),
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
    # argparse asks gettext for its own words, which does not know LLAMACHAT_LANG.
    vars(argparse).update(_=gettext, ngettext=ngettext)
    parser = _Parser(
        prog="llamachat",
        description=_("A local Llama: `llamachat serve` in one terminal, `llamachat chat` in another."),
        epilog=_("`llamachat run MODEL` is `llamachat serve --chat MODEL`, and `ls` is `models list`."),
        allow_abbrev=False,
    )
    version = f"llamachat {__version__}"
    text = _("show program's version number and exit")
    parser.add_argument("-V", "--version", action="version", version=version, help=text)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name, help=_(command.summary), description=_(command.summary), allow_abbrev=False
        )
        if command in commands:
            importlib.import_module(command.module).add_arguments(sub)
    return parser


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line, with the nearest valid name; argparse would print the usage too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        text = _("{message}.").format(message=message.removeprefix("argument "))
        raise UsageError(text, self._see_help())

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown arguments here, where `self` is the parser of the innermost subcommand."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            first = unknown[0].split("=")[0]
            if first.startswith("-"):
                what = _("Unknown option {name} for `{prog}`.").format(name=first, prog=self.prog)
                near = _nearest(first, self._option_string_actions)
            else:
                what = _("Unknown argument {name} for `{prog}`.").format(name=first, prog=self.prog)
                near = ""
            raise UsageError(what, near or self._see_help())
        return parsed, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            what = _("Unknown command {value!r} for `{prog}`.").format(value=value, prog=self.prog)
        else:
            what = _("{option}: {value!r} is not one of {names}.").format(
                option="/".join(action.option_strings), value=value, names=", ".join(action.choices)
            )
        raise UsageError(
            what,
            _nearest(str(value), [*action.choices, *(ALIASES if self.prog == "llamachat" else ())])
            or self._see_help(),
        )

    def _see_help(self) -> str:
        return _("See `{prog} --help`.").format(prog=self.prog)


def _nearest(typed: str, names: Iterable[str]) -> str:
    bare = {name.lstrip("-"): name for name in names}
    near = difflib.get_close_matches(typed.lstrip("-"), bare, n=1)
    return _("Did you mean {name}?").format(name=bare[near[0]]) if near else ""
