"""Frameworks against a server, each case as its users write it. Runs in a Python that has them, not in ours.

python cases.py BASE_URL CHAT_MODEL EMBEDDINGS_MODEL    prints a line of JSON for each case
"""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable

BASE_URL, MODEL, EMBEDDER = sys.argv[1:4]
KEY = "none"
CASES: list[tuple[str, Callable[[], object]]] = []
QUESTION = "Say hello."
WEATHER = "What is the weather in Paris?"

os.environ |= {
    "OPENAI_BASE_URL": BASE_URL,
    "OPENAI_API_KEY": KEY,
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LOGFIRE_IGNORE_NO_CONFIG": "1",
    "DO_NOT_TRACK": "1",
    "DSPY_CACHEDIR": os.path.join(os.environ.get("TMPDIR", "/tmp"), "dspy"),
}
warnings.simplefilter("ignore")

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}


def case(test: Callable[[], object]) -> Callable[[], object]:
    CASES.append((test.__name__, test))
    return test


def person():
    from typing import Literal

    from pydantic import BaseModel, Field

    class Person(BaseModel):
        """A person."""

        name: Literal["Ann", "Bob"]
        age: int = Field(ge=0, le=150)

    return Person


# langchain-openai


def langchain(**more):
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=MODEL, temperature=0, max_tokens=more.pop("max_tokens", 16), **more)


@case
def langchain_chat():
    answer = langchain().invoke([("system", "Be brief."), ("user", QUESTION)])
    assert answer.text and answer.usage_metadata["output_tokens"]


@case
def langchain_stream():
    assert len(list(langchain().stream(QUESTION))) > 2


@case
def langchain_tools_required():
    from langchain_core.tools import tool

    @tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return "sunny"

    bound = langchain(max_tokens=100).bind_tools([get_weather], tool_choice="any", parallel_tool_calls=False)
    answer = bound.invoke(WEATHER)
    assert [call["name"] for call in answer.tool_calls] == ["get_weather"]
    result = get_weather.invoke(answer.tool_calls[0])
    assert langchain().invoke([("user", WEATHER), answer, result]).text


@case
def langchain_structured_by_schema():
    assert langchain(max_tokens=100).with_structured_output(person()).invoke("Bob is 5 years old.").age >= 0


@case
def langchain_structured_by_a_tool():
    bound = langchain(max_tokens=100).with_structured_output(person(), method="function_calling")
    assert bound.invoke("Bob is 5 years old.").age >= 0


@case
def langchain_logprobs():
    answer = langchain(logprobs=True, top_logprobs=2).invoke(QUESTION)
    assert len(answer.response_metadata["logprobs"]["content"][0]["top_logprobs"]) == 2


@case
def langchain_batch():
    assert len(langchain().batch([QUESTION, WEATHER])) == 2


@case
def langchain_responses():
    model = langchain(use_responses_api=True)
    answer = model.invoke(QUESTION)
    assert answer.text
    again = model.invoke("Again.", previous_response_id=answer.response_metadata["id"])
    assert again.text


@case
def langchain_responses_stream():
    assert sum(bool(chunk.text) for chunk in langchain(use_responses_api=True).stream(QUESTION)) > 2


@case
def langchain_responses_tools():
    model = langchain(use_responses_api=True, max_tokens=100)
    answer = model.bind_tools([WEATHER_TOOL], tool_choice="any", parallel_tool_calls=False).invoke(WEATHER)
    assert answer.tool_calls[0]["name"] == "get_weather"


@case
def langchain_responses_structured():
    model = langchain(use_responses_api=True, max_tokens=100)
    assert model.with_structured_output(person()).invoke("Bob is 5 years old.").age >= 0


@case
def langchain_embeddings():
    from langchain_openai import OpenAIEmbeddings

    embedder = OpenAIEmbeddings(model=EMBEDDER, check_embedding_ctx_length=False)
    assert len(embedder.embed_documents(["a dog", "a cat"])) == 2


# llama-index


def llama_index(**more):
    from llama_index.llms.openai_like import OpenAILike

    options = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 2048}
    return OpenAILike(
        model=MODEL, api_base=BASE_URL, api_key=KEY, max_tokens=100, temperature=0, **options, **more
    )


@case
def llama_index_complete():
    assert llama_index().complete(QUESTION).text


@case
def llama_index_chat():
    from llama_index.core.llms import ChatMessage

    assert llama_index().chat([ChatMessage(role="user", content=QUESTION)]).message.content


@case
def llama_index_stream():
    from llama_index.core.llms import ChatMessage

    assert len(list(llama_index().stream_chat([ChatMessage(role="user", content=QUESTION)]))) > 2


@case
def llama_index_tools_required():
    from llama_index.core.tools import FunctionTool

    def get_weather(city: str) -> str:
        """The weather of a city."""
        return "sunny"

    model = llama_index()
    answer = model.chat_with_tools(
        [FunctionTool.from_defaults(get_weather)], user_msg=WEATHER, tool_required=True
    )
    assert model.get_tool_calls_from_response(answer)[0].tool_name == "get_weather"


