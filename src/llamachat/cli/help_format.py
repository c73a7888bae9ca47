"""argparse's help in columns as a terminal counts them: a Chinese character takes two and may end a line."""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Iterator

_NEVER_FIRST = "，。、；：？！）”…"
_NEVER_LAST = "（“"
_PIECES = re.compile(r"\S+\s*")
_HEADING = re.compile(r"^([^\x00-\x7f]+):$", re.MULTILINE)


class HelpFormatter(argparse.HelpFormatter):
    def format_help(self) -> str:
        return _HEADING.sub(r"\1：", super().format_help())  # argparse writes the colon itself before 3.13

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrapped(text, width) if _has_wide(text) else super()._split_lines(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if not _has_wide(text):
            return super()._fill_text(text, width, indent)
        return "\n".join(indent + line for line in wrapped(text, width))


def wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns, where it can be broken."""
    lines = [""]
    for piece in _pieces(" ".join(text.split())):
        if lines[-1] and columns(lines[-1] + piece.rstrip()) > width:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += piece
    return lines


def columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _has_wide(text: str) -> bool:
    return columns(text) > len(text)


def _pieces(text: str) -> Iterator[str]:
    """What is not broken: a word with the space after it, a wide letter with the punctuation around it."""
    for word in _PIECES.findall(text):
        piece = ""
        for letter in word:
            wide = columns(letter) == 2 or (piece and columns(piece[-1]) == 2)
            if piece and wide and letter not in _NEVER_FIRST + " " and piece[-1] not in _NEVER_LAST:
                yield piece
                piece = ""
            piece += letter
        yield piece
