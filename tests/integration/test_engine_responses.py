from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.responses import ResponseIncompleteEvent
from pydantic import BaseModel

from tests.integration.engine_process import Engine

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Person(BaseModel):
    age: int


@pytest.fixture
def client(engine: Engine) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_conversation_goes_on_from_a_response(client: OpenAI) -> None:
    first = client.responses.create(
        model="small", input="My name is Bob.", max_output_tokens=8, temperature=0
    )
    assert first.output_text and first.status == "incomplete"
    second = client.responses.create(
        model="small", input="And mine?", previous_response_id=first.id, max_output_tokens=1
    )
    assert first.usage and second.usage
    assert second.usage.input_tokens > first.usage.total_tokens
    assert client.responses.retrieve(second.id).output_text == second.output_text
    assert [item.id for item in client.responses.input_items.list(second.id)] != []
    client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        client.responses.create(model="small", input="And?", previous_response_id=second.id)


def test_what_is_not_to_be_stored_is_gone(client: OpenAI) -> None:
    response = client.responses.create(model="small", input="Hi", store=False, max_output_tokens=1)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_stream_has_openai_s_events_in_their_order(client: OpenAI) -> None:
    with client.responses.stream(
        model="small", input="Say hi.", max_output_tokens=4, temperature=0
    ) as stream:
        events = list(stream)
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "incomplete"]
    whole = client.responses.create(model="small", input="Say hi.", max_output_tokens=4, temperature=0)
    assert isinstance(events[-1], ResponseIncompleteEvent)
    assert events[-1].response.output_text == whole.output_text


def test_calls_are_streamed_and_their_results_go_back(client: OpenAI) -> None:
    with client.responses.stream(
        model="small",
        input="Weather in Paris?",
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
    ) as stream:
        written = "".join(e.delta for e in stream if e.type == "response.function_call_arguments.delta")
        call = stream.get_final_response().output[0]
    assert call.type == "function_call" and call.arguments == written
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    answer = client.responses.create(
        model="small",
        input=[result],
        previous_response_id=stream.get_final_response().id,
        max_output_tokens=3,
    )
    assert answer.output_text


def test_an_answer_is_held_to_a_schema(client: OpenAI) -> None:
    response = client.responses.parse(model="small", input="Bob is 5.", text_format=Person)
    assert isinstance(response.output_parsed, Person)


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_is_one_of_http_and_names_the_field(client: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="small", input="word " * 3000, stream=stream)
    assert refused.value.param == "input" and refused.value.code == "context_length_exceeded"


def test_truncation_auto_leaves_out_the_first_turns(client: OpenAI) -> None:
    turns: Any = [
        {"role": "user" if i % 2 == 0 else "assistant", "content": "word " * 200} for i in range(21)
    ]
    response = client.responses.create(model="small", input=turns, truncation="auto", max_output_tokens=1)
    assert response.usage and 1000 < response.usage.input_tokens < 2048


def test_models_are_names_in_any_case(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["small"]
    assert client.models.retrieve("SMALL").created > 0
    with pytest.raises(openai.NotFoundError, match="This server has small"):
        client.models.retrieve("gpt-4o")


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/v1/moderations", 404, "/v1/chat/completions"),
        ("POST", "/v1/images/generations", 404, "/v1/embeddings"),
        ("GET", "/v1/files", 404, "/v1/responses"),
        ("POST", "/chat/completions", 404, "Add /v1"),
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("GET", "/v1/responses", 405, "POST"),
    ],
)
def test_an_unknown_endpoint_says_what_there_is(
    engine: Engine, method: str, path: str, status: int, words: str
) -> None:
    answer = engine.ask(method, path, {} if method == "POST" else None)
    assert answer.status == status and words in answer.json()["error"]["message"]
