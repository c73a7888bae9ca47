"""Markdown as it streams: lines are only ever added, in time linear in the length of the answer."""

from __future__ import annotations

import re

from llamachat.terminal.code import CodeBlock
from llamachat.terminal.inline import InlineStream, spans
from llamachat.terminal.screen import Screen
from llamachat.terminal.tables import draw_table
from llamachat.terminal.wrap import Wrapper

_UNDECIDED = re.compile(r"(\s{0,3}>\s?)*\s*(#{0,6}|[-*+]|\d{1,3}[.)]?|`{1,2}|~{1,2}|=+|([-*_])(\s*\3)*\s*)\Z")
_MOST_UNDECIDED = 500
"""Characters after which a line is taken as text, because each further one would be looked at again."""
_WHOLE_LINE = re.compile(r"\s*(```|~~~|\|)")
_FENCE = re.compile(r"(\s*)(`{3,}|~{3,})\s*([^`\s]*)[^`]*\Z")
_RULE = re.compile(r"\s{0,3}(([-*_])(\s*\2){2,}|={3,})\s*\Z")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+")
_BULLET = re.compile(r"\s*[-*+]\s+")
_NUMBER = re.compile(r"\s*(\d{1,3}[.)])\s+")
_QUOTES = re.compile(r"(\s{0,3}>\s?)*")


class MarkdownText:
    """Feed it safe text in pieces of any size."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._wrapper = Wrapper(screen)
        self._start = ""
        self._inline: InlineStream | None = None
        self._fence: re.Match[str] | None = None
        self._code: CodeBlock | None = None
        self._table: list[str] = []

    def feed(self, text: str) -> None:
        *finished, rest = text.split("\n")
        for line in finished:
            self._add(line)
            self._end_line()
        if rest:
            self._add(rest)

    def finish(self) -> None:
        """The end of the answer: what was held back is written as it is."""
        if self._start or self._inline:
            self._end_line()
        self._end_table()

    def _add(self, text: str) -> None:
        """More of the current line, which is streamed as soon as its kind is known."""
        if self._inline:
            self._wrapper.write(self._inline.feed(text))
            return
        self._start += text
        if self._code or _WHOLE_LINE.match(self._start):
            return
        if len(self._start) < _MOST_UNDECIDED and _UNDECIDED.match(self._start):
            return
        self._end_table()
        self._open_line()

    def _end_line(self) -> None:
        line, self._start = self._start, ""
        if self._inline:
            self._wrapper.write(self._inline.finish())
            self._wrapper.end_line()
            self._inline = None
        elif self._code:
            self._add_code(line)
        elif line.lstrip().startswith("|"):
            self._table.append(line)
        else:
            self._end_table()
            self._whole_line(line)

    def _whole_line(self, line: str) -> None:
        """A line whose kind was not known before its end."""
        fence = _FENCE.match(line)
        if fence:
            self._fence = fence
            self._code = CodeBlock(self._screen, fence[3])
            self._screen.write(f"{fence[2]}{fence[3]}\n", "dim")
        elif _RULE.match(line):
            self._screen.write("─" * (self._screen.width - 2) + "\n", "dim")
        else:
            self._start = line
            self._open_line()
            self._end_line() if self._inline else self._wrapper.end_line()

    def _open_line(self) -> None:
        quotes = _QUOTES.match(self._start)
        assert quotes
        bars = "▎ " * quotes[0].count(">")
        line, self._start = self._start[quotes.end() :], ""
        indent = line[: len(line) - len(line.lstrip())].expandtabs(4)
        lead, style = indent, None
        if match := _HEADING.match(line):
            lead = indent = ""
        elif match := _BULLET.match(line):
            lead, style = f"{indent}• ", "marker"
        elif match := _NUMBER.match(line):
            lead, style = f"{indent}{match[1]} ", "marker"
        self._wrapper.start_line(lead, " " * len(lead), style, bars)
        self._inline = InlineStream("heading" if _HEADING.match(line) else None)
        self._wrapper.write(self._inline.feed(line[match.end() :] if match else line.lstrip()))

    def _add_code(self, line: str) -> None:
        assert self._fence and self._code
        mark = self._fence[2]
        closing = line.strip()
        if closing and set(closing) == {mark[0]} and len(closing) >= len(mark):
            self._screen.write(mark + "\n", "dim")
            self._fence = self._code = None
            return
        indent = len(self._fence[1])
        self._code.add(line[indent:] if not line[:indent].strip() else line)

    def _end_table(self) -> None:
        rows, self._table = self._table, []
        if not rows:
            return
        table = draw_table(self._screen, rows)
        if table is not None:
            self._screen.write(table)
            return
        for row in rows:
            self._wrapper.start_line("", "")
            self._wrapper.write(spans(row))
            self._wrapper.end_line()
