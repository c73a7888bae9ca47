"""A Markdown table, drawn by rich once its last row is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from llamachat.terminal.inline import spans
from llamachat.terminal.screen import Screen
from llamachat.terminal.theme import RESET, Theme

_DELIMITER = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*\Z")
_CELL_END = re.compile(r"(?<!\\)\|")
_CELL_END_OR_CODE = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)|(?<!\\)(?P<end>\|)")
_LINE_BREAK = re.compile(r"<br\s*/?>", re.I)
_LEAST_COLUMN = 5
"""Screen columns, including the gap, below which a cell becomes unreadable."""
Justify = Literal["left", "center", "right"]


def draw_table(screen: Screen, rows: Sequence[str]) -> str | None:
    """The table as lines of text; None if `rows` are not a table after all, or too wide for the screen."""
    if len(rows) < 2 or not _DELIMITER.match(rows[1]):
        return None
    header = _cells(rows[0])
    if len(header) * _LEAST_COLUMN > screen.width:
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title, delimiter in zip(header, _cells(rows[1]) + ["-"] * len(header), strict=False):
        table.add_column(_text(title, screen.theme), justify=_justify(delimiter), overflow="fold")
    for row in rows[2:]:
        table.add_row(*(_text(cell, screen.theme) for cell in _fitting(row, len(header))))
    reset = RESET if screen.color else ""
    return reset + screen.draw(table, screen.width - 1) + screen.base_code


def _cells(row: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL_END.split(_inner(row))]


def _fitting(row: str, columns: int) -> list[str]:
    """The cells of a row, without extra ones or losses: models don't escape `|` in code."""
    cells = _cells(row)
    if len(cells) > columns:
        inner = _inner(row)
        ends = [m.start() for m in _CELL_END_OR_CODE.finditer(inner) if m["end"]][: columns - 1]
        starts = [0, *(end + 1 for end in ends)]
        cells = [inner[a:b].strip() for a, b in zip(starts, [*ends, len(inner)], strict=True)]
    return cells + [""] * (columns - len(cells))


def _inner(row: str) -> str:
    inner = row.strip().removeprefix("|")
    return inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner


def _text(cell: str, theme: Theme) -> Text:
    return Text("\n").join(
        Text.assemble(*((s.text, theme.in_table(s.style).rich) for s in spans(line)))
        for line in _LINE_BREAK.split(cell)
    )


def _justify(delimiter: str) -> Justify:
    if delimiter.endswith(":"):
        return "center" if delimiter.startswith(":") else "right"
    return "left"
