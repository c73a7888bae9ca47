"""What every subcommand tells and asks the user: results go to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TextIO

from llamachat.core.presets import Lang
from llamachat.core.visible import visible
from llamachat.errors import LlamachatError, UsageError
from llamachat.language import _, user_language

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod

    from llamachat.settings.client import ClientOptions

_YES = ("y", "yes", "j", "ja", "是", "是的", "好", "好的")


def stdout() -> Console:
    """For tables; wide in a pipe, so that nothing is wrapped there."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def stderr() -> Console:
    """For a progress bar."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def check_stdout() -> None:
    """Raises UsageError if stdout was closed before the start (`>&-`): what is asked would be lost."""
    if getattr(sys.stdout, "name", "") == os.devnull:
        raise UsageError(_("stdout is closed: there is nowhere to write the answer to."))


def print_table(
    columns: Mapping[str, JustifyMethod],
    rows: Sequence[Sequence[str]],
    spare: Sequence[str] = (),
    title: str | None = None,
) -> None:
    """Print a result, without as many of the `spare` columns as a narrow terminal has no room for."""
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    def without(left_out: Sequence[str]) -> Table:
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        shown = [n for n, name in enumerate(columns) if name not in left_out]
        for name, justify in columns.items():
            if name not in left_out:
                table.add_column(_(name), justify=justify, overflow="fold")
        for row in rows:
            table.add_row(*(Text(visible(row[n])) for n in shown))
        return table

    console = stdout()
    unlimited = console.options.update(max_width=sys.maxsize)
    tables = [without(spare[:count]) for count in range(len(spare) + 1)]
    fitting = (t for t in tables if Measurement.get(console, unlimited, t).maximum <= console.width)
    console.print(next(fitting, tables[-1]))


def write(text: str, lead_style: str | None = None) -> None:
    """Print a result that is prose, its first columns in a style of the theme."""
    _write(sys.stdout, text, lead_style)


def write_parts(parts: Sequence[str]) -> None:
    """Print a result of several `parts`: on one line, but in a terminal on as many as they need whole."""
    from rich.cells import cell_len

    width = stdout().width if sys.stdout.isatty() else sys.maxsize
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]} · {part}"
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    print("\n".join(lines), flush=True)  # noqa: T201


def say(text: str) -> None:
    """Print a remark, which is not a result."""
    _write(sys.stderr, text)


def _write(stream: TextIO, text: str, lead_style: str | None = None) -> None:
    if stream.isatty():
        from llamachat.terminal.display import write_wrapped
        from llamachat.terminal.screen import Screen

        # The console of Windows may not know the codes of colours.
        color = bool(lead_style) and not os.environ.get("NO_COLOR") and sys.platform != "win32"
        write_wrapped(Screen(stream, color), text, lead_style=lead_style)
    else:
        print(visible(text), file=stream, flush=True)


def say_line(text: str) -> None:
    """Print a remark as it is, in columns for example."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def report(error: LlamachatError | str) -> None:
    """Print an error as its one line."""
    say(f"llamachat: {error}")


def prompt(question: str) -> str:
    """The line that is typed in answer to `question`, empty at the end of input."""
    print(f"{visible(question)} ", end="", file=sys.stderr, flush=True)  # noqa: T201
    return sys.stdin.readline()


def ask(question: str, yes: bool, default: bool = True) -> bool:
    """Ask a yes-or-no question, unless `yes` already answers it. Raises UsageError without a terminal."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            _("{question} There is no terminal to answer in.").format(question=question),
            _("Use --yes to answer yes."),
        )
    line = prompt(f"{question} {'[Y/n]' if default else '[y/N]'}")
    answer = line.strip().lower()
    return answer in _YES if answer else default and line != ""


def language(lang: Lang | Literal["auto"]) -> Lang:
    """`lang`, or for `auto` the user's."""
    return user_language() if lang == "auto" else lang


def api_key(options: ClientOptions) -> str:
    """The key that was given, else the key of the server if this user runs it on this computer."""
    from llamachat import paths
    from llamachat.running import key_for

    if "api_key" not in options.model_fields_set:
        return key_for(paths.running_folder(), options.base_url) or options.api_key
    return options.api_key
