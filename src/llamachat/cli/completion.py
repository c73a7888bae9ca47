"""`llamachat completion`: a script that completes commands, options and files in a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from llamachat.cli import parser as parsers
from llamachat.errors import ExitStatus
from llamachat.language import N_, _

SHELLS = ("bash", "zsh", "fish", "powershell")
EPILOG = N_("""bash: llamachat completion bash > ~/.local/share/bash-completion/completions/llamachat ·
zsh: llamachat completion zsh > a folder of $fpath, as _llamachat ·
fish: llamachat completion fish > ~/.config/fish/completions/llamachat.fish ·
PowerShell: llamachat completion powershell >> $PROFILE""")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    parser.epilog = _(EPILOG)


def run(args: argparse.Namespace) -> int:
    import shtab

    parser = parsers.build(parsers.COMMANDS)
    for action in _actions(parser):
        if action.metavar in ("FILE", "MODEL", "OUT", "IN"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(parser, args.shell))
    return ExitStatus.OK


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of the parser, and of those of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
