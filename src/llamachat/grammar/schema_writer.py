"""The rules of one grammar while a schema is turned into it, with the bounds on their number."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from llamachat.grammar import dfa
from llamachat.grammar.conjunction import NOTHING, Alternative, Conjunctions, Own, Sub, canonical, type_of
from llamachat.grammar.dfa import Dfa, TooLarge
from llamachat.grammar.nodes import (
    EMPTY,
    NEVER,
    GrammarError,
    Literal,
    Node,
    Ranges,
    Repeat,
    Rule,
    choice,
    common_start,
    seq,
)

MAX_RULES = 12_000
MAX_COUNT = 1_000_000_000
MAX_LITERALS = 500_000
"""Characters in all values of `enum` and `const` and names of properties."""
ANYTHING = Sub(True, "#")


class Writer:
    """`all` reads the document; `pending` are the schemas whose rules are still to be written."""

    def __init__(self, document: Any) -> None:
        self.all = Conjunctions(document)
        self.rules: dict[str, Node] = {}
        self.pending: list[tuple[str, tuple[Sub, ...]]] = []
        self._names: dict[frozenset[Sub], str] = {}
        self._literals = 0

    def value(self, subs: Iterable[Sub]) -> Node:
        """A rule for what holds to all of `subs`, which is written later: schemas may hold themselves."""
        key = frozenset(sub for sub in subs if sub.schema is not True)
        if NOTHING in key:
            return NEVER
        if key not in self._names:
            self._names[key] = f"v{len(self._names)}"
            self.pending.append((self._names[key], tuple(dict.fromkeys(s for s in subs if s in key))))
        return Rule(self._names[key])

    def rule(self, node: Node, hint: str) -> Rule:
        name = f"{hint}-{len(self.rules)}"
        self.add(name, node)
        return Rule(name)

    def add(self, name: str, node: Node) -> None:
        self.all.spend()
        self.rules[name] = node
        if len(self.rules) > MAX_RULES:
            raise GrammarError("The schema takes too many rules.")

    def text(self, value: str) -> str:
        self._literals += len(value)
        if self._literals > MAX_LITERALS:
            raise GrammarError(f"The schema lists more than {MAX_LITERALS} characters of values and names.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise GrammarError("The schema has half of a surrogate pair, which is not text.") from None
        return json.dumps(value, ensure_ascii=False)

    def one_of(self, texts: Sequence[str]) -> Node:
        """Many share what they begin with, so that few places are open at once."""
        if len(texts) <= 8:
            return choice(map(Literal, texts))
        pending = [(f"e{len(self.rules)}", sorted(set(texts)), 0)]
        first = Rule(pending[0][0])
        while pending:
            name, left, at = pending.pop()
            options: list[Node] = []
            for _, same in groupby(left, key=lambda text: text[at : at + 1]):
                group = list(same)
                end = common_start(group[0], group[-1])
                options.append(Literal(group[0][at:end]))
                if len(group) > 1:
                    pending.append((f"{name}-{len(options)}", group, end))
                    options[-1] = seq(options[-1], Rule(pending[-1][0]))
            self.add(name, choice(options))
        return first

    def spent(self, automaton: Dfa) -> Dfa:
        """Counts what it took: many small ones are work, too."""
        self.all.spend(1 + len(automaton.edges) // 10)
        return automaton

    def automaton_rules(self, automaton: Dfa, write: Callable[[Ranges], Node]) -> Node:
        prefix = f"s{len(self.rules)}"
        for name, node in automaton.rules(lambda state: f"{prefix}-{state}", write):
            self.add(name, node)
        return Rule(f"{prefix}-0")

    def literals_automaton(self, texts: Iterable[str]) -> Dfa:
        try:
            return self.spent(dfa.literals(texts))
        except TooLarge:
            raise GrammarError("The schema lists too many values or names.") from None

    def inner_or_any(self, sub: Sub, keyword: str, default: Sub = ANYTHING) -> Sub:
        return self.all.inner(sub, keyword) if keyword in sub.schema else default


def excluded(kind: str, subs: Alternative) -> list[Any]:
    """The values of this type that it is not."""
    values = [value for sub in subs for value in sub.get(Own.EXCLUDED, ())]
    return [value for value in values if type_of(value) == kind]


def excluded_keys(subs: Alternative) -> set[str]:
    return {canonical(value) for sub in subs for value in sub.get(Own.EXCLUDED, ())}


def first_with(subs: Alternative, keywords: Iterable[object]) -> tuple[Sub, str]:
    """Where one of `keywords` is."""
    return next(((sub, str(k)) for k in keywords for sub in subs if k in sub.schema), (subs[0], "type"))


def tighter(high: int | None, other: int | None) -> int | None:
    """The lower one of two upper bounds; None is no bound."""
    return other if high is None else high if other is None else min(high, other)


def times(node: Node, low: int, high: int | None) -> Node:
    if high == 0:
        return EMPTY
    return node if low == high == 1 else Repeat(node, min(low, MAX_COUNT), high)
