"""Random schemas: what their grammar writes validates, and what validates in canonical form is accepted."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
from hypothesis import HealthCheck, given, note, reject, settings
from hypothesis import strategies as st

from llamachat.grammar.matcher import Matcher
from llamachat.grammar.nodes import GrammarError
from llamachat.grammar.schema import grammar
from tests.grammar.sampling import draw

Validator = jsonschema.Draft202012Validator
FORMATS = ("date", "email", "ipv4", "ipv6", "uuid", "time", "date-time", "duration", "uri", "hostname")
NAMES = st.sampled_from(["a", "b", "c", 'quo"te', "名"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.sampled_from([0.5, 1.25, -2.5]), TEXTS)
PATTERNS = ("^[a-z]{2,4}$", "b", "^a|c$", "[^x]y?$", '^"', "^(ab|cd)*e$", "^.?.?$")
numbers = st.sampled_from([-7, -1, 0, 0.5, 1, 2.25, 3, 10, 120])
counts = st.integers(0, 3)

numeric = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={
        "minimum": numbers,
        "maximum": numbers,
        "exclusiveMinimum": numbers,
        "exclusiveMaximum": numbers,
        "multipleOf": st.sampled_from([1, 2, 3, 0.5, 7]),
    },
)
textual = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={
        "minLength": counts,
        "maxLength": st.integers(0, 8),
        "pattern": st.sampled_from(PATTERNS),
        "format": st.sampled_from(FORMATS),
    },
)
listed = st.one_of(
    st.builds(lambda v: {"const": v}, SCALARS), st.builds(lambda v: {"enum": v}, st.lists(SCALARS))
)
leaves = st.one_of(numeric, textual, listed, st.booleans(), st.just({"type": ["null", "boolean"]}))
recursive: Any = {
    "type": ["object", "array", "integer"],
    "items": {"$ref": "#/$defs/recursive"},
    "maxItems": 2,
    "properties": {"a": {"$ref": "#/$defs/recursive"}, "b": {"$ref": "#/$defs/shared"}},
}
references = st.sampled_from([{"$ref": "#/$defs/shared"}, {"$ref": "#/$defs/recursive"}])


def compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    arrays = st.fixed_dictionaries(
        {"type": st.just("array")},
        optional={
            "items": inner,
            "prefixItems": some,
            "minItems": counts,
            "maxItems": counts,
            "contains": inner,
            "minContains": counts,
            "maxContains": counts,
        },
    )
    objects = st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": inner,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b", "[0-9]"]), inner, max_size=2),
            "propertyNames": textual,
            "minProperties": counts,
            "maxProperties": counts,
            "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=1),
        },
    )
    combined = st.one_of(
        st.builds(lambda s: {"anyOf": s}, some),
        st.builds(lambda s: {"oneOf": s}, some),
        st.builds(lambda s: {"allOf": s}, some),
        st.builds(lambda s: {"not": s}, inner),
        st.builds(lambda a, b, c: {"if": a, "then": b, "else": c}, inner, inner, inner),
    )
    both = st.builds(lambda a, b: {**a, **b}, combined, st.one_of(arrays, objects, numeric))
    return st.one_of(arrays, objects, combined, both)


schemas = st.recursive(leaves | references, compound, max_leaves=8)
shared_schemas = st.recursive(leaves, compound, max_leaves=4)
slowly = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@slowly
@given(schemas, shared_schemas, st.integers(0, 2**32))
def test_what_the_grammar_writes_is_json_that_validates(schema: Any, shared: Any, seed: int) -> None:
    document = {"allOf": [schema], "$defs": {"shared": shared, "recursive": recursive}}
    try:
        matcher = Matcher(grammar(document))
    except GrammarError:
        reject()
    validator = Validator(document, format_checker=Validator.FORMAT_CHECKER)
    for number in range(8):
        try:
            text = draw(matcher, random.Random(seed + number))
        except GrammarError:
            reject()
        if text is not None:
            note(text.decode())
            validator.validate(json.loads(text))


def canonical_object(pairs: list[tuple[Any, Any, bool]], keys: list[str]) -> Any:
    """A schema, and instances with its properties in order."""
    schema = {
        "type": "object",
        "properties": {key: pair[0] for key, pair in zip(keys, pairs, strict=False)},
        "required": [key for key, pair in zip(keys, pairs, strict=False) if pair[2]],
    }

    @st.composite
    def values(draw: st.DrawFn) -> dict[str, Any]:
        return {
            key: draw(pair[1])
            for key, pair in zip(keys, pairs, strict=False)
            if pair[2] or draw(st.booleans())
        }

    return schema, values(), True


def with_bounds(low: int, size: int) -> Any:
    return {"type": "integer", "minimum": low, "maximum": low + size}, st.integers(low, low + size)


def with_lengths(low: int, more: int) -> Any:
    text = st.text(st.characters(exclude_categories=["Cs"]), min_size=low, max_size=low + more)
    return {"type": "string", "minLength": low, "maxLength": low + more}, text


def array_of(pair: Any, low: int, more: int) -> Any:
    values = st.lists(pair[1], min_size=low, max_size=low + more)
    return {"type": "array", "items": pair[0], "minItems": low, "maxItems": low + more}, values


def tuple_of(pairs: list[Any]) -> Any:
    return {"type": "array", "prefixItems": [p[0] for p in pairs], "items": False}, st.tuples(
        *(p[1] for p in pairs)
    )


def map_of(pair: Any) -> Any:
    return {"type": "object", "additionalProperties": pair[0]}, st.dictionaries(TEXTS, pair[1], max_size=3)


simple = st.one_of(
    st.builds(with_bounds, st.integers(-500, 500), st.integers(0, 2000)),
    st.builds(with_lengths, st.integers(0, 3), st.integers(0, 5)),
    st.builds(
        lambda p: ({"type": "string", "pattern": p}, st.from_regex(p[:-1] + r"\Z")),
        st.sampled_from(PATTERNS[:1]),
    ),
    st.builds(lambda v: ({"enum": v}, st.sampled_from(v)), st.lists(SCALARS, min_size=1, max_size=5)),
    st.just(({"type": "string", "format": "date"}, st.dates().map(str))),
    st.just(({"type": "string", "format": "uuid"}, st.uuids().map(str))),
    st.just(({"type": "string", "format": "ipv6"}, st.ip_addresses(v=6).map(str))),
    st.just(({"type": "boolean"}, st.booleans())),
    st.just(({"type": "number"}, st.floats(-1e15, 1e15).map(lambda x: x if abs(x) > 1e-90 else 0.0))),
    st.just(
        ({"type": "number", "minimum": 0}, st.integers(0, 10**15).map(lambda n: n / 8 if n < 10**9 else n))
    ),
    st.just(({}, st.recursive(SCALARS, lambda v: st.lists(v) | st.dictionaries(TEXTS, v), max_leaves=6))),
)
pairs_of_both = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(array_of, inner, st.integers(0, 2), st.integers(0, 2)),
        st.builds(tuple_of, st.lists(inner, max_size=3)),
        st.builds(map_of, inner),
        st.builds(lambda a, b: ({"anyOf": [a[0], b[0]]}, a[1] | b[1]), inner, inner),
        st.builds(
            lambda pairs, keys, needed: canonical_object(
                [(*pair, n) for pair, n in zip(pairs, needed, strict=False)], keys
            )[:2],
            st.lists(inner, min_size=1, max_size=3),
            st.lists(NAMES, min_size=3, max_size=3, unique=True),
            st.lists(st.booleans(), min_size=3, max_size=3),
        ),
    ),
    max_leaves=6,
)


@slowly
@given(st.data())
def test_what_validates_in_canonical_form_is_accepted(data: st.DataObject) -> None:
    schema, values = data.draw(pairs_of_both)
    value = data.draw(values)
    note(f"{schema} {value!r}")
    Validator(schema).validate(json.loads(json.dumps(value)))
    matcher = Matcher(grammar(schema))
    for options in ({}, {"indent": 2}, {"separators": (",", ":")}):
        text = json.dumps(value, ensure_ascii=False, **options)
        assert matcher.accepts(text.encode()), text
