"""Answers as the families' makers document them, cut at every byte, in pieces of any size."""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamachat.tools.answer_parts import Answer, Arguments, CallBegins, Event
from llamachat.tools.family import Family
from llamachat.tools.parsers import parser

NAMES = ("get_weather", "add", "brave_search", "code_interpreter")
PARIS = {"city": "Paris", "unit": "celsius"}
TRICKY = {"city": 'Köln "}]</tool_call>\n', "list": [{"a": [1, {}]}], "null": None, "emoji": "🌦"}


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Recorded:
    family: Family
    output: str
    calls: list[tuple[str, Any]]
    text: str = ""
    thinking: str = ""
    thinks: bool = False


def hermes(name: str, arguments: Any, key: str = "arguments") -> str:
    return f'<tool_call>\n{{"name": "{name}", "{key}": {compact(arguments)}}}\n</tool_call>'


def coder(name: str, **arguments: str) -> str:
    tags = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments.items())
    return f"<tool_call>\n<function={name}>\n{tags}</function>\n</tool_call>"


def deepseek(name: str, arguments: Any) -> str:
    head = f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n"
    return head + compact(arguments) + "\n```<｜tool▁call▁end｜>"


RECORDED = {
    "hermes": Recorded(Family.HERMES, hermes("get_weather", PARIS), [("get_weather", PARIS)]),
    "hermes, two and text": Recorded(
        Family.HERMES,
        f"I'll look.\n\n{hermes('get_weather', TRICKY)}\n{hermes('add', {'a': 1})}\nDone < soon.",
        [("get_weather", TRICKY), ("add", {"a": 1})],
        "I'll look.Done < soon.",
    ),
    "qwen, thinking": Recorded(
        Family.HERMES,
        f"<think>\nMaybe <tool_call> it?\n</think>\n\n{hermes('add', {})}",
        [("add", {})],
        "<think>\nMaybe <tool_call> it?\n</think>",
    ),
    "qwen, thinking that the prompt opened": Recorded(
        Family.HERMES, f"Hm.</think>\n\n{hermes('add', {})}", [("add", {})], "Hm.</think>", thinks=True
    ),
    "qwen coder": Recorded(
        Family.QWEN_CODER,
        "I'll look.\n\n"
        + coder("get_weather", city='Köln </b> "x"\n\n3', days="3", hourly="True", list='["a", 1]')
        + "\n"
        + coder("add"),
        [
            ("get_weather", {"city": 'Köln </b> "x"\n\n3', "days": 3, "hourly": True, "list": ["a", 1]}),
            ("add", {}),
        ],
        "I'll look.",
    ),
    "qwen coder, numbers as text and words without quotes": Recorded(
        Family.QWEN_CODER,
        coder("get_weather", city="3", days="soon"),
        [("get_weather", {"city": "3", "days": "soon"})],
    ),
    "qwen coder, an object": Recorded(
        Family.QWEN_CODER, hermes("get_weather", TRICKY), [("get_weather", TRICKY)]
    ),
    "qwen coder, not a call": Recorded(
        Family.QWEN_CODER, "<tool_call> is <function of", [], "<tool_call> is <function of"
    ),
    "hermes, no arguments": Recorded(Family.HERMES, '<tool_call>{"name": "add"}</tool_call>', [("add", {})]),
    "hermes, a list": Recorded(
        Family.HERMES,
        '<tool_call>[{"name": "add", "arguments": {"a": 1}}, {"arguments": {"a": 2}, "name": "add"}]'
        "</tool_call>",
        [("add", {"a": 1}), ("add", {"a": 2})],
    ),
    "hermes, raw line ends": Recorded(
        Family.HERMES,
        '<tool_call>{"name": "add", "arguments": {"a": "x\n\ty"}}</tool_call>',
        [("add", {"a": "x\n\ty"})],
    ),
    "hermes, arguments as text": Recorded(
        Family.HERMES,
        '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>',
        [("add", {"a": 1})],
    ),
    "hermes, not a call": Recorded(
        Family.HERMES, "<tool_call> is a tag, <b> too: {1}", [], "<tool_call> is a tag, <b> too: {1}"
    ),
    "hermes, text alone": Recorded(Family.HERMES, "  1 < 2\n\n", [], "  1 < 2\n\n"),
    "llama": Recorded(
        Family.LLAMA,
        '{"name": "get_weather", "parameters": ' + compact(TRICKY) + "}",
        [("get_weather", TRICKY)],
    ),
    "llama, python tag, two": Recorded(
        Family.LLAMA,
        '<|python_tag|>{"name": "add", "parameters": {"a": 1}}; {"name": "add", "parameters": {"a": 2}}',
        [("add", {"a": 1}), ("add", {"a": 2})],
    ),
    "llama, with a type": Recorded(
        Family.LLAMA, '\n{"type": "function", "name": "add", "parameters": {}}', [("add", {})]
    ),
    "llama, built in": Recorded(
        Family.LLAMA,
        '<|python_tag|>brave_search.call(query="weather in Köln")',
        [("brave_search", {"query": "weather in Köln"})],
    ),
    "llama, code": Recorded(
        Family.LLAMA,
        "<|python_tag|>print(1)\nprint(2)",
        [("code_interpreter", {"code": "print(1)\nprint(2)"})],
    ),
    "llama, JSON that is not a call": Recorded(
        Family.LLAMA, '{"name": "Ann", "age": 3}', [], '{"name": "Ann", "age": 3}'
    ),
    "llama, text": Recorded(Family.LLAMA, 'Use {"name": "add"}.', [], 'Use {"name": "add"}.'),
    "mistral": Recorded(
        Family.MISTRAL,
        "[TOOL_CALLS]"
        + compact([{"name": "get_weather", "arguments": TRICKY}, {"name": "add", "arguments": {}}]),
        [("get_weather", TRICKY), ("add", {})],
    ),
    "mistral, ids and text": Recorded(
        Family.MISTRAL,
        'Sure. [TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}, "id": "abcdefghi"}]',
        [("add", {"a": 1})],
        "Sure.",
    ),
    "mistral, args": Recorded(
        Family.MISTRAL_ARGS,
        f"[TOOL_CALLS]get_weather[ARGS]{compact(TRICKY)}[TOOL_CALLS]add[CALL_ID]abcdefghi[ARGS]" + '{"a": 1}',
        [("get_weather", TRICKY), ("add", {"a": 1})],
    ),
    "deepseek": Recorded(
        Family.DEEPSEEK,
        "Let me.<｜tool▁calls▁begin｜>"
        + deepseek("get_weather", TRICKY)
        + "\n"
        + deepseek("add", {})
        + "<｜tool▁calls▁end｜>",
        [("get_weather", TRICKY), ("add", {})],
        "Let me.",
    ),
    "deepseek, plain": Recorded(
        Family.DEEPSEEK_PLAIN,
        '</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{"a": 1}<｜tool▁call▁end｜>'
        "<｜tool▁call▁begin｜>add<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        [("add", {"a": 1}), ("add", {})],
        "</think>",
        thinks=True,
    ),
    "harmony": Recorded(
        Family.HARMONY,
        "<|channel|>analysis<|message|>Need <weather>.<|end|><|start|>assistant<|channel|>commentary"
        " to=functions.get_weather <|constrain|>json<|message|>" + compact(TRICKY),
        [("get_weather", TRICKY)],
        thinking="Need <weather>.",
    ),
    "harmony, preamble": Recorded(
        Family.HARMONY,
        "<|channel|>commentary<|message|>I'll look.<|end|><|start|>assistant to=functions.add"
        '<|channel|>commentary json<|message|>{"a": 1}<|call|>',
        [("add", {"a": 1})],
        "I'll look.",
    ),
    "harmony, final": Recorded(
        Family.HARMONY,
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi < you."
        "<|return|>",
        [],
        "Hi < you.",
        "Hm.",
    ),
    "harmony, without channels": Recorded(Family.HARMONY, "Hi.", [], "Hi."),
}


