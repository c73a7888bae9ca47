from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamachat.engine import request_body
from llamachat.engine.failures import Refused
from llamachat.engine.response_events import ResponseWriter, new_response
from llamachat.engine.response_store import ResponseStore
from llamachat.engine.responses import chat_body, input_items
from llamachat.engine.tool_turn import offered


def chat(body: dict[str, Any]) -> dict[str, Any]:
    return chat_body(body, input_items(body))


def test_items_become_messages_and_the_calls_of_a_turn_one_message() -> None:
    messages = chat(
        {
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hm."}]},
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "b", "name": "g", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "a", "output": "sunny"},
                {
                    "type": "function_call_output",
                    "call_id": "b",
                    "output": [{"type": "input_text", "text": "9"}],
                },
            ],
        }
    )["messages"]
    assert [message["role"] for message in messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
    ]
    assert [call["id"] for call in messages[2]["tool_calls"]] == ["a", "b"]
    assert messages[2]["content"] == [{"type": "text", "text": "Hm."}]
    assert messages[3] == {"role": "tool", "tool_call_id": "a", "content": "sunny"}


def test_fields_become_those_of_a_chat() -> None:
    body = chat(
        {
            "input": "Hi",
            "max_output_tokens": 7,
            "stream": True,
            "seed": 1,
            "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}],
            "tool_choice": {"type": "function", "name": "f"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
        }
    )
    assert body["max_tokens"] == 7 and body["seed"] == 1
    assert body["stream_options"] == {"include_usage": True}
    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}
    ]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}},
    }


def test_allowed_tools_are_read_as_those_of_a_chat() -> None:
    tools = [{"type": "function", "name": name} for name in "fg"]
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    offer = offered(request_body.chat(chat({"input": "Hi", "tools": tools, "tool_choice": choice})))
    assert offer is not None and offer.needed and offer.names == ("g",)
    assert [tool.name for tool in offer.shown] == ["f", "g"]


@pytest.mark.parametrize(
    ("field", "param", "word"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools", "web_search"),
        ({"tools": [{"type": "file_search"}]}, "tools", "file_search"),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice", "mcp"),
        ({"background": True}, "background", "background"),
        ({"conversation": "conv_1"}, "conversation", "conversation"),
        ({"prompt": {"id": "x"}}, "prompt", "prompt"),
        ({"truncation": "last"}, "truncation", "truncation"),
        ({"input": [{"type": "computer_call", "id": "x"}]}, "input[0]", "computer_call"),
        ({"input": [{"id": "msg_1"}]}, "input[0]", "item_reference"),
        ({"input": ["text"]}, "input[0]", "object"),
        ({"input": 5}, "input", "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
            "input[0].content[0]",
            "input_file",
        ),
    ],
)
def test_what_is_not_available_is_named(field: dict[str, Any], param: str, word: str) -> None:
    with pytest.raises(Refused) as refused:
        chat({"input": "Hi", **field})
    assert refused.value.status_code == 400
    assert refused.value.error["param"] == param and word in refused.value.error["message"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=3)
    | st.sampled_from(["function", "message"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "tools", "name", "text"]), inner)
    ),
    max_leaves=8,
)
FIELDS = ["input", "instructions", "tools", "tool_choice", "text", "include", "truncation", "model", "stream"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_a_body_of_any_kind_is_translated_or_refused(body: dict[str, Any]) -> None:
    with contextlib.suppress(Refused):
        assert chat({"input": "Hi", **body})["messages"] is not None


def test_thinking_text_and_calls_are_items_in_their_order() -> None:
    writer = ResponseWriter(new_response({}, "m"))
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}
    deltas: list[dict[str, Any]] = [
        {"role": "assistant"},
        {"reasoning_content": "hm"},
        {"content": "a"},
        {"content": "b"},
        {"tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{**call, "index": 1, "id": "c2"}]},
    ]
    events = writer.begin()
    for delta in deltas:
        events += writer.chunk({"choices": [{"delta": delta, "finish_reason": None}]})
    events += writer.chunk({"choices": [{"delta": {}, "finish_reason": "length"}]})
    events += writer.finish()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    output = writer.response["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert [item["status"] for item in output] == ["completed", "completed", "completed", "incomplete"]
    assert output[1]["content"][0]["text"] == "ab"
    assert (output[2]["call_id"], output[2]["arguments"]) == ("c1", "{}")
    assert writer.response["incomplete_details"] == {"reason": "max_output_tokens"}
    added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    assert added == [0, 1, 2, 3]


def test_a_failed_stream_says_why() -> None:
    writer = ResponseWriter(new_response({}, "m"))
    writer.chunk({"choices": [{"delta": {"content": "a"}, "finish_reason": None}]})
    last = writer.fail({"message": "no", "type": "server_error", "code": None})[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "no"}
    assert last["response"]["output"][0]["status"] == "incomplete"


def stored(name: str, previous: str | None = None, text: str = "") -> dict[str, Any]:
    return {"id": name, "previous_response_id": previous, "output": [{"id": f"{name}!", "text": text}]}


def test_a_conversation_is_all_items_of_its_responses() -> None:
    store = ResponseStore()
    store.put(stored("a"), [{"id": "a?"}])
    store.put(stored("b", "a"), [{"id": "b?"}])
    assert [item["id"] for item in store.conversation("b")] == ["a?", "a!", "b?", "b!"]
    store.delete("a")
    with pytest.raises(KeyError):
        store.conversation("b")


def test_the_store_is_bounded_and_keeps_what_a_conversation_begins_with() -> None:
    store = ResponseStore(max_responses=3)
    for name, previous in (("a", None), ("x", None), ("b", "a"), ("c", "b")):
        store.put(stored(name, previous), [])
    assert len(store.conversation("c")) == 3
    with pytest.raises(KeyError):
        store.response("x")
    small = ResponseStore(max_bytes=1000)
    for name in "abc":
        small.put(stored(name, text="." * 400), [])
    with pytest.raises(KeyError):
        small.response("a")
    small.put(stored("huge", text="." * 2000), [])
    with pytest.raises(KeyError):
        small.response("huge")
