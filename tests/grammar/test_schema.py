"""What clients send: what it means, and what is refused where."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llamachat.grammar.conjunction import Unenforceable
from llamachat.grammar.matcher import Matcher
from llamachat.grammar.nodes import GrammarError
from llamachat.grammar.schema import grammar


def accepts(schema: Any, text: str) -> bool:
    return Matcher(grammar(schema)).accepts(text.encode())


@pytest.mark.parametrize(
    ("schema", "accepted", "not_accepted"),
    [
        ({"type": "string"}, '"a\\nb"', '"a\nb"'),
        ({"type": "string", "maxLength": 1_000_000_000}, '"abc"', '"abc'),
        ({"type": "string", "pattern": "^a{1,100000}$"}, '"aaa"', '""'),
        ({"type": "string", "pattern": "b"}, '"abc"', '"ac"'),
        ({"type": "string", "pattern": "^(([a-z]{0,9}){0,9}){0,9}$"}, '"abc"', '"A"'),
        ({"type": "string", "pattern": '^"\\\\\\n$'}, '"\\"\\\\\\n"', '"x"'),
        ({"type": "string", "pattern": "^a", "maxLength": 2}, '"ab"', '"abc"'),
        ({"type": "string", "format": "date"}, '"2024-02-29"', '"2023-02-29"'),
        ({"type": "integer", "minimum": -5, "exclusiveMaximum": 12}, "-5", "12"),
        ({"type": "number", "minimum": 0.1}, "0.11", "0.09"),
        ({"type": "integer", "multipleOf": 7}, "21", "22"),
        ({"type": "integer", "format": "int32"}, "2147483647", "2147483648"),
        ({"minItems": 1_000_000_000, "type": "array"}, "", "[1]"),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, "[1, 2]", "[1, 2, 3]"),
        ({"type": "array", "maxItems": 1, "uniqueItems": True}, "[1]", "[1, 1]"),
        ({"properties": {"a": {"type": "null"}}}, '{"a": null}', '{"a": null, "b": 1}'),
        ({"type": "object"}, '{"b": [{}]}', "[]"),
        ({"type": "object", "properties": {}}, "{}", '{"a": 1}'),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"b": 1}', '{"b": "1"}'),
        ({"patternProperties": {"^x-": {"type": "integer"}}}, '{"x-a": 1}', '{"a": 1}'),
        ({"enum": ["a" * n for n in range(99)]}, '"aaa"', '"aab"'),
        ({"enum": ["a", 1, None, {"b": [1]}]}, '{"b": [1]}', '{"b": [2]}'),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "not": {"const": 3}}, "4", "3"),
        ({"type": ["string", "null"], "minLength": 2}, "null", '"a"'),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"const": "x"}}}, '"x"', '"y"'),
        (
            {"$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}, "$ref": "#/$defs/t"},
            "[[], [[]]]",
            "[1]",
        ),
        (
            {
                "oneOf": [
                    {"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind"]},
                    {"properties": {"kind": {"const": "b"}, "y": {"type": "integer"}}, "required": ["kind"]},
                ]
            },
            '{"kind": "b", "y": 1}',
            '{"kind": "b", "x": 1}',
        ),
        (
            {
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "if": {"properties": {"a": {"const": 1}}, "required": ["a"]},
                "then": {"required": ["b"]},
            },
            '{"a": 1, "b": 2}',
            '{"a": 1}',
        ),
    ],
)
def test_a_schema_means_what_json_schema_says(schema: Any, accepted: str, not_accepted: str) -> None:
    assert not accepted or accepts(schema, accepted)
    assert not accepts(schema, not_accepted)


@pytest.mark.parametrize(
    ("schema", "pointer", "keyword"),
    [
        ({"properties": {"a": {"pattern": "(?=x)y"}}}, "#/properties/a", "pattern"),
        ({"items": {"type": "array", "uniqueItems": True}}, "#/items", "uniqueItems"),
        ({"$defs": {"a/b": {"format": "colour"}}, "$ref": "#/$defs/a~1b"}, "#/$defs/a~1b", "format"),
        ({"$ref": "https://example.com/schema"}, "#", "$ref"),
        ({"$ref": "#/nowhere"}, "#", "$ref"),
        ({"type": "strnig"}, "#", "type"),
        ({"minLength": "3"}, "#", "minLength"),
        ({"properties": [1]}, "#", "properties"),
        ({"allOf": [{"unevaluatedItems": False}]}, "#/allOf/0", "unevaluatedItems"),
        ({"type": "object", "minProperties": 2}, "#", "minProperties"),
        ({"not": {"additionalProperties": False}}, "#/not", "additionalProperties"),
        ({"oneOf": [{"type": "integer"}, {"not": {"oneOf": [True]}}]}, "#/oneOf/1/not", "oneOf"),
        ({"type": "string", "pattern": "(a|b)*a(a|b){20}$", "minLength": 1}, "#", "pattern"),
    ],
)
def test_what_cannot_be_enforced_is_refused_with_its_place(schema: Any, pointer: str, keyword: str) -> None:
    with pytest.raises(Unenforceable) as refused:
        grammar(schema)
    assert (refused.value.pointer, refused.value.keyword) == (pointer, keyword)


SAME = {"type": "string"}


@pytest.mark.parametrize(
    "schema", [{"oneOf": [SAME, SAME]}, {"enum": []}, {"minimum": 3, "maximum": 2, "type": "integer"}, False]
)
def test_a_schema_that_nothing_satisfies_is_refused(schema: Any) -> None:
    with pytest.raises(GrammarError, match="no value"):
        grammar(schema)


def nested(schema: Any, depth: int) -> Any:
    for _ in range(depth):
        schema = {"anyOf": [{"properties": {"a": schema}}, {"items": schema}, schema]}
    return schema


HOSTILE: dict[str, Any] = {
    "alternatives": {"allOf": [{"anyOf": [{"minimum": n * m} for n in range(9)]} for m in range(9)]},
    "nested alternatives": nested({}, 7),
    "many nested alternatives": nested({}, 10),
    "wide enum": {"enum": [f"{n}" * 20 for n in range(60_000)]},
    "many properties": {"properties": {f"p{n}": {"type": "string"} for n in range(20_000)}},
    "oneOf": {"oneOf": [{"required": [f"a{n}"], "properties": {f"a{n}": {}}} for n in range(300)]},
    "counted properties": {"properties": {f"p{n}": {} for n in range(900)}, "minProperties": 400},
    "patterns": {"patternProperties": {f"(a|b)*a(a|b){{{n}}}": {} for n in range(5, 11)}},
    "long pattern": {"pattern": "(" * 40 + "a" + ")*" * 40, "minLength": 3},
    "large counts": {"pattern": "^((a{0,999}b){0,999}c){0,999}$", "maxLength": 3000},
    "multiples": {"type": "number", "multipleOf": 0.000001, "not": {"multipleOf": 7}},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_bounded_in_work(name: str) -> None:
    """Whether enforced or refused, it ends: the bounds are on steps, not on time."""
    try:
        matcher = Matcher(grammar(HOSTILE[name]))
    except GrammarError:
        return
    assert matcher.next_bytes(matcher.start)


def test_a_multiple_has_no_more_digits_than_a_double_keeps() -> None:
    matcher = Matcher(grammar({"type": "number", "multipleOf": 3}))
    assert matcher.accepts(b"461000600039900022") and matcher.accepts(b"-12.0")
    assert not matcher.accepts(b"461000600039900022.0") and not matcher.accepts(b"12.5")


def test_a_recursive_schema_of_alternatives_ends_when_it_is_too_ambiguous() -> None:
    tree: dict[str, Any] = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    schema = {"anyOf": [{"type": "null"}, {**tree, "properties": {**tree["properties"], "b": {}}}, tree]}
    matcher = Matcher(grammar(schema))
    with pytest.raises(GrammarError, match="too ambiguous"):
        matcher.advance(matcher.start, b'{"a":' * 40)


def test_the_grammar_is_written_as_gbnf() -> None:
    text = str(grammar({"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}))
    assert text.startswith("root ::=") and json.dumps('"a":') in text
