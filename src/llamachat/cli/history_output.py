"""How `llamachat history` prints: tables and a pager in a terminal, plain lines in a pipe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.core.visible import one_line, visible
from llamachat.errors import StoreError, UsageError
from llamachat.language import _, reason
from llamachat.store.records import Hit, Stored, Summary
from llamachat.terminal import theme

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_BEFORE_HIT = 30
"""Characters of a long line that are shown before its hit."""


def write(text: str) -> None:
    """Write exactly this text, in UTF-8 whatever the locale says."""
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # Otherwise flushing the buffer fails again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise StoreError(_("The output can't be written: {reason}.").format(reason=reason(error))) from error


def print_json(value: object) -> None:
    write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_file(name: str) -> str:
    """Read a text file; `-` is stdin."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            _("{name} can't be read: {reason}.").format(name=name, reason=reason(error))
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(_("{name} is not UTF-8 text.").format(name=name)) from error


def print_summaries(summaries: Sequence[Summary]) -> None:
    rows = [
        (str(s.id), _when(s.updated_at), str(s.messages), s.model or "", _label(s.name, s.title))
        for s in summaries
    ]
    if not sys.stdout.isatty():
        write("".join("\t".join(map(one_line, row)) + "\n" for row in rows))
        return
    from rich.table import Table
    from rich.text import Text

    # Expanded, or long titles would squeeze the other columns.
    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column(_("last"), no_wrap=True)
    table.add_column(_("messages"), justify="right", no_wrap=True)
    table.add_column(_("model"), no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column(_("name or title"), no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    _page([table])


def print_conversation(stored: Stored) -> None:
    if not sys.stdout.isatty():
        parts = [f"{who}:\n{text}\n" for who, text in _turns(stored)]
        write("\n".join(parts))
        return
    from rich.text import Text

    lines: list[RenderableType] = []
    for who, text in _turns(stored):
        lines += [Text(who, style="bold"), Text(visible(text)), Text("")]
    _page(lines)


def print_hits(hits: Sequence[Hit]) -> None:
    if not sys.stdout.isatty():
        rows = [(str(h.conversation_id), _when(h.created_at), h.role, h.line) for h in hits]
        write("".join("\t".join(_flat(cell) for cell in row) + "\n" for row in rows))
        return
    from rich.text import Text

    lines: list[RenderableType] = []
    before = None
    for hit in hits:
        if hit.conversation_id != before:
            before = hit.conversation_id
            lines.append(Text(f"{before}  {one_line(_label(hit.name, hit.title))}", style="bold"))
        lines.append(_marked(hit))
    _page(lines)


def _marked(hit: Hit) -> RenderableType:
    """The line of the hit from shortly before it, with the hits in colour."""
    from rich.text import Text

    first = hit.spans[0][0] if hit.spans else 0
    start = max(0, first - _BEFORE_HIT)
    text = Text(f"  {_when(hit.created_at)}  " + ("…" if start else ""), no_wrap=True, overflow="ellipsis")
    at = start
    for begin, end in hit.spans:
        text.append(_flat(hit.line[at:begin]))
        text.append(_flat(hit.line[max(at, begin) : end]), style=theme.RESULTS["hit"].rich)
        at = max(at, end)
    text.append(_flat(hit.line[at:]))
    return text


def _page(parts: Sequence[RenderableType]) -> None:
    """Use the pager for more than a screenful."""
    from rich.console import Console, Group

    console = Console(highlight=False)
    shown = Group(*parts)
    if len(console.render_lines(shown, pad=False)) < console.height:
        console.print(shown)
        return
    os.environ.pop("MANPAGER", None)  # pydoc would prefer it, and it may only work for man pages
    os.environ["LESS"] = "-R " + os.environ.get("LESS", "-FX")
    with console.pager(styles=_shows_styles(console)):
        console.print(shown)


def _shows_styles(console: Console) -> bool:
    return console.color_system is not None and "less" in (os.environ.get("PAGER") or "less")


def _turns(stored: Stored) -> list[tuple[str, str]]:
    turns = []
    for node in stored.conversation.path:
        message = node.message
        cut = f" ({message.cut})" if message.cut else ""
        turns.append(((_("note") if message.note else message.role) + cut, message.content))
    return turns


def _label(name: str | None, title: str) -> str:
    return f"{name}: {title}" if name and title else name or title or _("(no question yet)")


def _when(seconds: float) -> str:
    """In the user's own time zone."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _flat(text: str) -> str:
    """On one line, with spaces kept."""
    return visible(text).replace("\n", " ").replace("\t", " ")
