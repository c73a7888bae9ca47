"""JSON Schema, draft 2020-12 and what older drafts and OpenAPI write differently, to a grammar of its texts.

Every text of the grammar is JSON that validates. What can't be enforced raises Unenforceable, which names the
place. Properties come in the order of `properties`, then others. An object whose schema lists properties has
no others unless `additionalProperties` says so, and a schema without `type` means the types that its keywords
are about: models would write whatever is not excluded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, partial
from itertools import groupby
from typing import Any, TypeVar

from llamachat.grammar import dfa, formats, regex
from llamachat.grammar.conjunction import (
    IN_PLACE,
    KEYWORDS_OF_TYPE,
    NOTHING,
    Alternative,
    Conjunctions,
    Own,
    Sub,
    Unenforceable,
    canonical,
    type_of,
    types_of,
    values_of,
)
from llamachat.grammar.dfa import Dfa, TooLarge
from llamachat.grammar.nodes import (
    ANY,
    EMPTY,
    NEVER,
    Chars,
    Choice,
    Grammar,
    GrammarError,
    Literal,
    Node,
    Ranges,
    Repeat,
    Rule,
    Seq,
    chars,
    children,
    choice,
    common_start,
    complement,
    intersection,
    optional,
    rules_where,
    seq,
    used_rules,
)
from llamachat.grammar.numbers import ANY_INTEGER, ANY_NUMBER, Numbers

MAX_VALUES = 50_000
MAX_RULES = 12_000
MAX_COUNT = 1_000_000_000
MAX_COUNTED = 500
"""Items that are counted one by one, where their number depends on what they are."""
MAX_PATTERNS = 5
MAX_LITERALS = 500_000
"""Characters in all values of `enum` and `const` and names of properties."""

HEX = chars((48, 57), (65, 70), (97, 102))
_LOW, _HIGH = chars("8", "9", (65, 66), (97, 98)), chars((67, 70), (99, 102))
_D = chars("D", "d")
_UNICODE = choice(
    [
        seq(chars((48, 57), (65, 67), (69, 70), (97, 99), (101, 102)), HEX, HEX, HEX),
        seq(_D, chars((48, 55)), HEX, HEX),
        seq(_D, _LOW, HEX, HEX, Literal("\\u"), _D, _HIGH, HEX, HEX),
    ]
)
_MUST_ESCAPE: Ranges = ((0, 31), (34, 34), (92, 92))
_SHORT = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r", '"': '"', "\\": "\\"}
_ESCAPE = seq(Literal("\\"), choice([chars(*'"\\/bfnrt'), seq(Literal("u"), _UNICODE)]))
SHARED: dict[str, Node] = {
    "ws": choice([EMPTY, Literal(" "), seq(Literal("\n"), Repeat(chars(" ", "\t"), 0, 20))]),
    "char": choice([Chars(complement(_MUST_ESCAPE)), _ESCAPE]),
    "string": seq(Literal('"'), Repeat(Rule("char"), 0, None), Literal('"')),
    "integer": ANY_INTEGER,
    "number": ANY_NUMBER,
    "boolean": choice([Literal("true"), Literal("false")]),
    "null": Literal("null"),
}
WS, STRING = Rule("ws"), Rule("string")
ANYTHING = Sub(True, "#")
COMMA = seq(Literal(","), WS)


T = TypeVar("T")
Counts = tuple[int, "int | None"]
Items = list[tuple[list[Sub], Sub]]
"""Of each schema that holds, the schemas of the first items and that of the rest."""


def check_size(schema: Any) -> None:
    """Raise GrammarError on more values than are worth a look."""
    pending, count = [schema], 0
    while pending:
        value = pending.pop()
        count += 1
        if isinstance(value, (dict, list)):
            count += len(value)
            pending.extend(value.values() if isinstance(value, dict) else value)
        if count > MAX_VALUES:
            raise GrammarError(f"The schema has more than {MAX_VALUES} values in it.")


def grammar(schema: Any) -> Grammar:
    """Of the JSON texts that `schema` allows; raises GrammarError, most often Unenforceable."""
    check_size(schema)
    return _Converter(schema).grammar()


def texts(schema: Any) -> Dfa | None:
    """The texts that `schema` allows; None if it allows values of other types. Raises GrammarError."""
    check_size(schema)
    return _Converter(schema).texts()


@dataclass
class _Strings:
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


class _Converter:
    def __init__(self, document: Any) -> None:
        self._all = Conjunctions(document)
        self._rules: dict[str, Node] = {}
        self._names: dict[frozenset[Sub], str] = {}
        self._pending: list[tuple[str, tuple[Sub, ...]]] = []
        self._literals = 0
        self._values: dict[str, Sub] = {}
        self._bare: dict[Sub, Sub] = {}

    def grammar(self) -> Grammar:
        root = self._value([self._all.root])
        while self._pending:
            name, subs = self._pending.pop()
            self._add(name, choice(self._alternative(f, subs) for f in self._all.alternatives(subs)))
        rules = productive({**SHARED, **self._rules, "root": root})
        if rules["root"] == NEVER:
            raise GrammarError("The schema can't be enforced: #: no value satisfies it.")
        return Grammar(reachable(rules, "root"))

    def texts(self) -> Dfa | None:
        found = self._all.alternatives([self._all.root])
        others = dfa.build(dfa.ANY_TEXT)
        for subs in found:
            for sub in subs:
                _check_format(sub)
            values = values_of(subs)
            kinds = types_of(subs)[0] if values is None else map(type_of, values)
            if set(kinds) != {"string"}:
                return None
            others &= self._names_of(subs, self._all.root).inverted()
        return others.inverted() if found else None

    def _value(self, subs: Iterable[Sub]) -> Node:
        """A rule for what holds to all of `subs`, which is written later: schemas may hold themselves."""
        key = frozenset(sub for sub in subs if sub.schema is not True)
        if NOTHING in key:
            return NEVER
        if key not in self._names:
            self._names[key] = f"v{len(self._names)}"
            self._pending.append((self._names[key], tuple(dict.fromkeys(s for s in subs if s in key))))
        return Rule(self._names[key])

    def _rule(self, node: Node, hint: str) -> Rule:
        name = f"{hint}-{len(self._rules)}"
        self._add(name, node)
        return Rule(name)

    def _add(self, name: str, node: Node) -> None:
        self._all.spend()
        self._rules[name] = node
        if len(self._rules) > MAX_RULES:
            raise GrammarError("The schema takes too many rules.")

    def _alternative(self, subs: Alternative, entry: tuple[Sub, ...]) -> Node:
        types, integer = types_of(subs)
        values = values_of(subs)
        for sub in subs:
            _check_format(sub)
        if values is not None:
            return self._listed(values, subs, types, integer)
        if len(types) == 6 and not any("type" in sub.schema for sub in subs):
            used = [
                kind
                for kind in types
                if any(keyword in sub.schema for sub in subs for keyword in KEYWORDS_OF_TYPE.get(kind, ()))
            ]
            types = used or types
        write: dict[str, Callable[[], Node]] = {
            "null": lambda: self._literal_unless_excluded(None, subs),
            "boolean": lambda: choice(self._literal_unless_excluded(value, subs) for value in (True, False)),
            "number": lambda: self._number(self._numbers(subs, integer), subs),
            "string": lambda: self._string(subs),
            "array": lambda: self._array(subs),
            "object": lambda: self._object(subs, entry),
        }
        return choice(write[kind]() for kind in types)

    # Values that are listed

    def _listed(self, values: list[Any], subs: Alternative, types: list[str], integer: bool) -> Node:
        options: list[Node] = []
        texts: list[str] = []
        strings = self._strings(subs)
        excluded = _excluded_keys(subs)
        for value in values:
            kind = type_of(value)
            if kind not in types or (excluded and canonical(value) in excluded):
                continue
            if kind in ("array", "object"):
                options.append(
                    self._value([*map(self._without_values, subs), self._constant(value, subs[0])])
                )
            elif kind == "number":
                if self._numbers(subs, integer).allows(exact(value)):
                    texts.append(json.dumps(value))
            elif kind != "string":
                texts.append(json.dumps(value))
            elif self._checked(strings, partial(strings.allows, value)):
                texts.append(self._text(value))
        return choice([self._one_of(texts), *options])

    def _text(self, value: str) -> str:
        self._literals += len(value)
        if self._literals > MAX_LITERALS:
            raise GrammarError(f"The schema lists more than {MAX_LITERALS} characters of values and names.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise GrammarError("The schema has half of a surrogate pair, which is not text.") from None
        return json.dumps(value, ensure_ascii=False)

    def _one_of(self, texts: Sequence[str]) -> Node:
        """Many share what they begin with, so that few places are open at once."""
        if len(texts) <= 8:
            return choice(map(Literal, texts))
        pending = [(f"e{len(self._rules)}", sorted(set(texts)), 0)]
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
            self._add(name, choice(options))
        return first

    def _without_values(self, sub: Sub) -> Sub:
        if sub not in self._bare:
            gone = ("const", "enum", *IN_PLACE)
            schema = {key: value for key, value in sub.schema.items() if key not in gone}
            self._bare[sub] = self._all.make(schema, sub)
        return self._bare[sub]

    def _constant(self, value: Any, like: Sub) -> Sub:
        """A schema of keywords for an array or object, so that what else holds can be joined to it."""
        key = canonical(value)
        if key not in self._values:
            schema: dict[Any, Any]
            if isinstance(value, dict):
                schema = {
                    "type": "object",
                    "properties": {name: {"const": each} for name, each in value.items()},
                }
                schema |= {"required": list(value), "additionalProperties": False}
            else:
                schema = {"type": "array", "prefixItems": [{"const": each} for each in value], "items": False}
                schema |= {"minItems": len(value)}
            self._values[key] = self._all.make(schema, like)
        return self._values[key]

    def _literal_unless_excluded(self, value: bool | None, subs: Alternative) -> Node:
        return NEVER if canonical(value) in _excluded_keys(subs) else Literal(json.dumps(value))

    def _excluded(self, kind: str, subs: Alternative) -> list[Any]:
        values = [value for sub in subs for value in sub.get(Own.EXCLUDED, ())]
        return [value for value in values if type_of(value) == kind]

    # Numbers

    def _numbers(self, subs: Alternative, integer: bool) -> Numbers:
        lows: list[tuple[Fraction, bool]] = []
        highs: list[tuple[Fraction, bool]] = []
        for sub in subs:
            for keyword, bounds in (("minimum", lows), ("maximum", highs)):
                is_open = f"exclusive{keyword.capitalize()}"
                if sub.get(is_open) is True and keyword in sub.schema:  # draft 4
                    bounds.append((_number(sub, keyword), True))
                elif keyword in sub.schema:
                    bounds.append((_number(sub, keyword), False))
                if not isinstance(sub.get(is_open, False), bool):
                    bounds.append((_number(sub, is_open), True))
            if sub.get("format") in formats.INTEGERS:
                low, high = formats.INTEGERS[sub.get("format")]
                lows.append((Fraction(low), False))
                highs.append((Fraction(high), False))
        steps = [(_number(s, "multipleOf"), s) for s in subs if "multipleOf" in s.schema]
        for step, sub in steps:
            if step <= 0:
                raise sub.refuse("multipleOf", "must be greater than 0")
        not_steps = (exact(s.get(Own.NOT_MULTIPLE)) for s in subs if Own.NOT_MULTIPLE in s.schema)
        return Numbers(
            low=max(lows, default=None),
            high=min(highs, key=lambda bound: (bound[0], not bound[1]), default=None),
            multiples=tuple(dict.fromkeys(step for step, _ in steps)),
            not_multiples=tuple(step for step in not_steps if step > 0),
            excluded=tuple(exact(value) for value in self._excluded("number", subs)),
            integer=integer,
            fractional=any(Own.FRACTIONAL in sub.schema for sub in subs),
        )

    def _number(self, numbers: Numbers, subs: Alternative) -> Node:
        if numbers.is_free:
            return Rule("integer" if numbers.integer else "number")
        try:
            few = numbers.few()
            if few is not None:
                return self._one_of([_decimal(value) for value in few])
            return self._automaton_rules(self._spent(numbers.language()), Chars)
        except TooLarge as error:
            where, keyword = _first(subs, ("multipleOf", "minimum", "maximum", *KEYWORDS_OF_TYPE["number"]))
            raise where.refuse(keyword, f"can't be enforced with what else holds: {error}") from None

    # Strings

    def _string(self, subs: Alternative) -> Node:
        strings = self._strings(subs)
        if strings.high is not None and strings.high < strings.low:
            return NEVER
        if not strings.excluded and not strings.languages:
            return seq(Literal('"'), _times(Rule("char"), strings.low, strings.high), Literal('"'))
        if not strings.excluded and len(strings.languages) == 1:
            body = _direct(strings.languages[0], strings.low, strings.high)
            if body is not None:
                return seq(Literal('"'), _in_json(body), Literal('"'))
        return self._quoted(self._spent(self._checked(strings, strings.automaton)))

    def _spent(self, automaton: Dfa) -> Dfa:
        """Counts what it took: many small ones are work, too."""
        self._all.spend(1 + len(automaton.edges) // 10)
        return automaton

    def _checked(self, strings: _Strings, work: Callable[[], T]) -> T:
        try:
            if not strings.counted:
                strings.counted = True
                for automaton in strings.built:
                    self._spent(automaton)
            return work()
        except TooLarge as error:
            sub, keyword = strings.where
            raise sub.refuse(keyword, f"can't be enforced with what else holds: {error}") from None

    def _quoted(self, automaton: Dfa) -> Node:
        return seq(Literal('"'), self._automaton_rules(automaton, _char_in_json), Literal('"'))

    def _automaton_rules(self, automaton: Dfa, write: Callable[[Ranges], Node]) -> Node:
        prefix = f"s{len(self._rules)}"
        for name, node in automaton.rules(lambda state: f"{prefix}-{state}", write):
            self._add(name, node)
        return Rule(f"{prefix}-0")

    def _strings(self, subs: Alternative) -> _Strings:
        result = _Strings()
        excluded = self._excluded("string", subs)
        if excluded:
            result.excluded.append(self._literals_automaton(excluded))
        for sub in subs:
            for keyword in ("minLength", "maxLength", "pattern", "format"):
                if keyword in sub.schema:
                    result.where = (sub, keyword)
            low, high = sub.count("minLength") or 0, sub.count("maxLength")
            result.low = max(result.low, low)
            result.high = (
                high if result.high is None else result.high if high is None else min(high, result.high)
            )
            pattern = sub.checked("pattern", str, "a string")
            if pattern is not None:
                result.languages.append(_language(sub, pattern))
            if Own.NOT_PATTERN in sub.schema:
                result.excluded.append(self._built(sub, _language(sub, sub.get(Own.NOT_PATTERN))))
            if (language := _format(sub)) is not None:
                result.languages.append(language)
        return result

    def _built(self, sub: Sub, node: Node) -> Dfa:
        try:
            return self._spent(dfa.build(node))
        except TooLarge as error:
            raise sub.refuse("pattern", str(error)) from None

    def _literals_automaton(self, texts: Iterable[str]) -> Dfa:
        try:
            return self._spent(dfa.literals(texts))
        except TooLarge:
            raise GrammarError("The schema lists too many values or names.") from None

    # Arrays

    def _array(self, subs: Alternative) -> Node:
        low, high = 0, None
        contains: list[Sub] = []
        for sub in subs:
            low = max(low, sub.count("minItems") or 0)
            least = sub.count("maxItems")
            high = least if high is None else high if least is None else min(high, least)
            idle = sub.count("minContains") == 0 and "maxContains" not in sub.schema
            if "contains" in sub.schema and not idle:
                contains.append(sub)
            if sub.get("unevaluatedItems", True) is not True:
                raise sub.refuse("unevaluatedItems", "is not supported")
        items = [self._items(sub) for sub in subs]
        listed = max((len(first) for first, _ in items), default=0)
        if high is not None and high < low:
            return NEVER
        for sub in subs:
            if sub.get("uniqueItems") is True and (high is None or high > 1):
                raise sub.refuse("uniqueItems", "a grammar can't compare items with each other")
        if contains:
            body = self._containing(contains, items, listed, low, high)
        else:
            body = self._items_from(items, listed, low, high)
        return seq(Literal("["), WS, body, Literal("]"))

    def _items(self, sub: Sub) -> tuple[list[Sub], Sub]:
        """Schemas of the first items, and of the rest."""
        keyword = "items" if isinstance(sub.get("items"), list) else "prefixItems"
        rest = "additionalItems" if keyword == "items" else "items"
        return self._all.inner_all(sub, keyword), self._inner_or_any(sub, rest)

    def _inner_or_any(self, sub: Sub, keyword: str, default: Sub = ANYTHING) -> Sub:
        return self._all.inner(sub, keyword) if keyword in sub.schema else default

    def _item(self, items: Items, at: int) -> list[Sub]:
        return [first[at] if at < len(first) else rest for first, rest in items]

    def _items_from(self, items: Items, listed: int, low: int, high: int | None) -> Node:
        """With the space before the bracket; a rule for each item that has its own schema."""
        rest = self._value(self._item(items, listed))
        following: Node = EMPTY
        for at in range(listed, -1, -1):
            end = WS if at else EMPTY
            if high is not None and at >= high:
                following = end
            elif at == listed:
                more = _times(seq(COMMA, rest), max(low - 1, 0), None if high is None else high - 1)
                if at:
                    more = _times(seq(COMMA, rest), max(low - at, 0), None if high is None else high - at)
                following = seq(more, WS) if at else seq(rest, more, WS)
                following = following if at or low else optional(following)
            else:
                item = seq(COMMA if at else EMPTY, self._value(self._item(items, at)), following)
                following = self._rule(choice([item] if at < low else [item, end]), "items")
        return following

    def _containing(self, contains: list[Sub], items: Items, listed: int, low: int, high: int | None) -> Node:
        """Counts the items and those of them that `contains` wants, one by one."""
        sub = contains[0]
        least, most = sub.count("minContains"), sub.count("maxContains")
        least = 1 if least is None else least
        wanted = self._all.inner(sub, "contains")
        last = max(listed, low, 1) if high is None else high
        counted = least if most is None else most
        if len(contains) > 1 or last * (counted + 1) > MAX_COUNTED or counted > MAX_COUNTED:
            raise sub.refuse("contains", "can't be enforced with this many items or another `contains`")
        other = [] if most is None else [self._all.opposite(wanted)]
        prefix = f"c{len(self._rules)}"

        def name(at: int, found: int) -> str:
            return f"{prefix}-{at}-{found}"

        for at in range(last + 1):
            for found in range(counted + 1):
                item = self._item(items, at)
                comma = COMMA if at else EMPTY
                then = min(at + 1, last)
                options: list[Node] = []
                if high is None or at < high:
                    options.append(seq(comma, self._value([*item, *other]), Rule(name(then, found))))
                    if most is None or found < most:
                        more = Rule(name(then, min(found + 1, counted)))
                        options.append(seq(comma, self._value([*item, wanted]), more))
                if at >= low and found >= least:
                    options.append(WS if at else EMPTY)
                self._add(name(at, found), choice(options))
        return Rule(name(0, 0))

    # Objects

    def _object(self, subs: Alternative, entry: tuple[Sub, ...]) -> Node:
        required = dict.fromkeys(name for sub in subs for name in sub.names("required"))
        names = dict.fromkeys(name for sub in subs for name in _properties(sub)) | required
        others = self._others(subs, entry)
        forbidden = {name for sub in subs for name in sub.get(Own.FORBIDDEN, ())}
        allowed = self._names_allowed(subs)
        pairs: list[tuple[Node, bool]] = []
        for name in names:
            value = self._value(self._of_property(name, subs, others))
            if name in forbidden or (allowed is not None and not allowed.accepts(name)):
                value = NEVER
            key = Literal(self._text(name) + ":")
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
            found = [self._all.inner(sub, "properties", name)] if name in _properties(sub) else []
            for pattern in _patterns(sub):
                if self._built(sub, _language(sub, pattern, "patternProperties")).accepts(name):
                    found.append(self._all.inner(sub, "patternProperties", pattern))
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
                others.append(self._all.inner(sub, "unevaluatedProperties"))
            else:
                others.append(self._inner_or_any(sub, "additionalProperties", default))
        return others

    def _unevaluated(self, subs: Alternative, entry: tuple[Sub, ...]) -> Sub | None:
        """The schema that has `unevaluatedProperties`, where these are what no other one lists."""
        for sub in subs:
            if sub.get("unevaluatedProperties", True) is not True:
                is_whole = [sub] == list(entry) and self._all.holding(sub) >= set(subs)
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
                found = self._all.alternatives([self._all.inner(sub, "propertyNames")])
                if len(found) > 1:
                    raise sub.refuse("propertyNames", "can't be enforced with alternatives in it")
                names = self._names_of(found[0], sub) if found else dfa.literals([])
                result = names if result is None else result & names
        return result

    def _names_of(self, subs: Alternative, where: Sub) -> Dfa:
        types, _ = types_of(subs)
        values = values_of(subs)
        if "string" not in types:
            return dfa.literals([])
        strings = self._strings(subs)
        if strings.where[0] is NOTHING:
            strings.where = (where, "propertyNames")
        names = self._spent(self._checked(strings, strings.automaton))
        if values is None:
            return names
        return self._literals_automaton(v for v in values if isinstance(v, str) and names.accepts(v))

    def _other_pairs(
        self, names: list[str], subs: Alternative, others: list[Sub], allowed: Dfa | None
    ) -> Node:
        """A pair that is not listed: its key and value for each set of patterns that the key may match."""
        patterns = list(dict.fromkeys((pattern, sub) for sub in subs for pattern in _patterns(sub)))
        texts = list(dict.fromkeys(pattern for pattern, _ in patterns))
        if not texts and any(other.schema is False for other in others):
            return NEVER
        if not texts and not names and allowed is None:
            return seq(STRING, Literal(":"), WS, self._value(others))
        if len(texts) > MAX_PATTERNS:
            raise patterns[0][1].refuse("patternProperties", f"more than {MAX_PATTERNS} patterns at once")
        keys = self._literals_automaton(names).inverted()
        options = []
        try:
            keys = keys if allowed is None else keys & allowed
            automata = [
                self._built(s, _language(s, p, "patternProperties")) for p, s in patterns if p in texts
            ]
            by_text = dict(zip((p for p, _ in patterns), automata, strict=True))
            for matching in range(2 ** len(texts)):
                chosen = [text for n, text in enumerate(texts) if matching >> n & 1]
                values = self._of_name(chosen, subs, others)
                if any(value.schema is False for value in values):
                    continue
                own = keys
                for text in texts:
                    own = self._spent(own & (by_text[text] if text in chosen else by_text[text].inverted()))
                if not own.is_empty():
                    options.append(seq(self._quoted(own), Literal(":"), WS, self._value(values)))
        except TooLarge as error:
            where, keyword = _first(subs, ("patternProperties", "propertyNames", "additionalProperties"))
            raise where.refuse(keyword, str(error)) from None
        return choice(options)

    def _of_name(self, patterns: list[str], subs: Alternative, others: list[Sub]) -> list[Sub]:
        """What holds for a value whose name matches `patterns` and is not listed."""
        result = []
        for sub, other in zip(subs, others, strict=True):
            mine = [p for p in _patterns(sub) if p in patterns]
            told = "additionalProperties" in sub.schema or not patterns
            found = [self._all.inner(sub, "patternProperties", pattern) for pattern in mine]
            result += found or ([other] if told else [])
        return result

    def _property_counts(self, subs: Alternative, listed: int, required: int, more: Node) -> Counts | None:
        """How many there must and may be, 0 and None if that is so anyway; None if there can't be."""
        low, high = 0, None
        for sub in subs:
            least, most = sub.count("minProperties") or 0, sub.count("maxProperties")
            low = max(low, least)
            high = most if high is None else high if most is None else min(high, most)
            if more != NEVER and low > max(required, 1):
                raise sub.refuse("minProperties", "a grammar can't see that further names differ")
        if more == NEVER and high is not None and high >= listed:
            high = None
        if (high is not None and high < max(low, required)) or (more == NEVER and low > listed):
            return None
        low = 0 if low <= required else low
        if listed * min(listed, max(low, high or 0)) > MAX_RULES // 4:
            sub, keyword = _first(subs, ("minProperties", "maxProperties"))
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
                rules[count] = self._rule(choice(options), "pairs")
            following = rules
        return following[0]

    def _rest(self, more: Node, count: int, low: int, high: int | None) -> Node:
        """Behind the listed properties, of which there were `count`."""
        end = WS if count else EMPTY
        if more == NEVER or (high is not None and count >= high):
            return end if count >= low else NEVER
        left = None if high is None else high - count
        if count:
            return seq(_times(seq(COMMA, more), max(low - count, 0), left), WS)
        others = seq(more, _times(seq(COMMA, more), max(low - 1, 0), None if left is None else left - 1), WS)
        return others if low else optional(others)


