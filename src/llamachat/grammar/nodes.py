"""The parts of a grammar: what GBNF writes as text, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

LAST_CODE_POINT = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)
Ranges = tuple[tuple[int, int], ...]


class GrammarError(ValueError):
    """A schema or grammar that can't be enforced, or would take more work than a request may."""


@dataclass(frozen=True, slots=True)
class Literal:
    text: str


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of `ranges`: code points, inclusive, sorted, apart from each other."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Seq:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Without options it is what can never be written."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`low` to `high` times; without end where `high` is None."""

    node: Node
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Rule:
    name: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the model by its id, as GBNF's `<[id]>`."""

    id: int


Node: TypeAlias = Literal | Chars | Seq | Choice | Repeat | Rule | Token
EMPTY = Literal("")
NEVER = Choice(())


@dataclass(frozen=True)
class Grammar:
    rules: Mapping[str, Node] = field(default_factory=dict)
    root: str = "root"

    def __str__(self) -> str:
        """As GBNF, the root first."""
        names = [self.root, *(name for name in self.rules if name != self.root)]
        return "".join(f"{name} ::= {_write(self.rules[name], alone=True)}\n" for name in names)


def seq(*parts: Node) -> Node:
    flat: list[Node] = []
    for part in parts:
        if part == NEVER:
            return NEVER
        for each in part.parts if isinstance(part, Seq) else (part,):
            if isinstance(each, Literal) and flat and isinstance(last := flat[-1], Literal):
                flat[-1] = Literal(last.text + each.text)
            elif each != EMPTY:
                flat.append(each)
    return flat[0] if len(flat) == 1 else Seq(tuple(flat)) if flat else EMPTY


def choice(options: Iterable[Node]) -> Node:
    flat: dict[Node, None] = {}
    for option in options:
        flat.update(dict.fromkeys(option.options if isinstance(option, Choice) else (option,)))
    return next(iter(flat)) if len(flat) == 1 else Choice(tuple(flat))


def optional(node: Node) -> Node:
    return Repeat(node, 0, 1)


def chars(*ranges: tuple[int, int] | str) -> Chars:
    """From characters and ranges in any order."""
    return Chars(merged((ord(r), ord(r)) if isinstance(r, str) else r for r in ranges))


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)


def complement(ranges: Ranges) -> Ranges:
    """Every other character; surrogates are none."""
    gaps, start = [], 0
    for low, high in merged((*ranges, SURROGATES)):
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    return (*gaps, (start, LAST_CODE_POINT)) if start <= LAST_CODE_POINT else tuple(gaps)


def intersection(one: Ranges, other: Ranges) -> Ranges:
    return tuple((max(a, c), min(b, d)) for a, b in one for c, d in other if max(a, c) <= min(b, d))


ANY = Chars(complement(()))


def common_start(one: str | bytes, other: str | bytes) -> int:
    """How many characters both begin with."""
    different = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(different, min(len(one), len(other)))


def children(node: Node) -> Iterator[Node]:
    if isinstance(node, Seq):
        yield from node.parts
    elif isinstance(node, Choice):
        yield from node.options
    elif isinstance(node, Repeat):
        yield node.node


def used_rules(node: Node) -> Iterator[str]:
    if isinstance(node, Rule):
        yield node.name
    for child in children(node):
        yield from used_rules(child)


def rules_where(rules: Mapping[str, Node], holds: Callable[[Node, set[str]], bool]) -> set[str]:
    """The rules of which something holds that may follow from its holding of the rules that they use."""
    users: dict[str, set[str]] = {}
    for name, node in rules.items():
        for used in used_rules(node):
            users.setdefault(used, set()).add(name)
    found: set[str] = set()
    pending = list(rules)
    while pending:
        name = pending.pop()
        if name not in found and holds(rules[name], found):
            found.add(name)
            pending.extend(users.get(name, ()))
    return found


def renamed(grammar: Grammar, prefix: str) -> dict[str, Node]:
    """Its rules under names of their own."""
    return {f"{prefix}-{name}": _renamed(node, prefix) for name, node in grammar.rules.items()}


def _renamed(node: Node, prefix: str) -> Node:
    if isinstance(node, Rule):
        return Rule(f"{prefix}-{node.name}")
    if isinstance(node, Seq):
        return Seq(tuple(_renamed(part, prefix) for part in node.parts))
    if isinstance(node, Choice):
        return Choice(tuple(_renamed(option, prefix) for option in node.options))
    if isinstance(node, Repeat):
        return Repeat(_renamed(node.node, prefix), node.low, node.high)
    return node


def _write(node: Node, alone: bool = False) -> str:
    """`alone` if nothing next to it could be read as part of it."""
    if isinstance(node, Literal):
        return '"' + "".join(_char(c, '"\\') for c in node.text) + '"'
    if isinstance(node, Chars):
        return "[" + "".join(_range(low, high) for low, high in node.ranges) + "]"
    if isinstance(node, Rule):
        return node.name
    if isinstance(node, Token):
        return f"<[{node.id}]>"
    if isinstance(node, Repeat):
        inner = _write(node.node)
        if isinstance(node.node, Repeat):
            inner = f"({inner})"
        high = "" if node.high is None else str(node.high)
        short = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((node.low, node.high))
        return inner + (short or f"{{{node.low},{high}}}")
    if isinstance(node, Seq):
        text = " ".join(_write(part) for part in node.parts)
    else:
        text = " | ".join(_write(option, isinstance(option, Seq)) for option in node.options)
    return text if alone else f"({text})"


def _range(low: int, high: int) -> str:
    first, last = _char(chr(low), "]\\-^["), _char(chr(high), "]\\-^[")
    return first if low == high else f"{first}-{last}"


def _char(char: str, special: str) -> str:
    if char in special:
        return f"\\x{ord(char):02X}" if char in "-^" else "\\" + char
    if char.isprintable() and ord(char) < 0x7F:
        return char
    code = ord(char)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
