"""Read a grammar in GBNF, llama.cpp's form, as its grammars/README.md describes it."""

from __future__ import annotations

import re
from collections.abc import Callable

from llamachat.grammar.nodes import (
    ANY,
    EMPTY,
    Chars,
    Grammar,
    GrammarError,
    Literal,
    Node,
    Repeat,
    Rule,
    Token,
    children,
    choice,
    complement,
    merged,
    seq,
)

MAX_BYTES = 256 * 1024
MAX_DEPTH = 100
MAX_REPEAT = 1_000_000
NAME = re.compile(r"[A-Za-z0-9_-]+")
SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
COUNT = re.compile(r"\{[ \t]*(\d+)[ \t]*(,[ \t]*(\d*)[ \t]*)?\}")
TOKEN_ID = re.compile(r"<\[(\d{1,10})\]>")
TOKEN_TEXT = re.compile(r"<[^<>\s]+>")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "[": "[", "]": "]"}
HEX = {"x": 2, "u": 4, "U": 8}


def parse(text: str, token_of: Callable[[str], int | None], n_vocab: int) -> Grammar:
    """Raises GrammarError with the line; `token_of` gives the id of a token's text, if that is one token."""
    check_size(text)
    return _Parser(text, token_of, n_vocab).grammar()


def check_size(text: str) -> None:
    """Raise GrammarError on one that is too large to look at."""
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise GrammarError(f"The grammar is larger than {MAX_BYTES // 1024} KiB.")


def named_tokens(text: str) -> set[str]:
    """The texts for which `parse` may ask `token_of`."""
    return {name for name in TOKEN_TEXT.findall(text) if not TOKEN_ID.fullmatch(name)}


