"""How text is cut into words for the full-text index, in scripts with spaces and in scripts without.

Text is folded first (NFKC, case, Latin accents), so that `LLAMA` and `llama` are one word, and wide letters
are narrow ones. A run of letters and digits is one token. In a run of Chinese, Japanese, Korean, Thai …
every character starts one token: itself and the next character, the run's last one alone. So `大模型` becomes
`大模 模型 型`, and a query of any length is exact: one character is a prefix (`模*`), two are one token,
more are a phrase of tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

# Scripts written without spaces, or (Hangul) with endings glued to the word, and emoji; as ranges of a
# character class.
_DENSE = (
    "々〇\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff぀-ヺー-ヿ㐀-䶿一-鿿가-힣豈-\ufaff"
    "\U00020000-\U0003ffff☀-➿\U0001f000-\U0001faff"
)
_WORD = rf"(?:(?![{_DENSE}_])\w)"
_RUN = re.compile(rf"(?P<dense>[{_DENSE}]+)|{_WORD}+")
_GAP = rf"[^\w{_DENSE}]|_"


class _Fold(dict[int, str]):
    """A table for `str.translate` that learns each character when it first meets it.

    `uneven` are the characters that become none or several.
    """

    def __init__(self) -> None:
        self.uneven: set[str] = set()

    def __missing__(self, code: int) -> str:
        wide = unicodedata.normalize("NFKD", chr(code).casefold()).casefold()
        bare = "".join(c for c in wide if not "\u0300" <= c <= "\u036f")
        self[code] = unicodedata.normalize("NFC", bare)
        if len(self[code]) != 1:
            self.uneven.add(chr(code))
        return self[code]


_FOLD = _Fold()


def fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).translate(_FOLD)


def index_text(text: str) -> str:
    """The tokens of `text`, separated by spaces: what the index stores."""
    return " ".join(token for run in _RUN.finditer(fold(text)) for token in _tokens(run, open_end=False))


def match_expression(query: str) -> str:
    """`query` as an FTS5 expression: every term must be there; empty if the query has no word at all."""
    return " ".join(_term(runs) for term in fold(query).split() if (runs := list(_RUN.finditer(term))))


def _tokens(run: re.Match[str], *, open_end: bool) -> list[str]:
    text = run.group()
    if not run.group("dense"):
        return [text]
    pairs = [text[i : i + 2] for i in range(len(text))]
    return pairs[:-1] if open_end and len(pairs) > 1 else pairs


def _term(runs: list[re.Match[str]]) -> str:
    """One phrase; its end may be the beginning of a longer word."""
    *before, last = runs
    tokens = [t for run in before for t in _tokens(run, open_end=False)] + _tokens(last, open_end=True)
    return f'"{" ".join(tokens)}"' + (" *" if _is_prefix(last) else "")


def _is_prefix(run: re.Match[str]) -> bool:
    """One dense character is the prefix of a pair; a single letter stays a separate word (`c`, `x`)."""
    return (len(run.group()) == 1) == bool(run.group("dense"))


@dataclass(frozen=True, slots=True)
class Found:
    """A line that holds a hit, and where in it (start and end of each hit, in characters)."""

    line: str
    spans: tuple[tuple[int, int], ...]


class Finder:
    """The same search without an index: finds the terms of a query in one text."""

    def __init__(self, query: str) -> None:
        words = [list(_RUN.finditer(term)) for term in fold(query).split()]
        self._patterns = [re.compile(_pattern(runs)) for runs in words if runs]
        if not self._patterns:
            self._patterns = [re.compile(re.escape(part)) for part in fold(query).split()]

    def matches(self, text: str) -> bool:
        folded = fold(text)
        return bool(self._patterns) and all(p.search(folded) for p in self._patterns)

    def find(self, text: str) -> Found | None:
        """The line that holds most of the terms, the first of them if several do."""
        text = unicodedata.normalize("NFC", text)
        folded, origin = _folded(text)
        spans = [_spans(p, folded, origin) for p in self._patterns]
        if not spans or not all(spans):
            return None
        lines = text.split("\n")
        starts = [0, *accumulate(len(line) + 1 for line in lines)]
        per_line = [{n for n, hits in enumerate(spans) if _within(hits, a, b)} for a, b in _pairs(starts)]
        best = max(range(len(lines)), key=lambda n: (len(per_line[n]), -n))
        begin, end = starts[best], starts[best + 1] - 1
        here = sorted(
            {(max(a, begin) - begin, min(b, end) - begin) for h in spans for a, b in h if begin <= a < end}
        )
        return Found(lines[best], tuple(here))


def _pairs(starts: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(starts))


def _within(hits: list[tuple[int, int]], begin: int, end: int) -> bool:
    return any(begin <= a < end for a, _ in hits)


def _pattern(runs: list[re.Match[str]]) -> str:
    """The term as a regular expression over folded text, with the index's idea of where a word ends."""
    parts: list[str] = []
    for before, run in zip([None, *runs], runs, strict=False):
        dense = bool(run.group("dense"))
        if before is not None:
            parts.append(f"(?:{_GAP})" + ("+" if bool(before.group("dense")) == dense else "*"))
        elif not dense:
            parts.append(f"(?<!{_WORD})")
        parts.append(re.escape(run.group()))
    last = runs[-1]
    return "".join(parts) + ("" if last.group("dense") or _is_prefix(last) else f"(?!{_WORD})")


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """`text` folded, and for each character of that the index of the one in `text` that it comes from."""
    folded = text.translate(_FOLD)
    if _FOLD.uneven.isdisjoint(text):
        return folded, range(len(text))
    return folded, [n for n, code in enumerate(map(ord, text)) for _ in _FOLD[code]]


def _spans(pattern: re.Pattern[str], folded: str, origin: Sequence[int]) -> list[tuple[int, int]]:
    return [
        (origin[m.start()], origin[m.end() - 1] + 1) for m in pattern.finditer(folded) if m.end() > m.start()
    ]
