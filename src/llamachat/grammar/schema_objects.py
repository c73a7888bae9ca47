"""The objects that a schema allows, as rules: their properties in order, then others."""

from __future__ import annotations

from typing import Any

from llamachat.grammar import dfa
from llamachat.grammar.conjunction import NOTHING, Alternative, Own, Sub
from llamachat.grammar.dfa import Dfa, TooLarge
from llamachat.grammar.json_text import COMMA, STRING, WS
from llamachat.grammar.nodes import EMPTY, NEVER, Literal, Node, choice, optional, seq
from llamachat.grammar.schema_strings import StringRules, language
from llamachat.grammar.schema_writer import ANYTHING, MAX_RULES, Writer, first_with, tighter, times

MAX_PATTERNS = 5
Counts = tuple[int, "int | None"]


class ObjectRules:
    def __init__(self, writer: Writer, strings: StringRules) -> None:
        self._writer, self._strings = writer, strings

    def write(self, subs: Alternative, entry: tuple[Sub, ...]) -> Node:
        required = dict.fromkeys(name for sub in subs for name in sub.names("required"))
        names = dict.fromkeys(name for sub in subs for name in _properties(sub)) | required
        others = self._others(subs, entry)
        forbidden = {name for sub in subs for name in sub.get(Own.FORBIDDEN, ())}
        allowed = self._names_allowed(subs)
        pairs: list[tuple[Node, bool]] = []
        for name in names:
            value = self._writer.value(self._of_property(name, subs, others))
            if name in forbidden or (allowed is not None and not allowed.accepts(name)):
                value = NEVER
            key = Literal(self._writer.text(name) + ":")
            pairs.append((seq(key, WS, value), name in required))
        more = self._other_pairs([*names, *forbidden], subs, others, allowed)
        counts = self._property_counts(subs, len(pairs), len(required), more)
        if counts is None:
            return NEVER
        return seq(Literal("{"), WS, self._pairs(pairs, more, *counts), Literal("}"))

    def _of_property(self, name: str, subs: Alternative, others: list[Sub]) -> list[Sub]:
        """What holds for its value: by its name, by patterns, or as one of the others."""
        result = []
        for sub, other in zip(subs, others, strict=True):
            found = [self._writer.all.inner(sub, "properties", name)] if name in _properties(sub) else []
            for pattern in _patterns(sub):
                if self._strings.built(sub, language(sub, pattern, "patternProperties")).accepts(name):
                    found.append(self._writer.all.inner(sub, "patternProperties", pattern))
            result += found or ([other] if "additionalProperties" in sub.schema else [])
        return result

    def _others(self, subs: Alternative, entry: tuple[Sub, ...]) -> list[Sub]:
        """Of each schema, what holds for properties that it does not list."""
        left = self._unevaluated(subs, entry)
        listing = any("properties" in sub.schema or "patternProperties" in sub.schema for sub in subs)
        told = left is not None or any("additionalProperties" in sub.schema for sub in subs)
        default = ANYTHING if told or not listing else NOTHING
        others = []
        for sub in subs:
            if sub is left and "additionalProperties" not in sub.schema:
                others.append(self._writer.all.inner(sub, "unevaluatedProperties"))
            else:
                others.append(self._writer.inner_or_any(sub, "additionalProperties", default))
        return others

    def _unevaluated(self, subs: Alternative, entry: tuple[Sub, ...]) -> Sub | None:
        """The schema that has `unevaluatedProperties`, where these are what no other one lists."""
        for sub in subs:
            if sub.get("unevaluatedProperties", True) is not True:
                is_whole = [sub] == list(entry) and self._writer.all.holding(sub) >= set(subs)
                if len(subs) > 1 and not is_whole:
                    raise sub.refuse(
                        "unevaluatedProperties", "can't be enforced together with the rest of the schema"
                    )
                if not any("additionalProperties" in each.schema for each in subs):
                    return sub
        return None

    def _names_allowed(self, subs: Alternative) -> Dfa | None:
        result = None
        for sub in subs:
            if "propertyNames" in sub.schema:
                found = self._writer.all.alternatives([self._writer.all.inner(sub, "propertyNames")])
                if len(found) > 1:
                    raise sub.refuse("propertyNames", "can't be enforced with alternatives in it")
                names = self._strings.automaton(found[0], sub) if found else dfa.literals([])
                result = names if result is None else result & names
        return result

    def _other_pairs(
        self, names: list[str], subs: Alternative, others: list[Sub], allowed: Dfa | None
    ) -> Node:
        """A pair that is not listed: its key and value for each set of patterns that the key may match."""
        patterns = list(dict.fromkeys((pattern, sub) for sub in subs for pattern in _patterns(sub)))
        texts = list(dict.fromkeys(pattern for pattern, _ in patterns))
        if not texts and any(other.schema is False for other in others):
            return NEVER
        if not texts and not names and allowed is None:
            return seq(STRING, Literal(":"), WS, self._writer.value(others))
        if len(texts) > MAX_PATTERNS:
            raise patterns[0][1].refuse("patternProperties", f"more than {MAX_PATTERNS} patterns at once")
        keys = self._writer.literals_automaton(names).inverted()
        options = []
        try:
            keys = keys if allowed is None else keys & allowed
            by_text = {p: self._strings.built(s, language(s, p, "patternProperties")) for p, s in patterns}
            for matching in range(2 ** len(texts)):
                chosen = [text for n, text in enumerate(texts) if matching >> n & 1]
                values = self._of_name(chosen, subs, others)
                if any(value.schema is False for value in values):
                    continue
                own = keys
                for text in texts:
                    own = self._writer.spent(
                        own & (by_text[text] if text in chosen else by_text[text].inverted())
                    )
                if not own.is_empty():
                    options.append(
                        seq(self._strings.quoted(own), Literal(":"), WS, self._writer.value(values))
                    )
        except TooLarge as error:
            where, keyword = first_with(subs, ("patternProperties", "propertyNames", "additionalProperties"))
            raise where.refuse(keyword, str(error)) from None
        return choice(options)

    def _of_name(self, patterns: list[str], subs: Alternative, others: list[Sub]) -> list[Sub]:
        """What holds for a value whose name matches `patterns` and is not listed."""
        result = []
        for sub, other in zip(subs, others, strict=True):
            mine = [p for p in _patterns(sub) if p in patterns]
            told = "additionalProperties" in sub.schema or not patterns
            found = [self._writer.all.inner(sub, "patternProperties", pattern) for pattern in mine]
            result += found or ([other] if told else [])
        return result

    def _property_counts(self, subs: Alternative, listed: int, required: int, more: Node) -> Counts | None:
        """How many there must and may be, 0 and None if that is so anyway; None if there can't be."""
        low = 0
        high: int | None = None
        for sub in subs:
            low = max(low, sub.count("minProperties") or 0)
            high = tighter(high, sub.count("maxProperties"))
            if more != NEVER and low > max(required, 1):
                raise sub.refuse("minProperties", "a grammar can't see that further names differ")
        if more == NEVER and high is not None and high >= listed:
            high = None
        if (high is not None and high < max(low, required)) or (more == NEVER and low > listed):
            return None
        low = 0 if low <= required else low
        if listed * min(listed, max(low, high or 0)) > MAX_RULES // 4:
            sub, keyword = first_with(subs, ("minProperties", "maxProperties"))
            raise sub.refuse(keyword, "is too large for this many properties")
        return low, high

    def _pairs(self, pairs: list[tuple[Node, bool]], more: Node, low: int, high: int | None) -> Node:
        """In order; a rule for what may follow the pairs so far, by how many there were."""
        top = max(low, 1) if high is None else high
        following = {count: self._rest(more, count, low, high) for count in range(min(len(pairs), top) + 1)}
        for at, (pair, is_required) in reversed(list(enumerate(pairs))):
            rules: dict[int, Node] = {}
            for count in range(min(at, top) + 1):
                options = [] if is_required else [following[count]]
                if high is None or count < high:
                    then = following[min(count + 1, top)]
                    options.insert(0, seq(COMMA if count else EMPTY, pair, then))
                rules[count] = self._writer.rule(choice(options), "pairs")
            following = rules
        return following[0]

    def _rest(self, more: Node, count: int, low: int, high: int | None) -> Node:
        """Behind the listed properties, of which there were `count`."""
        end = WS if count else EMPTY
        if more == NEVER or (high is not None and count >= high):
            return end if count >= low else NEVER
        left = None if high is None else high - count
        if count:
            return seq(times(seq(COMMA, more), max(low - count, 0), left), WS)
        others = seq(more, times(seq(COMMA, more), max(low - 1, 0), None if left is None else left - 1), WS)
        return others if low else optional(others)


def _properties(sub: Sub) -> dict[str, Any]:
    return sub.checked("properties", dict, "an object") or {}


def _patterns(sub: Sub) -> dict[str, Any]:
    return sub.checked("patternProperties", dict, "an object") or {}