class _Parser:
    def __init__(self, text: str, token_of: Callable[[str], int | None], n_vocab: int) -> None:
        self._text, self._at = text, 0
        self._token_of, self._n_vocab = token_of, n_vocab
        self._depth = 0

    def grammar(self) -> Grammar:
        rules: dict[str, Node] = {}
        self._skip(lines=True)
        while self._at < len(self._text):
            name = self._name()
            self._skip(lines=True)
            if not self._take("::="):
                raise self._error("expected `::=`")
            self._skip(lines=True)
            rules[name] = self._choice(nested=False)
            self._skip(lines=True)
        if "root" not in rules:
            raise GrammarError("The grammar has no rule `root`.")
        for name, node in rules.items():
            if missing := _missing(node, rules):
                raise GrammarError(f"The rule `{name}` uses `{missing}`, which is not defined.")
        return Grammar(rules)

    def _choice(self, nested: bool) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} parentheses in each other")
        options = [self._sequence(nested)]
        while self._take_bar():
            self._skip(lines=True)
            options.append(self._sequence(nested))
        self._depth -= 1
        return choice(options)

    def _sequence(self, nested: bool) -> Node:
        parts: list[Node] = []
        while (part := self._part(nested)) is not None:
            self._skip(lines=nested)
            parts.append(self._repeated(part, nested))
        return seq(*parts)

    def _part(self, nested: bool) -> Node | None:
        char = self._text[self._at : self._at + 1]
        if char == '"':
            return self._literal()
        if char == "[":
            return self._chars()
        if char in ("<", "!"):
            return self._token()
        if char == ".":
            self._at += 1
            return ANY
        if char == "(":
            self._at += 1
            self._skip(lines=True)
            node = self._choice(nested=True)
            if not self._take(")"):
                raise self._error("expected `)`")
            return node
        found = NAME.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return Rule(found[0])

    def _repeated(self, node: Node, nested: bool) -> Node:
        while True:
            char = self._text[self._at : self._at + 1]
            if char and char in "*+?":
                self._at += 1
                low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
            elif char == "{":
                low, high = self._count()
            else:
                return node
            self._skip(lines=nested)
            node = EMPTY if high == 0 else Repeat(node, low, high)
            self._depth_of_repeats(node)

    def _depth_of_repeats(self, node: Node) -> None:
        depth = 0
        while isinstance(node, Repeat):
            node, depth = node.node, depth + 1
        if depth > MAX_DEPTH:
            raise self._error("too many repetitions of a repetition")

    def _count(self) -> tuple[int, int | None]:
        found = COUNT.match(self._text, self._at)
        if found is None:
            raise self._error("expected `{m}`, `{m,}` or `{m,n}`")
        self._at = found.end()
        if max(len(found[1]), len(found[3] or "")) > 7:
            raise self._error(f"more than {MAX_REPEAT} repetitions")
        low = int(found[1])
        high = low if not found[2] else int(found[3]) if found[3] else None
        if max(low, high or 0) > MAX_REPEAT:
            raise self._error(f"more than {MAX_REPEAT} repetitions")
        if high is not None and high < low:
            raise self._error("the second number is smaller than the first")
        return low, high

    def _literal(self) -> Node:
        self._at += 1
        text = ""
        while not self._take('"'):
            text += chr(self._char())
        return Literal(text)

    def _chars(self) -> Node:
        self._at += 1
        negated = self._take("^")
        ranges = []
        while not self._take("]"):
            low = high = self._char()
            if self._text[self._at : self._at + 1] == "-" and self._text[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                high = self._char()
            if high < low:
                raise self._error("a range ends before it begins")
            ranges.append((low, high))
        return Chars(complement(merged(ranges)) if negated else merged(ranges))

    def _char(self) -> int:
        char = self._text[self._at : self._at + 1]
        if char in ("", "\n", "\r"):
            raise self._error("the line ends within quotes or brackets")
        self._at += 1
        if char == "\\":
            kind = self._text[self._at : self._at + 1]
            self._at += 1
            if kind in HEX:
                digits = self._text[self._at : self._at + HEX[kind]]
                if len(digits) < HEX[kind] or not re.fullmatch("[0-9A-Fa-f]+", digits):
                    raise self._error(f"`\\{kind}` takes {HEX[kind]} hexadecimal digits")
                self._at += HEX[kind]
                return self._code_point(int(digits, 16))
            if kind not in ESCAPES or not kind:
                raise self._error(f"unknown escape `\\{kind}`")
            char = ESCAPES[kind]
        return self._code_point(ord(char))

    def _code_point(self, code: int) -> int:
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise self._error(f"U+{code:04X} is not a character")
        return code

    def _token(self) -> Node:
        if self._take("!"):
            raise self._error("`!<token>` is not supported")
        if found := TOKEN_ID.match(self._text, self._at):
            token: int | None = int(found[1])
        elif found := TOKEN_TEXT.match(self._text, self._at):
            token = self._token_of(found[0])
        else:
            raise self._error("expected `<[id]>` or `<text>`")
        if token is None or token >= self._n_vocab:
            raise self._error(f"{found[0]} is not a token of this model")
        self._at = found.end()
        return Token(token)

    def _name(self) -> str:
        found = NAME.match(self._text, self._at)
        if found is None:
            raise self._error("expected the name of a rule")
        self._at = found.end()
        return found[0]

    def _take(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _take_bar(self) -> bool:
        """Also at the begin of the next line, where llama.cpp wants it at the end of this one."""
        found = SPACE_AND_LINES.match(self._text, self._at)
        if found is None or not self._text.startswith("|", found.end()):
            return False
        self._at = found.end() + 1
        return True

    def _skip(self, lines: bool) -> None:
        found = (SPACE_AND_LINES if lines else SPACE).match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _error(self, what: str) -> GrammarError:
        line = self._text.count("\n", 0, self._at) + 1
        return GrammarError(f"The grammar does not parse: line {line}: {what}.")


def _missing(node: Node, rules: dict[str, Node]) -> str | None:
    if isinstance(node, Rule) and node.name not in rules:
        return node.name
    return next((found for child in children(node) if (found := _missing(child, rules))), None)
