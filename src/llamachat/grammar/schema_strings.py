"""The strings that a schema allows, as rules and as automata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from llamachat.grammar import dfa, formats, regex
from llamachat.grammar.conjunction import NOTHING, Alternative, Own, Sub, types_of, values_of
from llamachat.grammar.dfa import Dfa, TooLarge
from llamachat.grammar.json_text import char_in_json, in_json
from llamachat.grammar.nodes import (
    NEVER,
    Chars,
    GrammarError,
    Literal,
    Node,
    Repeat,
    Rule,
    Seq,
    children,
    seq,
)
from llamachat.grammar.schema_writer import Writer, excluded, tighter, times

T = TypeVar("T")


@dataclass
class Strings:
    """All of these hold."""

    languages: list[Node] = field(default_factory=list)
    excluded: list[Dfa] = field(default_factory=list)
    low: int = 0
    high: int | None = None
    where: tuple[Sub, str] = (NOTHING, "type")
    counted: bool = False

    @cached_property
    def built(self) -> list[Dfa]:
        return [*(dfa.build(node) for node in self.languages), *(each.inverted() for each in self.excluded)]

    def allows(self, text: str) -> bool:
        fits = self.low <= len(text) and (self.high is None or len(text) <= self.high)
        return fits and all(automaton.accepts(text) for automaton in self.built)

    def automaton(self) -> Dfa:
        result = dfa.build(dfa.ANY_TEXT)
        if self.low or self.high is not None:
            result = dfa.length(self.low, self.high)
        for automaton in self.built:
            result &= automaton
        return result


class StringRules:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, subs: Alternative) -> Node:
        strings = self.read(subs)
        if strings.high is not None and strings.high < strings.low:
            return NEVER
        if not strings.excluded and not strings.languages:
            return seq(Literal('"'), times(Rule("char"), strings.low, strings.high), Literal('"'))
        if not strings.excluded and len(strings.languages) == 1:
            body = _direct(strings.languages[0], strings.low, strings.high)
            if body is not None:
                return seq(Literal('"'), in_json(body), Literal('"'))
        return self.quoted(self._writer.spent(self.checked(strings, strings.automaton)))

    def automaton(self, subs: Alternative, where: Sub) -> Dfa:
        """Of the strings among all values."""
        types, _ = types_of(subs)
        values = values_of(subs)
        if "string" not in types:
            return dfa.literals([])
        strings = self.read(subs)
        if strings.where[0] is NOTHING:
            strings.where = (where, "propertyNames")
        names = self._writer.spent(self.checked(strings, strings.automaton))
        if values is None:
            return names
        return self._writer.literals_automaton(v for v in values if isinstance(v, str) and names.accepts(v))

    def read(self, subs: Alternative) -> Strings:
        result = Strings()
        if unwanted := excluded("string", subs):
            result.excluded.append(self._writer.literals_automaton(unwanted))
        for sub in subs:
            for keyword in ("minLength", "maxLength", "pattern", "format"):
                if keyword in sub.schema:
                    result.where = (sub, keyword)
            result.low = max(result.low, sub.count("minLength") or 0)
            result.high = tighter(result.high, sub.count("maxLength"))
            pattern = sub.checked("pattern", str, "a string")
            if pattern is not None:
                result.languages.append(language(sub, pattern))
            if Own.NOT_PATTERN in sub.schema:
                result.excluded.append(self.built(sub, language(sub, sub.get(Own.NOT_PATTERN))))
            if (of_format := _format(sub)) is not None:
                result.languages.append(of_format)
        return result

    def checked(self, strings: Strings, work: Callable[[], T]) -> T:
        try:
            if not strings.counted:
                strings.counted = True
                for automaton in strings.built:
                    self._writer.spent(automaton)
            return work()
        except TooLarge as error:
            sub, keyword = strings.where
            raise sub.refuse(keyword, f"can't be enforced with what else holds: {error}") from None

    def built(self, sub: Sub, node: Node) -> Dfa:
        try:
            return self._writer.spent(dfa.build(node))
        except TooLarge as error:
            raise sub.refuse("pattern", str(error)) from None

    def quoted(self, automaton: Dfa) -> Node:
        return seq(Literal('"'), self._writer.automaton_rules(automaton, char_in_json), Literal('"'))


def language(sub: Sub, pattern: str, keyword: str = "pattern") -> Node:
    try:
        return dfa.search(regex.parse(pattern))
    except GrammarError as error:
        raise sub.refuse(keyword, str(error)) from None


def check_format(sub: Sub) -> None:
    name = sub.checked("format", str, "a string")
    if name is not None and name not in (*formats.PATTERNS, *formats.FREE, *formats.INTEGERS):
        raise sub.refuse("format", f"the format {name!r} is not known")


def _format(sub: Sub) -> Node | None:
    pattern = formats.PATTERNS.get(sub.get("format"))
    return None if pattern is None else language(sub, pattern, "format")


def _direct(language: Node, low: int, high: int | None) -> Node | None:
    """A regular expression that is a grammar as it is; None if it needs an automaton."""
    assert isinstance(language, Seq)
    parts: list[Node] = [
        part for each in language.parts for part in (each.parts if isinstance(each, Seq) else [each])
    ]
    if parts[1:2] == [dfa.BEGIN]:
        parts = parts[2:]
    if parts[-2:-1] == [dfa.END]:
        parts = parts[:-2]
    if any(_has_anchor(part) for part in parts):
        return None
    if low == 0 and high is None:
        return seq(*parts)
    only = parts[0] if len(parts) == 1 else None
    if not isinstance(only, Repeat) or not isinstance(only.node, Chars):
        return None
    least, most = max(low, only.low), tighter(high, only.high)
    return Repeat(only.node, least, most) if most is None or most >= least else NEVER


def _has_anchor(node: Node) -> bool:
    return node in (dfa.BEGIN, dfa.END) or any(map(_has_anchor, children(node)))
