"""Emphasis, code and links inside a line that is still being written.

Text is given out as soon as no more of it can change what is already there: a piece with an open marker is
held back until the marker closes, the line ends, or it has grown too long to be one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

_MOST_HELD = 240
_PLAIN = re.compile(r"[^\\`*_~\[\]!&<>]*\Z")
_WIDE = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60"
_BOUNDARY = re.compile(rf"\s|(?<=[{_WIDE}])|(?=[{_WIDE}])")
_MARKER = re.compile(r"\\.?|`+|\*+|_+|~~|!?\[|\]\([^)\s]*\)?|\]|&[#\w]*;?|<[^>\s]*>?", re.S)


class Span(NamedTuple):
    """A piece of text in one of theme.STYLES; None is the answer's own."""

    text: str
    style: str | None = None


class InlineStream:
    """One line. `heading` and the like are given as `base`, the style of what has none of its own."""

    def __init__(self, base: str | None = None) -> None:
        self._base = base
        self._held = ""

    def feed(self, text: str) -> list[Span]:
        self._held += text
        whole = last_boundary(self._held, len(self._held))
        end = last_boundary(self._held, min(whole, open_mark(self._held)))
        if end == 0 and len(self._held) >= _MOST_HELD:
            end = whole or len(self._held)
        return self._give(end)

    def finish(self) -> list[Span]:
        return self._give(len(self._held))

    def _give(self, end: int) -> list[Span]:
        text, self._held = self._held[:end], self._held[end:]
        if _PLAIN.match(text):
            return [Span(text, self._base)] if text else []
        return [Span(s.text, s.style or self._base) for s in spans(text)]


def spans(text: str) -> list[Span]:
    """The styled pieces of one finished line."""
    lead = len(text) - len(text.lstrip())
    trail = len(text.rstrip())
    if trail <= lead:
        return [Span(text)]
    tokens = _parser().parseInline(text[lead:trail])[0].children or []
    pieces = [Span(text[:lead]), *_walk(tokens), Span(text[trail:])]
    return [p for p in pieces if p.text]


def open_mark(text: str) -> int:
    """Where the first marker is that is still open, so that what follows may change how it looks."""
    marks: list[tuple[str, int]] = []
    code: tuple[str, int] | None = None
    for match in _MARKER.finditer(text):
        mark, start = match[0], match.start()
        if code:
            code = None if mark == code[0] else code
        elif mark[0] == "`":
            code = (mark, start)
        elif mark[0] in "*_~":
            _toggle(marks, mark, start, text)
        elif mark in ("[", "!["):
            marks.append(("[", start))
        elif mark[0] == "]" and any(m == "[" for m, _ in marks):
            if match.end() == len(text) and not mark.endswith(")"):
                break
            del marks[next(i for i, (m, _) in enumerate(marks) if m == "[") :]
        elif match.end() == len(text):
            marks.append((mark, start))
    starts = [start for _, start in marks] + ([code[1]] if code else [])
    return min(starts, default=len(text))


def _toggle(marks: list[tuple[str, int]], mark: str, start: int, text: str) -> None:
    """Close the mark that is like this one, or open it where CommonMark lets it."""
    before, after = text[start - 1 : start], text[start + len(mark) :][:1]
    same = next((i for i, (m, _) in enumerate(marks) if m == mark), None)
    if same is not None and before and not before.isspace():
        del marks[same:]
    elif not after.isspace() and not (mark[0] == "_" and before.isalnum()):
        marks.append((mark, start))


def last_boundary(text: str, end: int) -> int:
    """Where the last whole word before `end` ends; a letter of Chinese or Japanese is one by itself."""
    last = 0
    for match in _BOUNDARY.finditer(text):
        if match.end() > end:
            break
        last = match.end()
    return last


def _walk(tokens: list[Token]) -> Iterator[Span]:
    styles: list[str] = []
    link = ""
    for token in tokens:
        if token.type == "text":
            yield Span(token.content, _style(styles))
        elif token.type == "code_inline":
            yield Span(token.content, "code")
        elif token.type in ("softbreak", "hardbreak"):
            yield Span("\n", None)
        elif token.type == "image":
            yield Span(f"{token.content} ({token.attrGet('src')})", "link")
        elif token.type == "link_open":
            link = str(token.attrGet("href") or "")
        elif token.type == "link_close":
            yield Span(f" ({link})", "link")
        elif token.nesting == 1:
            styles.append(token.tag)
        elif token.nesting == -1 and styles:
            styles.pop()
        elif token.content:
            yield Span(token.content, _style(styles))


def _style(tags: list[str]) -> str | None:
    if "strong" in tags:
        return "strong em" if "em" in tags else "strong"
    return "em" if "em" in tags else "strike" if "s" in tags else None


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("strikethrough")
