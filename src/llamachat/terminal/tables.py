"""A Markdown table, drawn by rich once its last row is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from llamachat.terminal import theme
from llamachat.terminal.inline import spans
from llamachat.terminal.screen import Screen

_DELIMITER = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*\Z")
_CELL_END = re.compile(r"(?<!\\)\|")
_RICH_STYLES = {
    "strong": "bold",
    "em": "italic",
    "strong em": "bold italic",
    "strike": "strike",
    "code": "bright_cyan",
    "link": "underline bright_blue",
}
Justify = Literal["left", "center", "right"]


def draw_table(screen: Screen, rows: Sequence[str]) -> str | None:
    """The table as lines of text; None where `rows` are no table after all."""
    if len(rows) < 2 or not _DELIMITER.match(rows[1]):
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    header = _cells(rows[0])
    for title, delimiter in zip(header, _cells(rows[1]) + ["-"] * len(header), strict=False):
        table.add_column(_text(title), justify=_justify(delimiter), overflow="fold")
    for row in rows[2:]:
        cells = [_text(cell) for cell in _cells(row)]
        table.add_row(*(cells + [Text()] * len(header))[: len(header)])
    reset = theme.sgr(theme.RESET) if screen.color else ""
    return reset + screen.draw(table, screen.width - 1) + screen.base_code


def _cells(row: str) -> list[str]:
    inner = row.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _CELL_END.split(inner)]


def _text(cell: str) -> Text:
    return Text.assemble(*((s.text, _RICH_STYLES.get(s.style or "", "")) for s in spans(cell)))


def _justify(delimiter: str) -> Justify:
    if delimiter.endswith(":"):
        return "center" if delimiter.startswith(":") else "right"
    return "left"
