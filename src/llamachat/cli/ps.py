"""`llamachat ps`: the servers of this user that run on this computer."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

from llamachat import paths
from llamachat.cli import console
from llamachat.errors import ExitStatus
from llamachat.language import N_, _
from llamachat.running import running

if TYPE_CHECKING:
    from rich.console import JustifyMethod


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help=_("print JSON, without the keys"))


def run(args: argparse.Namespace) -> int:
    servers = running(paths.running_folder())
    names = (N_("address"), N_("model"), "n_ctx", "pid", N_("since"))
    rows = [(s.base_url, s.model, s.n_ctx, s.pid, _since(s.created)) for s in servers]
    if args.json:
        sys.stdout.write(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2) + "\n")
        return ExitStatus.OK
    if not rows:
        console.say(_("No server is running."))
        return ExitStatus.OK
    columns: dict[str, JustifyMethod] = dict.fromkeys(names, "left")
    console.print_table(columns, [tuple(map(str, row)) for row in rows], spare=("since", "pid", "n_ctx"))
    return ExitStatus.OK


def _since(seconds: float) -> str:
    """In the user's own time zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
