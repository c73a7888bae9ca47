"""What the hub's subcommands share: the console, questions, sizes, the user's language."""

from __future__ import annotations

import locale
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llamachat.errors import UsageError
from llamachat.hub import local

if TYPE_CHECKING:
    from rich.console import Console


def stdout() -> Console:
    """For tables; wide in a pipe, so that none is folded there."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def stderr() -> Console:
    """For a progress bar."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A remark: stdout is for results."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def ask(question: str, yes: bool, default: bool = True) -> bool:
    """The answer to a yes-or-no question; `yes` answers it. Raises UsageError where nobody can be asked."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to answer from.", "Say `--yes` for yes.")
    choices = "[Y/n]" if default else "[y/N]"
    sys.stderr.write(f"{question} {choices} ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    answer = line.strip().lower()
    return answer[0] in "yj是好" if answer else default and line != ""


def language(lang: Literal["zh", "en", "auto"]) -> Literal["zh", "en"]:
    """`lang`, or for `auto` that of the locale."""
    if lang != "auto":
        return lang
    names = [os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG")]
    name = next((name for name in names if name), None) or locale.getlocale()[0] or ""
    return "zh" if name.lower().startswith(("zh", "chinese")) else "en"


def models_folder(named: str | None) -> Path:
    return Path(named).expanduser() if named else local.models_folders(Path.cwd())[0]


def size(n_bytes: float) -> str:
    """Bytes as people say them: decimal, as file managers and hubs do."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
