"""The theme: the article's green answers and red input, and what Markdown and results add to them.

A `Style` is declared once, in the 16 ANSI colours; SGR codes and the names that rich and prompt_toolkit have
for it are derived.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

_COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


@dataclass(frozen=True, slots=True)
class Style:
    """`color` is an ANSI name like `red` or `bright_red`; None leaves the colour as it is."""

    color: str | None = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False

    @property
    def sgr(self) -> str:
        """The parameters of an SGR sequence: `92;1`."""
        codes = {"bold": 1, "dim": 2, "italic": 3, "underline": 4, "strike": 9}
        color = []
        if self.color:
            name = self.color.removeprefix("bright_")
            color = [_COLORS.index(name) + (30 if name == self.color else 90)]
        return ";".join(map(str, [*color, *(codes[name] for name in self._attributes())]))

    @property
    def rich(self) -> str:
        """`bold bright_green`"""
        return " ".join([*self._attributes(), *([self.color] if self.color else [])])

    @property
    def prompt_toolkit(self) -> str:
        """`bold ansibrightgreen`; prompt_toolkit has no dim."""
        others = {"white": "gray", "bright_white": "white"}
        color = [f"ansi{others.get(self.color, self.color).replace('_', '')}"] if self.color else []
        return " ".join([*(name for name in self._attributes() if name != "dim"), *color])

    def _attributes(self) -> Iterator[str]:
        return (name for name in ("bold", "dim", "italic", "underline", "strike") if getattr(self, name))


ANSWER = Style("bright_green", bold=True)
INPUT = Style("bright_red", bold=True)
STATUS = Style("bright_black")
"""The figure at the right of the input line."""

STYLES = {
    # Markdown in an answer
    "strong": Style("bright_white", bold=True),
    "em": replace(ANSWER, italic=True),
    "strong em": Style("bright_white", bold=True, italic=True),
    "strike": replace(ANSWER, strike=True),
    "code": Style("bright_cyan", bold=True),
    "link": Style("bright_blue", underline=True),
    "heading": replace(ANSWER, underline=True),
    "marker": Style("bright_yellow"),
    # outside answers
    "dim": Style(dim=True),
    "error": Style("bright_red"),
    "hit": Style("green", bold=True),
    "good": Style("green"),
    "warning": Style("yellow"),
    "bad": Style("red", bold=True),
}

RESET = "\033[0m"


def sgr(style: Style | None) -> str:
    """The sequence that turns `style` on; None is the terminal's own look."""
    return f"\033[{style.sgr}m" if style else RESET


def in_table(name: str | None) -> Style:
    """The style in a table, whose base is the terminal's own look and not the answer's."""
    style = STYLES[name] if name else Style()
    if style.color == ANSWER.color:
        return replace(style, color=None, bold=False)
    return replace(style, color=None) if style.color == "bright_white" else style