def read(recorded: Recorded, pieces: list[bytes]) -> tuple[Answer, list[Event]]:
    reading = parser(recorded.family, NAMES, recorded.thinks, {"get_weather": frozenset(["city"])})
    decode = codecs.getincrementaldecoder("utf-8")().decode
    events = [event for piece in pieces for event in reading.feed(decode(piece))]
    events += reading.finish()
    return Answer().add(events), events


def check(recorded: Recorded, answer: Answer) -> None:
    assert [(name, json.loads(text)) for name, text in answer.calls or []] == recorded.calls
    assert (answer.text, answer.thinking) == (recorded.text, recorded.thinking)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_is_read_alike_however_it_is_cut(name: str) -> None:
    recorded = RECORDED[name]
    data = recorded.output.encode()
    whole, _ = read(recorded, [data])
    check(recorded, whole)
    for at in range(len(data) + 1):
        assert read(recorded, [data[:at], data[at:]])[0] == whole, data[:at]
    assert read(recorded, [data[n : n + 1] for n in range(len(data))])[0] == whole


@given(st.sampled_from(sorted(RECORDED)), st.lists(st.integers(0, 400)))
def test_pieces_of_any_size_are_read_alike(name: str, cuts: list[int]) -> None:
    recorded = RECORDED[name]
    data = recorded.output.encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    check(recorded, read(recorded, [data[a:b] for a, b in pairwise(edges)])[0])


@pytest.mark.parametrize("name", RECORDED)
def test_an_answer_that_breaks_off_anywhere_is_read_as_far_as_it_goes(name: str) -> None:
    """No name that is not whole, and arguments that the whole answer begins with."""
    recorded = RECORDED[name]
    whole = read(recorded, [recorded.output.encode()])[0].calls or []
    for at in range(len(recorded.output)):
        calls = read(recorded, [recorded.output[:at].encode()])[0].calls or []
        for (name, arguments), (whole_name, whole_arguments) in zip(calls, whole, strict=False):
            assert name == whole_name or recorded.family is Family.LLAMA
            assert whole_arguments.startswith(arguments) or recorded.family is Family.LLAMA


@pytest.mark.parametrize("name", ["hermes", "mistral", "mistral, args", "deepseek", "harmony", "llama"])
def test_arguments_come_while_they_are_written_and_the_name_once(name: str) -> None:
    recorded = RECORDED[name]
    _, events = read(recorded, [char.encode() for char in recorded.output])
    begun = [event for event in events if isinstance(event, CallBegins)]
    assert [event.name for event in begun] == [name for name, _ in recorded.calls]
    assert sum(isinstance(event, Arguments) for event in events) > 20