@case
def llama_index_structured():
    from llama_index.core.llms import ChatMessage

    model = llama_index().as_structured_llm(person())
    assert model.chat([ChatMessage(role="user", content="Bob is 5 years old.")]).raw.age >= 0


@case
def llama_index_embeddings():
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    embedder = OpenAILikeEmbedding(model_name=EMBEDDER, api_base=BASE_URL, api_key=KEY)
    assert len(embedder.get_text_embedding_batch(["a dog", "a cat"])) == 2


# litellm


def lite(**more):
    import litellm

    litellm.drop_params = False
    messages = [{"role": "user", "content": more.pop("text", QUESTION)}]
    return litellm.completion(
        model=f"openai/{MODEL}",
        api_base=BASE_URL,
        api_key=KEY,
        messages=messages,
        temperature=0,
        max_tokens=more.pop("max_tokens", 16),
        **more,
    )


@case
def litellm_chat():
    answer = lite()
    assert answer.choices[0].message.content and answer.usage.total_tokens


@case
def litellm_stream():
    assert len(list(lite(stream=True))) > 2


@case
def litellm_tools_required():
    answer = lite(text=WEATHER, tools=[WEATHER_TOOL], tool_choice="required", max_tokens=100)
    assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"


@case
def litellm_structured():
    kind = person()
    answer = lite(text="Bob is 5 years old.", response_format=kind, max_tokens=100)
    assert kind.model_validate_json(answer.choices[0].message.content)


@case
def litellm_logprobs():
    assert lite(logprobs=True, top_logprobs=2).choices[0].logprobs.content


@case
def litellm_text_completion():
    import litellm

    answer = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}",
        api_base=BASE_URL,
        api_key=KEY,
        prompt="Once",
        max_tokens=5,
    )
    assert answer.choices[0].text


@case
def litellm_responses():
    import litellm

    answer = litellm.responses(
        model=f"openai/{MODEL}",
        api_base=BASE_URL,
        api_key=KEY,
        input=QUESTION,
        max_output_tokens=16,
    )
    assert answer.output[0].content[0].text


@case
def litellm_embeddings():
    import litellm

    answer = litellm.embedding(
        model=f"openai/{EMBEDDER}", api_base=BASE_URL, api_key=KEY, input=["a dog", "a cat"]
    )
    assert len(answer.data) == 2


# instructor


def instructed(mode: str, **more):
    import instructor
    from openai import OpenAI

    client = instructor.from_openai(OpenAI(), mode=getattr(instructor.Mode, mode))
    messages = [{"role": "user", "content": "Bob is 5 years old."}]
    return client, {
        "model": MODEL,
        "messages": messages,
        "response_model": person(),
        "max_tokens": 100,
        "max_retries": 0,
        "temperature": 0,
        **more,
    }


@case
def instructor_by_a_tool():
    client, request = instructed("TOOLS")
    assert client.chat.completions.create(**request).age >= 0


@case
def instructor_by_a_strict_tool():
    client, request = instructed("TOOLS_STRICT")
    assert client.chat.completions.create(**request).age >= 0


@case
def instructor_by_schema():
    client, request = instructed("JSON_SCHEMA")
    assert client.chat.completions.create(**request).age >= 0


@case
def instructor_partial():
    client, request = instructed("TOOLS")
    assert list(client.chat.completions.create_partial(**request))[-1].age >= 0


@case
def instructor_by_responses():
    client, request = instructed("RESPONSES_TOOLS")
    answer = client.responses.create(
        model=MODEL, input="Bob is 5 years old.", response_model=request["response_model"], max_retries=0
    )
    assert answer.age >= 0


# pydantic-ai


def agent(kind: str = "chat", **more):
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=BASE_URL, api_key=KEY)
    model = (OpenAIChatModel if kind == "chat" else OpenAIResponsesModel)(MODEL, provider=provider)
    return Agent(model, model_settings={"max_tokens": 100, "temperature": 0}, retries=0, **more)


@case
def pydantic_ai_chat():
    assert agent().run_sync(QUESTION).output


@case
def pydantic_ai_stream():
    async def stream():
        async with agent().run_stream(QUESTION) as result:
            return [text async for text in result.stream_text(delta=True, debounce_by=None)]

    assert len(asyncio.run(stream())) > 2


@case
def pydantic_ai_output_by_a_tool():
    assert agent(output_type=person()).run_sync("Bob is 5 years old.").output.age >= 0


@case
def pydantic_ai_output_by_schema():
    from pydantic_ai import NativeOutput

    assert agent(output_type=NativeOutput(person())).run_sync("Bob is 5 years old.").output.age >= 0


@case
def pydantic_ai_responses():
    assert agent("responses").run_sync(QUESTION).output


