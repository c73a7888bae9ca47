"""Tool calls by the real engine on the real small model, whose template knows no tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.integration.engine_process import Engine, question, running

PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Paris", "Rome"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "note": {"type": "string", "maxLength": 30},
    },
    "required": ["city", "days", "note"],
}
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {"name": "get_weather", "description": "The weather.", "parameters": PARAMETERS},
    },
    {"type": "function", "function": {"name": "now"}},
]
NAMED = {"type": "function", "function": {"name": "get_weather"}}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running(tmp_path_factory.mktemp("tools") / "log", n_ctx=2048) as engine:
        yield engine


def asked(**more: Any) -> dict[str, Any]:
    return question("What is the weather in Rome?", **{"tools": TOOLS, "max_tokens": 120, **more})


def choice(engine: Engine, **more: Any) -> Any:
    answer = engine.ask("POST", "/v1/chat/completions", asked(**more))
    assert answer.status == 200, answer.body
    return answer.json()["choices"][0]


def deltas(events: list[Any]) -> list[Any]:
    return [event["choices"][0]["delta"] for event in events if event != "[DONE]" and event.get("choices")]


def test_of_allowed_tools_one_is_called_though_all_are_shown(engine: Engine) -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "now"}}]}
    answer = engine.ask(
        "POST",
        "/v1/chat/completions",
        asked(tool_choice={"type": "allowed_tools", "allowed_tools": allowed}, parallel_tool_calls=False),
    ).json()
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "now" and json.loads(call["function"]["arguments"]) == {}
    free = engine.ask("POST", "/v1/chat/completions", asked(tool_choice="required", max_tokens=1)).json()
    assert answer["usage"]["prompt_tokens"] == free["usage"]["prompt_tokens"]
    unknown = {"type": "allowed_tools", **allowed, "tools": [{"type": "function", "name": "nobody"}]}
    refused = engine.ask("POST", "/v1/chat/completions", asked(tool_choice=unknown))
    assert refused.status == 400 and "'nobody' is not in `tools`" in refused.json()["error"]["message"]


@pytest.mark.parametrize("temperature", [0, 1.3])
def test_a_named_call_has_its_name_and_arguments_that_validate(engine: Engine, temperature: float) -> None:
    got = choice(engine, tool_choice=NAMED, temperature=temperature)
    (call,) = got["message"]["tool_calls"]
    assert got["message"]["content"] is None and got["finish_reason"] == "tool_calls"
    assert call["type"] == "function" and call["id"] and call["function"]["name"] == "get_weather"
    jsonschema.validate(json.loads(call["function"]["arguments"]), PARAMETERS)


def test_a_required_call_is_made(engine: Engine) -> None:
    got = choice(engine, tool_choice="required", parallel_tool_calls=False, temperature=1)
    (call,) = got["message"]["tool_calls"]
    assert call["function"]["name"] in ("get_weather", "now")
    json.loads(call["function"]["arguments"])


def test_a_streamed_call_has_its_name_once_and_its_arguments_in_pieces(engine: Engine) -> None:
    events = list(engine.open_stream(asked(tool_choice=NAMED)))
    calls = [call for delta in deltas(events) for call in delta.get("tool_calls", ())]
    assert [c["function"]["name"] for c in calls if "name" in c["function"]] == ["get_weather"]
    assert sum("id" in call for call in calls) == 1 and {call["index"] for call in calls} == {0}
    arguments = "".join(call["function"].get("arguments", "") for call in calls)
    jsonschema.validate(json.loads(arguments), PARAMETERS)
    assert len(calls) > 5
    assert not any(delta.get("content") for delta in deltas(events))
    assert events[-2]["choices"][0]["finish_reason"] == "tool_calls" and "timings" in events[-2]


@pytest.mark.parametrize("stream", [True, False])
def test_a_call_that_is_cut_says_length(engine: Engine, stream: bool) -> None:
    body = asked(tool_choice=NAMED, max_tokens=24)
    if stream:
        events = list(engine.open_stream(body))
        assert events[-2]["choices"][0]["finish_reason"] == "length"
        return
    got = engine.ask("POST", "/v1/chat/completions", body).json()["choices"][0]
    assert got["finish_reason"] == "length"
    assert got["message"]["tool_calls"][0]["function"]["arguments"].startswith("{")


def test_functions_of_old(engine: Engine) -> None:
    functions = [tool["function"] for tool in TOOLS]
    body = {"tools": None, "functions": functions, "function_call": {"name": "get_weather"}}
    got = choice(engine, **body)
    assert got["message"]["function_call"]["name"] == "get_weather"
    assert got["finish_reason"] == "function_call" and "tool_calls" not in got["message"]
    said = deltas(list(engine.open_stream(asked(**body))))
    pieces = [delta["function_call"] for delta in said if "function_call" in delta]
    assert [piece["name"] for piece in pieces if "name" in piece] == ["get_weather"]
    jsonschema.validate(json.loads("".join(piece.get("arguments", "") for piece in pieces)), PARAMETERS)


@pytest.mark.parametrize("tool_choice", ["none", "auto"])
def test_without_a_call_the_answer_is_text(engine: Engine, tool_choice: str) -> None:
    got = choice(engine, tool_choice=tool_choice, grammar='root ::= "It rains." ', max_tokens=9)
    assert got["message"]["content"] == "It rains." and got["finish_reason"] == "stop"
    assert "tool_calls" not in got["message"]


ZANZIBAR = {"type": "object", "properties": {"city": {"const": "Zanzibar"}}, "required": ["city"]}


@pytest.mark.parametrize("stream", [True, False])
def test_a_call_that_the_model_begins_by_itself_is_held_to_its_schema(engine: Engine, stream: bool) -> None:
    """It copies the calls of the talk, in which the city was another."""
    call = {"type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    talk: list[dict[str, Any]] = []
    for number in range(3):
        talk += [
            {"role": "user", "content": "Weather in Paris?"},
            {"role": "assistant", "content": "", "tool_calls": [{"id": f"{number}", **call}]},
        ]
    talk.append({"role": "user", "content": "Weather in Paris?"})
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": ZANZIBAR}}]
    body = asked(messages=talk, tools=tools, temperature=0, parallel_tool_calls=False)
    if stream:
        calls = [c for delta in deltas(list(engine.open_stream(body))) for c in delta.get("tool_calls", ())]
        arguments = "".join(call["function"].get("arguments", "") for call in calls)
    else:
        message = engine.ask("POST", "/v1/chat/completions", body).json()["choices"][0]["message"]
        (made,) = message["tool_calls"]
        arguments = made["function"]["arguments"]
    assert json.loads(arguments) == {"city": "Zanzibar"}


def test_the_tools_answer_goes_back(engine: Engine) -> None:
    call = choice(engine, tool_choice=NAMED)["message"]
    talk = [
        {"role": "user", "content": "What is the weather in Rome?"},
        call,
        {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "Rain, 12 degrees."},
    ]
    got = choice(engine, messages=talk, tool_choice="none")
    assert got["message"]["content"]
    count = engine.ask("POST", "/extras/chat/tokenize/count", {"messages": talk, "tools": TOOLS}).json()[
        "count"
    ]
    used = engine.ask("POST", "/v1/chat/completions", asked(messages=talk, max_tokens=1)).json()["usage"]
    assert count == used["prompt_tokens"]


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "not in `tools`"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0]", "name"),
        (
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "parameters": {"properties": {"a": {"format": "colour"}}}},
                    }
                ]
            },
            "tools",
            "f: The schema can't be enforced: #/properties/a/format",
        ),
    ],
)
def test_a_wrong_tool_is_a_400_with_its_place(engine: Engine, change: Any, param: str, said: str) -> None:
    answer = engine.ask("POST", "/v1/chat/completions", asked(**change))
    assert answer.status == 400
    assert answer.json()["error"]["param"] == param and said in answer.json()["error"]["message"]


def test_tools_and_a_schema_give_one_or_the_other(engine: Engine) -> None:
    schema = {"type": "object", "properties": {"rain": {"type": "boolean"}}, "required": ["rain"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    got = choice(engine, response_format=wanted, temperature=1)
    if "tool_calls" not in got["message"]:
        jsonschema.validate(json.loads(got["message"]["content"]), schema)
    for seed in range(3):
        forced = choice(engine, response_format=wanted, tool_choice="required", temperature=1, seed=seed)
        assert forced["message"]["tool_calls"]
