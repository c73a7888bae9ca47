"""Calls of models whose templates know tools and whose marks are control tokens, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from llamachat.tools.family import MARKERS, Family
from tests import tiny_models
from tests.integration.engine_process import question, running

SAYS_TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}"
SAYS_CALLS = "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}"
SAYS_ALL = SAYS_TOOLS + "{% for m in messages %}{{ m.role + ':' + m.content }}" + SAYS_CALLS + "{% endfor %}"
"""What makes it a family's is in a comment."""
MARKS = {
    Family.HERMES: "<tool_call>",
    Family.QWEN_CODER: "<tool_call> <function=",
    Family.LLAMA: "<|python_tag|>",
    Family.MISTRAL: "[TOOL_CALLS]",
    Family.MISTRAL_ARGS: "[TOOL_CALLS] [ARGS]",
    Family.DEEPSEEK: "tool▁call▁begin ```json",
    Family.DEEPSEEK_PLAIN: "tool▁call▁begin",
    Family.HARMONY: "<|channel|>",
}
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Köln", "Rome"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["city", "days"],
}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]


@pytest.mark.parametrize("family", Family)
def test_a_required_call_is_in_the_familys_form(family: Family, tmp_path: Path) -> None:
    template = "{# " + MARKS[family] + " #}" + SAYS_ALL
    model = tiny_models.write_llama(tmp_path / "tiny.gguf", MARKERS[family], template)
    body = question("Rome?", tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=400)
    if family is Family.HARMONY:  # else a random model thinks until it is cut
        body["tool_choice"] = "auto"
        body["grammar"] = (
            'root ::= <|channel|> "analysis" <|message|> "hm" <|start|> "assistant"'
            ' <|channel|> "commentary to=functions.get_weather" <|message|> "{}" <|end|>'
        )
    with running(tmp_path / "log", model=str(model)) as engine:
        answer = engine.ask("POST", "/v1/chat/completions", body).json()
        whole = answer["choices"][0]
        events = list(engine.open_stream(body))
    (call,) = whole["message"]["tool_calls"]
    pieces = [c for e in events[:-1] if e["choices"] for c in e["choices"][0]["delta"].get("tool_calls", ())]
    streamed = "".join(piece["function"].get("arguments", "") for piece in pieces)
    assert streamed == call["function"]["arguments"] and not whole["message"]["content"]
    assert whole["finish_reason"] == events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    if family is Family.HARMONY:
        assert whole["message"]["reasoning_content"] == "hm"
        assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0
    else:
        jsonschema.validate(json.loads(streamed), PARAMETERS)


def test_the_middle_is_filled_in_where_the_model_has_tokens_for_it(tmp_path: Path) -> None:
    marks = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    model = tiny_models.write_llama(tmp_path / "tiny.gguf", marks)
    body = {"prompt": "abc", "max_tokens": 2, "echo": True}
    with running(tmp_path / "log", model=str(model)) as engine:
        plain, filled = (
            engine.ask("POST", "/v1/completions", {**body, **more}).json() for more in ({}, {"suffix": "de"})
        )
    assert filled["choices"][0]["text"].startswith("abc")
    assert filled["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"] + len(marks)