@case
def pydantic_ai_responses_output():
    assert agent("responses", output_type=person()).run_sync("Bob is 5 years old.").output.age >= 0


# openai-agents


def run_agent(kind: str, **more):
    from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner
    from openai import AsyncOpenAI

    model = OpenAIChatCompletionsModel if kind == "chat" else OpenAIResponsesModel
    settings = ModelSettings(
        max_tokens=100,
        temperature=0,
        tool_choice=more.pop("tool_choice", None),
        parallel_tool_calls=False if more.get("tools") else None,
    )
    text, streamed = more.pop("text", QUESTION), more.pop("streamed", False)

    async def run():
        made = model(MODEL, openai_client=AsyncOpenAI())
        agent = Agent(name="test", instructions="Be brief.", model=made, model_settings=settings, **more)
        if not streamed:
            return await Runner.run(agent, text, max_turns=3)
        result = Runner.run_streamed(agent, text)
        return [event async for event in result.stream_events()]

    return asyncio.run(run())


def weather_for_agents():
    from agents import function_tool

    asked = []

    @function_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return "sunny"

    return get_weather, asked


@case
def agents_chat():
    assert run_agent("chat").final_output


@case
def agents_tool():
    tool, asked = weather_for_agents()
    assert run_agent("chat", text=WEATHER, tools=[tool], tool_choice="required").final_output
    assert len(asked) == 1


@case
def agents_output_type():
    assert run_agent("chat", text="Bob is 5 years old.", output_type=person()).final_output.age >= 0


@case
def agents_responses():
    assert run_agent("responses").final_output


@case
def agents_responses_tool():
    tool, asked = weather_for_agents()
    assert run_agent("responses", text=WEATHER, tools=[tool], tool_choice="required").final_output
    assert len(asked) == 1


@case
def agents_responses_output_type():
    assert run_agent("responses", text="Bob is 5 years old.", output_type=person()).final_output.age >= 0


@case
def agents_responses_stream():
    assert sum(event.type == "raw_response_event" for event in run_agent("responses", streamed=True)) > 4


# smolagents


def smol(**more):
    from smolagents import OpenAIServerModel

    return OpenAIServerModel(MODEL, api_base=BASE_URL, api_key=KEY, max_tokens=100, temperature=0, **more)


def smol_messages(text):
    return [{"role": "user", "content": [{"type": "text", "text": text}]}]


@case
def smolagents_chat():
    assert smol().generate(smol_messages(QUESTION)).content


@case
def smolagents_stream():
    assert len(list(smol().generate_stream(smol_messages(QUESTION)))) > 2


@case
def smolagents_tool():
    from smolagents import tool

    @tool
    def get_weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: the city
        """
        return "sunny"

    answer = smol().generate(smol_messages(WEATHER), tools_to_call_from=[get_weather])
    assert answer.tool_calls[0].function.name == "get_weather"


@case
def smolagents_code_by_schema():
    from smolagents.utils import AgentError  # noqa: F401

    schema = {"type": "json_schema", "json_schema": {"name": "p", "schema": person().model_json_schema()}}
    answer = smol().generate(smol_messages("Bob is 5 years old."), response_format=schema)
    assert json.loads(answer.content)["age"] >= 0


# dspy


def dspy_model(**more):
    import dspy

    return dspy.LM(
        f"openai/{MODEL}",
        api_base=BASE_URL,
        api_key=KEY,
        max_tokens=100,
        temperature=0,
        cache=False,
        num_retries=0,
        **more,
    )


@case
def dspy_chat():
    assert dspy_model()(QUESTION)


@case
def dspy_predict_by_schema():
    import dspy
    import litellm

    able = {"litellm_provider": "openai", "mode": "chat", "supports_response_schema": True}
    litellm.register_model({f"openai/{MODEL}": able})
    with dspy.context(lm=dspy_model(), adapter=dspy.JSONAdapter()):
        answer = dspy.Predict("question -> is_person: bool")(question="Is Bob a person?")
    assert answer.is_person in (True, False)


@case
def dspy_logprobs():
    assert dspy_model(logprobs=True)(QUESTION)[0]["logprobs"]


@case
def dspy_responses():
    assert dspy_model(model_type="responses")(QUESTION)


@case
def dspy_embeddings():
    import dspy

    embedder = dspy.Embedder(f"openai/{EMBEDDER}", api_base=BASE_URL, api_key=KEY, caching=False)
    assert embedder(["a dog", "a cat"]).shape[0] == 2


def main() -> None:
    wanted = sys.argv[4:]
    for name, test in CASES:
        if wanted and not any(word in name for word in wanted):
            continue
        try:
            test()
            error = ""
        except Exception as caught:
            error = f"{type(caught).__name__}: {caught}"[:500]
            traceback.print_exc()
        print(json.dumps({"case": name, "error": error}), flush=True)


if __name__ == "__main__":
    main()
