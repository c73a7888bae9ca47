"""The `openai` package as its users write it: what it parses, streams, retries and raises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, Field

from tests.integration.engine_process import Engine

HI: list[Any] = [{"role": "user", "content": "Hi."}]


class Place(BaseModel):
    city: Literal["Paris", "Rome"]
    days: int = Field(ge=1, le=7)


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_parse_gives_an_instance_of_the_model(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model="small", messages=HI, response_format=Place, max_tokens=80)
    place = answer.choices[0].message.parsed
    assert place is not None and place.city in ("Paris", "Rome") and 1 <= place.days <= 7


def test_the_stream_helper_adds_up_a_call_and_parses_its_arguments(client: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(Place, name="book")
    wanted: dict[str, Any] = {"tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 120}
    with client.chat.completions.stream(model="small", messages=HI, tools=[tool], **wanted) as stream:
        kinds = {event.type for event in stream}
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls and len(calls) == 1
    assert {"chunk", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
    assert calls[0].function.name == "book" and isinstance(calls[0].function.parsed_arguments, Place)


def test_the_stream_helper_gives_text_logprobs_and_usage(client: openai.OpenAI) -> None:
    wanted: dict[str, Any] = {"logprobs": True, "top_logprobs": 1, "stream_options": {"include_usage": True}}
    wanted |= {"response_format": Place, "max_tokens": 80}
    with client.chat.completions.stream(model="small", messages=HI, **wanted) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert "logprobs.content.delta" in {event.type for event in events}
    assert final.usage and final.usage.completion_tokens == len(final.choices[0].logprobs.content or ())  # type: ignore[union-attr]


def test_a_tool_result_goes_back(client: openai.OpenAI) -> None:
    tool: Any = openai.pydantic_function_tool(Place, name="book")
    wanted: dict[str, Any] = {"model": "small", "tools": [tool], "max_tokens": 80}
    choice: Any = {"type": "function", "function": {"name": "book"}}
    asked = client.chat.completions.create(messages=HI, tool_choice=choice, **wanted).choices[0].message
    assert asked.tool_calls
    result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": json.dumps({"booked": True})}
    messages: list[Any] = [*HI, asked, result]
    answer = client.chat.completions.create(messages=messages, tool_choice="none", **wanted)
    assert answer.choices[0].message.content and answer.choices[0].finish_reason in ("stop", "length")


def test_what_is_wrong_is_a_bad_request_that_names_the_field(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="small", messages=HI, n=1000)
    assert refused.value.param == "n" and "from 1 to 128" in str(refused.value)
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="small", messages=HI * 9000)
    assert refused.value.code == "context_length_exceeded"


def test_several_async_requests_at_once(engine: Engine) -> None:
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key="none") as client:
            wanted: dict[str, Any] = {"model": "small", "max_tokens": 4, "temperature": 0}
            asked = (client.completions.create(prompt=f"{n}, {n + 1},", **wanted) for n in range(3))
            return [answer.choices[0].text for answer in await asyncio.gather(*asked)]

    assert all(asyncio.run(ask()))