def _excluded_keys(subs: Alternative) -> set[str]:
    return {canonical(value) for sub in subs for value in sub.get(Own.EXCLUDED, ())}


def _properties(sub: Sub) -> dict[str, Any]:
    return sub.checked("properties", dict, "an object") or {}


def _patterns(sub: Sub) -> dict[str, Any]:
    return sub.checked("patternProperties", dict, "an object") or {}


def _number(sub: Sub, keyword: str) -> Fraction:
    value = sub.get(keyword)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or value != value
        or abs(value) == float("inf")
    ):
        raise sub.refuse(keyword, "must be a number")
    return exact(value)


def exact(value: float) -> Fraction:
    """As it is written: 0.1 is a tenth."""
    return Fraction(value) if isinstance(value, int) else Fraction(Decimal(repr(value)))


def _decimal(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"


def _first(subs: Alternative, keywords: Iterable[object]) -> tuple[Sub, str]:
    """Where one of `keywords` is."""
    return next(((sub, str(k)) for k in keywords for sub in subs if k in sub.schema), (subs[0], "type"))


def _language(sub: Sub, pattern: str, keyword: str = "pattern") -> Node:
    try:
        return dfa.search(regex.parse(pattern))
    except GrammarError as error:
        raise sub.refuse(keyword, str(error)) from None


def _check_format(sub: Sub) -> None:
    name = sub.checked("format", str, "a string")
    if name is not None and name not in (*formats.PATTERNS, *formats.FREE, *formats.INTEGERS):
        raise sub.refuse("format", f"the format {name!r} is not known")


def _format(sub: Sub) -> Node | None:
    pattern = formats.PATTERNS.get(sub.get("format"))
    return None if pattern is None else _language(sub, pattern, "format")


def _times(node: Node, low: int, high: int | None) -> Node:
    if high == 0:
        return EMPTY
    return node if low == high == 1 else Repeat(node, min(low, MAX_COUNT), high)


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
    most = high if only.high is None else only.high if high is None else min(high, only.high)
    return (
        Repeat(only.node, max(low, only.low), most) if most is None or most >= max(low, only.low) else NEVER
    )


def _has_anchor(node: Node) -> bool:
    return node in (dfa.BEGIN, dfa.END) or any(map(_has_anchor, children(node)))


def _in_json(node: Node) -> Node:
    """The same text within a JSON string."""
    if isinstance(node, Literal):
        return seq(*(_char_in_json(((ord(c), ord(c)),)) for c in node.text))
    if isinstance(node, Chars):
        return _char_in_json(node.ranges)
    if isinstance(node, Seq):
        return seq(*map(_in_json, node.parts))
    if isinstance(node, Choice):
        return choice(map(_in_json, node.options))
    assert isinstance(node, Repeat)
    return Repeat(_in_json(node.node), node.low, node.high)


def _char_in_json(ranges: Ranges) -> Node:
    if ranges == ANY.ranges:
        return Rule("char")
    plain = intersection(ranges, complement(_MUST_ESCAPE))
    options: list[Node] = [Chars(plain)] if plain else []
    for low, high in intersection(ranges, _MUST_ESCAPE):
        for code in range(low, high + 1):
            short = _SHORT.get(chr(code))
            options.append(Literal("\\" + short) if short else _hex_escape(code))
    return choice(options)


def _hex_escape(code: int) -> Node:
    last = f"{code % 16:x}"
    return seq(Literal(f"\\u00{code // 16}"), chars(last, last.upper()))


def productive(rules: dict[str, Node]) -> dict[str, Node]:
    """Without what can never be written to its end."""
    ends = rules_where(rules, _ends)
    return {name: _pruned(node, ends) for name, node in rules.items() if name in ends or name == "root"}


def _ends(node: Node, ends: set[str]) -> bool:
    if isinstance(node, Rule):
        return node.name in ends
    if isinstance(node, Seq):
        return all(_ends(part, ends) for part in node.parts)
    if isinstance(node, Choice):
        return any(_ends(option, ends) for option in node.options)
    if isinstance(node, Repeat):
        return node.low == 0 or _ends(node.node, ends)
    return not isinstance(node, Chars) or bool(node.ranges)


def _pruned(node: Node, ends: set[str]) -> Node:
    if not _ends(node, ends):
        return NEVER
    if isinstance(node, Seq):
        return seq(*(_pruned(part, ends) for part in node.parts))
    if isinstance(node, Choice):
        return choice(_pruned(option, ends) for option in node.options if _ends(option, ends))
    if isinstance(node, Repeat):
        inner = _pruned(node.node, ends)
        return EMPTY if inner == NEVER else Repeat(inner, node.low, node.high)
    return node


def reachable(rules: dict[str, Node], root: str) -> dict[str, Node]:
    found: dict[str, Node] = {}
    pending = [root]
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = rules[name]
            pending.extend(used_rules(rules[name]))
    return found


__all__ = ["Unenforceable", "grammar"]
