"""The theme: the article's green answers and red input, and what Markdown and results add to them.

A `Style` is declared once, in the 16 ANSI colours; SGR codes and the names that rich and prompt_toolkit have
for it are derived.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours for one kind of background; `syntax` is rich's theme for code."""

    answer: Style
    input: Style
    status: Style
    syntax: str
    styles: Mapping[str, Style]

    def in_table(self, name: str | None) -> Style:
        """The style in a table, whose base is the terminal's own look and not the answer's."""
        style = self.styles[name] if name else Style()
        if style.color == self.answer.color:
            return replace(style, color=None, bold=False)
        return replace(style, color=None) if style.color == "bright_white" else style


RESULTS = {
    "hit": Style("green", bold=True),
    "good": Style("green"),
    "warning": Style("yellow"),
    "bad": Style("red", bold=True),
}
"""What subcommands mark in their output, legible on any background."""


def _theme(answer: Style, user_input: Style, strong: Style, syntax: str, **others: Style) -> Theme:
    styles = {
        "strong": strong,
        "em": replace(answer, italic=True),
        "strong em": replace(strong, italic=True),
        "strike": replace(answer, strike=True),
        "heading": replace(answer, underline=True),
        "dim": Style(dim=True),
        **RESULTS,
        **others,
    }
    return Theme(answer, user_input, Style("bright_black"), syntax, styles)


DARK = _theme(
    Style("bright_green", bold=True),
    Style("bright_red", bold=True),
    Style("bright_white", bold=True),
    "ansi_dark",
    code=Style("bright_cyan", bold=True),
    link=Style("bright_blue", underline=True),
    marker=Style("bright_yellow"),
    error=Style("bright_red"),
)
"""The article's colours."""
LIGHT = _theme(
    Style("green"),
    Style("red"),
    Style(bold=True),
    "ansi_light",
    code=Style("blue"),
    link=Style("blue", underline=True),
    marker=Style("magenta"),
    error=Style("red", bold=True),
)
"""The same hues, dark enough for white paper."""


def choose(name: str, colorfgbg: str) -> Theme:
    """The theme `dark` or `light`, or for `auto` what `COLORFGBG`, which many terminals set, says."""
    if name == "auto":
        name = "light" if colorfgbg.rpartition(";")[2] in ("7", "15") else "dark"
    return LIGHT if name == "light" else DARK


RESET = "\033[0m"


def sgr(style: Style | None) -> str:
    """The sequence that turns `style` on; None is the terminal's own look."""
    return f"\033[{style.sgr}m" if style else RESET
