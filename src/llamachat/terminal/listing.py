"""Rows of one line each, in columns; the last one, of any length, is cut where the screen ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from llamachat.core.visible import one_line

_GAP = "  "
_LEAST_FOR_LAST = 20
"""Columns below which the last cell has its own line."""
_MOST_SHOWN = 400


def draw_listing(rows: Iterable[Sequence[str]], width: int) -> str:
    """The rows as lines of text, none wider than `width` columns."""
    cells = [[one_line(cell, _MOST_SHOWN) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)][:-1]
    used = sum(size + len(_GAP) for size in widths if size)
    own_line = width - used < _LEAST_FOR_LAST
    lines = []
    for row in cells:
        lead = "".join(
            set_cell_size(cell, size) + _GAP for cell, size in zip(row, widths, strict=False) if size
        )
        if own_line:
            lines += [_cut(lead.rstrip(), width), _GAP + _cut(row[-1], width - len(_GAP))]
        else:
            lines.append(lead + _cut(row[-1], width - used))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _cut(text: str, width: int) -> str:
    shown = Text(text)
    shown.truncate(width - 1, overflow="ellipsis")
    return shown.plain
