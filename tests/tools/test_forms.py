"""Calls as their grammar writes them are read back, and their arguments validate."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest

from llamachat.grammar.matcher import Matcher
from llamachat.grammar.nodes import Grammar, Literal
from llamachat.grammar.schema import grammar
from llamachat.tools import forms, request
from llamachat.tools.answer_parts import Answer
from llamachat.tools.coder_form import texts_of
from llamachat.tools.family import Family, of_template
from llamachat.tools.parsers import parser
from llamachat.tools.prompt import for_template, without_template
from llamachat.tools.request import ToolError
from tests.grammar.sampling import draw

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 5}, "days": {"type": "integer", "maximum": 9}},
    "required": ["city"],
}
SEARCH = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["red", "r.e.d\n"]},
        "code": {"type": "string", "maxLength": 8},
        "id": {"type": ["string", "null"], "maxLength": 3},
        "where": {"$ref": "#/$defs/place"},
    },
    "required": ["where", "kind"],
    "$defs": {
        "place": {"anyOf": [{"type": "boolean"}, {"type": "array", "maxItems": 2, "items": {"type": "null"}}]}
    },
}
EITHER = {
    "type": "object",
    "anyOf": [{"properties": {n: {"type": "null"}}, "required": [n]} for n in ("a", "b")],
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "search", "parameters": SEARCH}},
    {"type": "function", "function": {"name": "either", "parameters": EITHER}},
    {"type": "function", "function": {"name": "now", "description": "What time it is."}},
]
SCHEMAS: dict[str, Any] = {"get_weather": WEATHER, "search": SEARCH, "either": EITHER, "now": {"const": {}}}


def offer(choice: Any = "required", parallel: bool = True) -> request.Offer:
    found = request.read(TOOLS, choice, parallel=parallel)
    assert found is not None
    return found


def calls(family: Family, **more: Any) -> forms.Calls:
    return forms.Calls(offer(**more), family, Literal)


BEGINS = {Family.HARMONY: b"<|channel|>commentary to=functions."}
THOUGHTS = (
    b"Hm.</think>",
    b"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary ",
)
"""Thinking as drawn at random would hardly end."""


@pytest.mark.parametrize(
    ("family", "thinks"), [*((f, False) for f in Family), *((f, True) for f in Family if f not in BEGINS)]
)
def test_what_the_grammar_writes_is_read_back(family: Family, thinks: bool) -> None:
    matcher = Matcher(calls(family).whole(thinks))
    begin = b"Hm.</think>" if thinks else BEGINS.get(family, b"")
    for seed in range(25):
        text = draw(matcher, random.Random(seed), begin)
        assert text is not None
        reading = parser(family, tuple(SCHEMAS), thinks, texts_of(offer()))
        read = Answer().add([*reading.feed(text.decode()), *reading.finish()])
        assert read.calls, text
        for name, arguments in read.calls:
            jsonschema.validate(json.loads(arguments), SCHEMAS[name])


@pytest.mark.parametrize("family", Family)
def test_a_call_that_begins_by_itself_triggers_the_rest_of_its_grammar(family: Family) -> None:
    whole, rest = Matcher(calls(family).whole(False)), Matcher(calls(family).behind_trigger())
    for seed in range(10):
        text = draw(whole, random.Random(seed), BEGINS.get(family, b""))
        assert text is not None
        begins = (n for n in range(len(text) + 1) if forms.trigger(family, text[:n], False) is not None)
        at = forms.trigger(family, text[: next(begins)], False)
        assert at is not None and rest.advance(rest.start, text[at : at + 6]) is not None


def test_thinking_triggers_nothing() -> None:
    assert forms.trigger(Family.HERMES, b"<think><tool_call>", False) is None
    assert forms.trigger(Family.HERMES, b"Hm.<tool_call>", True) is None
    assert forms.trigger(Family.HERMES, b"Hm.</think><tool_call>", True) == 22
    assert forms.trigger(Family.LLAMA, b'Use {"name": ', False) is None


def test_one_call_where_they_may_not_be_parallel() -> None:
    text = b'<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    for parallel in (True, False):
        matcher = Matcher(calls(Family.HERMES, parallel=parallel).whole(False))
        assert matcher.accepts(text) and matcher.accepts(text + b"\n" + text) == parallel


def test_an_answer_of_a_schema_may_stand_in_for_a_call() -> None:
    content: Grammar = grammar({"type": "array", "items": {"type": "null"}})
    matcher = Matcher(calls(Family.HERMES).whole(False, content))
    assert matcher.accepts(b"[null]") and not matcher.accepts(b"Hi.")
    assert matcher.accepts(b'<tool_call>{"name": "now", "arguments": {}}</tool_call>')


@pytest.mark.parametrize(
    ("template", "family"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", None),
        ("{% if tools %}<tools>{% endif %}<tool_call>", Family.HERMES),
        ("{% if tools %}<tool_call><function={% endif %}", Family.QWEN_CODER),
        ("{% if tools %}{% endif %}<|start_header_id|>ipython <|python_tag|>", Family.LLAMA),
        ("{% if tools %}[AVAILABLE_TOOLS]{% endif %}[TOOL_CALLS]", Family.MISTRAL),
        ("{% if tools %}{% endif %}[TOOL_CALLS]name[ARGS]", Family.MISTRAL_ARGS),
        (
            "{% if tools %}{{'<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + name + '```json'}}",
            Family.DEEPSEEK,
        ),
        (
            "{% if tools %}{% endif %}{{'<｜tool▁call▁begin｜>'+ name + '<｜tool▁sep｜>' + args}}",
            Family.DEEPSEEK_PLAIN,
        ),
        ("<|start|>system<|message|>{% if tools %}{% endif %}<|channel|>", Family.HARMONY),
    ],
)
def test_the_family_is_read_from_the_template(template: str, family: Family | None) -> None:
    assert of_template(template) is family


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ((["x"], None), "tools[0]"),
        (([{"type": "web_search"}], None), "tools[0]"),
        (([{"type": "function", "function": {"name": "a b"}}], None), "tools[0]"),
        ((TOOLS + TOOLS, None), "tools"),
        ((TOOLS, {"type": "function", "function": {"name": "nobody"}}), "tool_choice"),
        ((TOOLS, "always"), "tool_choice"),
        ((None, "required"), "tool_choice"),
        ((None, None, [{"name": "f"}], {"name": "g"}), "function_call"),
    ],
)
def test_a_wrong_offer_is_refused_with_its_field(asked: Any, param: str) -> None:
    with pytest.raises(ToolError) as refused:
        request.read(*asked)
    assert refused.value.param == param


def test_an_offer_says_what_may_be_called() -> None:
    assert request.read(TOOLS, "none") is None and request.read(None, None) is None
    assert offer("auto").names == tuple(SCHEMAS) and not offer("auto").needed
    named = offer({"type": "function", "function": {"name": "now"}})
    assert named.names == ("now",) and named.needed and not named.parallel
    legacy = request.read(None, None, [{"name": "f"}], {"name": "f"})
    assert legacy is not None and legacy.legacy and legacy.needed


HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Köln"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    {"role": "tool", "tool_call_id": "call_2", "content": "sun"},
]


def test_calls_and_results_are_text_where_the_template_knows_no_tools() -> None:
    system, user, call, results = without_template(HISTORY, offer())
    assert system["role"] == "system" and "get_weather" in system["content"] and "now" in system["content"]
    assert user == HISTORY[0]
    assert (
        call["content"] == '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Köln"}}\n</tool_call>'
    )
    assert results["role"] == "user"
    assert results["content"] == (
        "<tool_response>\nrain\n</tool_response>\n<tool_response>\nsun\n</tool_response>"
    )


def test_calls_are_as_the_template_reads_them() -> None:
    hermes = for_template(HISTORY, Family.HERMES)
    assert hermes[1]["tool_calls"][0]["function"]["arguments"] == {"city": "Köln"}
    deepseek = for_template(HISTORY, Family.DEEPSEEK)
    assert deepseek[1]["tool_calls"][0]["function"]["arguments"] == '{"city": "Köln"}'
    mistral = for_template(HISTORY, Family.MISTRAL)
    assert len(mistral[1]["tool_calls"][0]["id"]) == 9
    assert mistral[2]["tool_call_id"] == mistral[1]["tool_calls"][0]["id"]
