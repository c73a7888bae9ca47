"""Emphasis, code and links inside a line that is still being written.

Text is released as soon as nothing that follows can change how it looks: what comes after an open marker is
held back until the marker closes, the line ends, or it has grown too long. markdown-it parses finished text
only: its tokens have no positions within a line, and it does not tell which markers are still open. So the
markers of a line that is being written are found here (`settled`, `marked`), and markdown-it styles what was
released.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from llamachat.core.visible import visible

_MOST_HELD = 240
_PLAIN = re.compile(r"[^\\`*_~\[\]!&<>]*\Z")
_WIDE = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60"
_CLOSING_HASHES = re.compile(r"(^|\s+)#+\s*\Z")
_BOUNDARY = re.compile(rf"\s|(?<=[{_WIDE}])|(?=[{_WIDE}])")
_MARKER = re.compile(r"\\.?|`+|\*+|_+|~~|\[|\]\([^)]*\)?|\]|&[#\w]*;?|<[^>\s]*>?", re.S)


class Span(NamedTuple):
    """A piece of text in one of the theme's styles; None is the answer's own."""

    text: str
    style: str | None = None


class InlineStream:
    """One line. `heading` and the like are given as `base`, the style of what has no other."""

    def __init__(self, base: str | None = None) -> None:
        self._base = base
        self._held = ""

    def feed(self, text: str) -> list[Span]:
        # In short pieces, because `settled` takes time quadratic in what is held back.
        pieces = (text[start : start + _MOST_HELD] for start in range(0, len(text), _MOST_HELD))
        return [span for piece in pieces for span in self._add(piece)]

    def _add(self, text: str) -> list[Span]:
        self._held += text
        end = settled(self._held)
        if len(self._held) - end >= _MOST_HELD:
            end = len(self._held)
        return self._give(end)

    def finish(self) -> list[Span]:
        if self._base == "heading":
            self._held = _CLOSING_HASHES.sub("", self._held)
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
    # Made visible once more: a character reference can be a control character.
    return [Span(visible(p.text).replace("\n", " "), p.style) for p in pieces if p.text]


def settled(text: str) -> int:
    """How much of `text` is final: whole words, without a marker that may still be closed.

    A letter of Chinese or Japanese is a word by itself.
    """
    inside = [] if _PLAIN.match(text) else marked(text)
    last = 0
    for match in _BOUNDARY.finditer(text):
        if not any(start < match.end() < end for start, end in inside):
            last = match.end()
    return last


def marked(text: str) -> list[tuple[int, int]]:
    """Start and end of what is between markers; the end of what is still open is beyond the text."""
    found: list[tuple[int, int]] = []
    opened: list[tuple[str, int]] = []
    for match in _MARKER.finditer(text):
        mark, start, end = match[0], match.start(), match.end()
        code = bool(opened) and opened[-1][0][0] == "`"
        if code and mark != opened[-1][0]:
            continue
        same = next((i for i, (m, _) in enumerate(opened) if m == _opener(mark)), None)
        if _closes(text, match, same):
            assert same is not None
            found.append((opened[same][1], end))
            del opened[same:]
        elif _opens(text, match):
            opened.append((mark, start))
    return found + [(start, len(text) + 1) for _, start in opened]


def _opener(mark: str) -> str:
    return "[" if mark[0] == "]" else mark


def _closes(text: str, match: re.Match[str], same: int | None) -> bool:
    """Whether this marker ends what the opener `same` began."""
    before = text[match.start() - 1 : match.start()]
    if same is None or (match[0][0] in "*_~" and before.isspace()):
        return False
    return match[0][0] != "]" or match.end() < len(text) or match[0].endswith(")")


def _opens(text: str, match: re.Match[str]) -> bool:
    """Whether what follows may change how this marker looks."""
    mark, before, after = match[0], text[match.start() - 1 : match.start()], text[match.end() :][:1]
    if mark[0] in "*_~":
        return not after.isspace() and not (mark[0] == "_" and before.isalnum())
    if mark[0] in "\\&<":
        return match.end() == len(text)
    return mark[0] != "]"


def _walk(tokens: list[Token]) -> Iterator[Span]:
    styles: list[str] = []
    link = label = ""
    for token in tokens:
        label += token.content
        if token.type == "text":
            yield Span(token.content, _style(styles))
        elif token.type == "code_inline":
            yield Span(token.content, "code")
        elif token.type in ("softbreak", "hardbreak"):
            yield Span("\n", None)
        elif token.type == "image":
            yield Span(f"{token.content} ({token.attrGet('src')})", "link")
        elif token.type == "link_open":
            link, label = str(token.attrGet("href") or ""), ""
        elif token.type == "link_close":
            if label not in (link, link.removeprefix("mailto:")):
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
