"""Read a regular expression of ECMA 262, as JSON Schema has them, into the parts of a grammar."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from llamachat.grammar.dfa import BEGIN, END
from llamachat.grammar.nodes import (
    EMPTY,
    LAST_CODE_POINT,
    Chars,
    GrammarError,
    Node,
    Ranges,
    Repeat,
    chars,
    choice,
    complement,
    merged,
    seq,
)

MAX_LENGTH = 10_000
MAX_DEPTH = 50
DIGIT: Ranges = ((48, 57),)
WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
SPACE: Ranges = ((9, 13), (32, 32), (160, 160), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029))
SPACE = (*SPACE, (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF))
LINE_ENDS: Ranges = ((10, 10), (13, 13), (0x2028, 0x2029))
CLASSES = {"d": DIGIT, "w": WORD, "s": SPACE}
CONTROLS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "0": 0}
NAMED_GROUP = re.compile(r"P?<(?![=!])")
HEX = {"x": 2, "u": 4}


def parse(pattern: str) -> Node:
    """With BEGIN and END in it; raises GrammarError for what a finite automaton can't do."""
    if len(pattern) > MAX_LENGTH:
        raise GrammarError(f"it is longer than {MAX_LENGTH} characters")
    return _Parser(pattern).whole()


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._text, self._at, self._depth = pattern, 0, 0

    def whole(self) -> Node:
        node = self._choice()
        if self._at < len(self._text):
            raise GrammarError(f"unbalanced `)` at {self._at}")
        return node

    def _choice(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise GrammarError(f"more than {MAX_DEPTH} groups in each other")
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        self._depth -= 1
        return choice(options)

    def _sequence(self) -> Node:
        parts = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated(self._atom()))
        return seq(*parts)

    def _atom(self) -> Node:
        char = self._text[self._at]
        self._at += 1
        if char == "(":
            return self._group()
        if char == "[":
            return Chars(self._class())
        if char == "\\":
            return Chars(self._escape())
        if char in "*+?{":
            raise GrammarError(f"nothing to repeat at {self._at - 1}")
        anchors: dict[str, Node] = {"^": BEGIN, "$": END, ".": Chars(complement(LINE_ENDS))}
        return anchors.get(char) or chars(char)

    def _group(self) -> Node:
        if self._take("?"):
            if NAMED_GROUP.match(self._text, self._at):
                self._at = self._text.find(">", self._at) + 1
                if not self._at:
                    raise GrammarError("a group's name has no end")
            elif not self._take(":"):
                raise GrammarError(f"`(?{self._text[self._at : self._at + 2]}` can't be enforced")
        node = self._choice()
        if not self._take(")"):
            raise GrammarError("a group has no end")
        return node

    def _repeated(self, node: Node) -> Node:
        char = self._text[self._at : self._at + 1]
        if char and char in "*+?":
            self._at += 1
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        elif char == "{":
            low, high = self._count()
        else:
            return node
        self._take("?")  # as few as possible: the same texts
        if self._text[self._at : self._at + 1] in ("*", "+", "?", "{"):
            raise GrammarError(f"nothing to repeat at {self._at}")
        if node in (BEGIN, END):
            raise GrammarError("a repeated anchor can't be enforced")
        return EMPTY if high == 0 else Repeat(node, low, high)

    def _count(self) -> tuple[int, int | None]:
        end = self._text.find("}", self._at)
        low, comma, high = self._text[self._at + 1 : end].partition(",")
        digits = low.isascii() and low.isdigit() and (not high or (high.isascii() and high.isdigit()))
        if end < 0 or not digits:
            raise GrammarError(f"`{{` at {self._at} is not a count")
        if len(low) > 9 or len(high) > 9:
            raise GrammarError("a count is too large")
        self._at = end + 1
        first, last = int(low), int(low) if not comma else int(high) if high else None
        if last is not None and last < first:
            raise GrammarError("a count ends before it begins")
        return first, last

    def _escape(self, in_class: bool = False) -> Ranges:
        char = self._next()
        if char.lower() in CLASSES:
            return CLASSES[char] if char.islower() else complement(CLASSES[char.lower()])
        if char in "pP":
            ranges = self._property()
            return ranges if char == "p" else complement(ranges)
        return _one(self._code(char, in_class))

    def _code(self, char: str, in_class: bool) -> int:
        if char == "0" and self._text[self._at : self._at + 1].isdigit():
            raise GrammarError("octal escapes can't be enforced")
        if char in CONTROLS:
            return CONTROLS[char]
        if char == "b" and in_class:
            return 8
        if char == "c" and (letter := self._next()).isascii() and letter.isalpha():
            return ord(letter) % 32
        if char in HEX:
            return self._hex(char)
        if char.isalnum():
            raise GrammarError(f"`\\{char}` can't be enforced")
        return ord(char)

    def _hex(self, kind: str) -> int:
        if kind == "u" and self._take("{"):
            end = self._text.find("}", self._at)
            digits, self._at = self._text[self._at : max(end, 0)], end + 1
        else:
            digits = self._text[self._at : self._at + HEX[kind]]
            self._at += len(digits)
        if self._text[self._at - 1 : self._at] != "}" and len(digits) < HEX[kind]:
            raise GrammarError(f"`\\{kind}` without its digits")
        if not digits or any(d not in "0123456789abcdefABCDEF" for d in digits) or len(digits) > 6:
            raise GrammarError(f"`\\{kind}` without its digits")
        code = int(digits, 16)
        if 0xD800 <= code < 0xDC00 and self._take("\\u"):
            return 0x10000 + (code - 0xD800) * 0x400 + (self._hex("u") - 0xDC00)
        if code > LAST_CODE_POINT or 0xD800 <= code < 0xE000:
            raise GrammarError(f"U+{code:04X} is not a character")
        return code

    def _property(self) -> Ranges:
        end = self._text.find("}", self._at)
        if not self._take("{") or end < 0:
            raise GrammarError("`\\p` without its name")
        name, self._at = self._text[self._at : end], end + 1
        return _category(name.removeprefix("gc=").removeprefix("General_Category="))

    def _class(self) -> Ranges:
        negated = self._take("^")
        found: list[tuple[int, int]] = []
        while not self._take("]"):
            low = self._class_part()
            is_range = self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at)
            if is_range and len(low) == 1 and low[0][0] == low[0][1]:
                self._at += 1
                high = self._class_part()
                if len(high) != 1 or high[0][0] != high[0][1] or high[0][0] < low[0][0]:
                    raise GrammarError("a range in `[…]` ends before it begins")
                low = ((low[0][0], high[0][0]),)
            found.extend(low)
        return complement(merged(found)) if negated else merged(found)

    def _class_part(self) -> Ranges:
        char = self._next()
        return self._escape(in_class=True) if char == "\\" else _one(ord(char))

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise GrammarError("it ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def _take(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found


def _one(code: int) -> Ranges:
    if 0xD800 <= code < 0xE000:
        raise GrammarError(f"U+{code:04X} is not a character")
    return ((code, code),)


LONG_NAMES = {"Letter": "L", "Number": "N", "Punctuation": "P", "Symbol": "S", "Mark": "M", "Separator": "Z"}
LONG_NAMES |= {"Lowercase_Letter": "Ll", "Uppercase_Letter": "Lu", "Decimal_Number": "Nd", "digit": "Nd"}


@lru_cache(maxsize=8)
def _category(name: str) -> Ranges:
    """Of Unicode, by its first letter or both."""
    short = LONG_NAMES.get(name, name)
    if not short or len(short) > 2 or short[0] not in "LMNPSZC":
        raise GrammarError(f"`\\p{{{name}}}` is not known")
    found = ((c, c) for c in range(LAST_CODE_POINT + 1) if unicodedata.category(chr(c)).startswith(short))
    return tuple(r for r in merged(found) if r != (0xD800, 0xDFFF))
