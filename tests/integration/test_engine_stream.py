from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.integration.engine_process import Answer, Engine, question, running, text_of
from tests.support import wait_for

LONG = "The quick brown fox jumps over the lazy dog and runs away. " * 60
OVERLONG = LONG * 4


@pytest.fixture
def client(engine: Engine) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def unique(text: str, word: str) -> str:
    """A prompt that shares nothing with what the model has read before."""
    return f"{word} {text}"


def test_stream_ends_with_usage_and_timings_that_agree(engine: Engine) -> None:
    stream = engine.open_stream(question("Name a colour.", stream_options={"include_usage": True}))
    *_, last, done = list(stream)
    assert done == "[DONE]" and last["choices"] == []
    usage, timings = last["usage"], last["timings"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert timings["cache_n"] + timings["prompt_n"] == usage["prompt_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == timings["cache_n"]
    assert timings["predicted_n"] >= usage["completion_tokens"] > 0
    assert timings["prompt_per_second"] > 0 and timings["predicted_per_second"] > 0
    assert 1 <= timings["threads"] <= timings["threads_max"] == 2


def test_stream_counts_as_a_whole_reply_does(engine: Engine) -> None:
    whole = engine.chat("Name a colour.", max_tokens=20).json()["usage"]
    stream = engine.open_stream(
        question("Name a colour.", max_tokens=20, stream_options={"include_usage": True})
    )
    streamed = list(stream)[-2]["usage"]
    assert {name: streamed[name] for name in whole} == whole


def test_stream_without_usage_has_timings_on_its_last_chunk(engine: Engine) -> None:
    *_, last, done = list(engine.open_stream(question("Name a colour.")))
    assert done == "[DONE]"
    assert last["choices"][0]["finish_reason"] == "length"
    assert "predicted_per_second" in last["timings"] and "usage" not in last


def test_stream_and_whole_reply_have_the_same_text(engine: Engine) -> None:
    asked = question("用中文说你好，并数到五。", max_tokens=40)
    streamed = text_of(list(engine.open_stream(asked)))
    assert streamed == engine.ask("POST", "/v1/chat/completions", asked).text


def test_all_chunks_of_a_stream_bear_one_id_and_shape(engine: Engine) -> None:
    asked = question("Hi.", return_progress=True, stream_options={"include_usage": True})
    events = list(engine.open_stream(asked))[:-1]
    assert len({(event["id"], event["object"], event["created"], event["model"]) for event in events}) == 1


def test_progress_is_told_while_a_prompt_is_read(engine: Engine) -> None:
    asked = question(unique(LONG, "progress"), return_progress=True, max_tokens=1)
    told = [
        e["prompt_progress"] for e in engine.open_stream(asked) if e != "[DONE]" and "prompt_progress" in e
    ]
    processed = [progress["processed"] for progress in told]
    assert processed == sorted(processed)
    assert processed[0] == told[0]["cache"] and processed[-1] == told[-1]["total"]
    assert len(set(processed)) >= 3  # every batch of 512, at the very least


def test_a_prompt_whose_old_turns_were_dropped_is_watched_to_its_end(engine: Engine) -> None:
    """Its cells are moved, and some tokens read on their own to make that sure, before the rest is read."""
    turns = [f"Turn {n}: " + "seven green bottles hanging on the wall, and " * 8 for n in range(6)]
    wanted = [{"role": "user", "content": turn} for turn in turns]
    engine.ask("POST", "/v1/chat/completions", question("", messages=wanted, max_tokens=1))
    news = {"role": "user", "content": "quite another thing " * 40}
    asked = question("", messages=[wanted[0], *wanted[2:], news], return_progress=True, max_tokens=4)
    events = list(engine.open_stream({**asked, "stream_options": {"include_usage": True}}))
    told = [event["prompt_progress"] for event in events if "prompt_progress" in event]
    timings = events[-2]["timings"]
    assert told[-1]["processed"] == told[-1]["total"] == events[-2]["usage"]["prompt_tokens"]
    assert timings["prompt_n"] > 80 and timings["cache_n"] > 200


def test_progress_is_not_told_where_nobody_asked(engine: Engine) -> None:
    assert not any("prompt_progress" in event for event in engine.open_stream(question("Hi.")))


@pytest.mark.parametrize("stream", [True, False])
def test_overflow_raises_with_code_and_both_numbers(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.APIError) as caught:
        for _ in client.chat.completions.create(
            model="small", messages=[{"role": "user", "content": OVERLONG}], stream=stream
        ):
            pass
    assert caught.value.code == "context_length_exceeded"
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["n_ctx"] == 2048 and caught.value.body["n_prompt_tokens"] > 2048
    assert (
        "2048" in caught.value.message and str(caught.value.body["n_prompt_tokens"]) in caught.value.message
    )


@pytest.mark.parametrize("stream", [True, False])
def test_overflow_of_a_plain_completion_raises_alike(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.APIError) as caught:
        for _ in client.completions.create(model="small", prompt=OVERLONG, stream=stream):
            pass
    assert caught.value.code == "context_length_exceeded"


def test_overflow_of_a_whole_reply_is_a_400(engine: Engine) -> None:
    assert engine.chat(OVERLONG).status == 400


@pytest.mark.parametrize("stream", [True, False])
def test_bad_grammar_is_an_error_and_not_a_crash(engine: Engine, stream: bool) -> None:
    asked = question("Hi.", grammar="root ::= (((", stream=stream)
    answer = engine.ask("POST", "/v1/chat/completions", asked)
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error" and "grammar" in error["message"]
    assert answer.status == 400  # before a stream begins
    assert engine.chat("Hi.").status == 200


def test_plain_completion_streams_text_and_figures(engine: Engine) -> None:
    asked = {"prompt": "Once upon a time", "max_tokens": 5, "stream_options": {"include_usage": True}}
    events = list(engine.open_stream(asked, "/v1/completions"))
    assert all(event["object"] == "text_completion" for event in events[:-1])
    assert "".join(e["choices"][0]["text"] for e in events[:-1] if e["choices"])
    assert events[-2]["usage"]["completion_tokens"] == 5


def test_requests_without_a_seed_differ(engine: Engine) -> None:
    asked = question("Tell me a story.", temperature=1.5, max_tokens=16)
    assert len({engine.ask("POST", "/v1/chat/completions", asked).text for _ in range(3)}) > 1


def test_requests_with_the_same_seed_agree(engine: Engine) -> None:
    asked = question("Tell me a story.", temperature=1.5, max_tokens=16, seed=7)
    assert len({engine.ask("POST", "/v1/chat/completions", asked).text for _ in range(3)}) == 1


def test_hanging_up_while_writing_frees_the_model(engine: Engine) -> None:
    stream = engine.open_stream(question("Write a very long story.", max_tokens=1800))
    next(event for event in stream if event["choices"] and event["choices"][0]["delta"].get("content"))
    stream.hang_up()
    wait_for(lambda: not engine.health()["busy"], "the model is free")


def test_hanging_up_while_reading_frees_the_model_and_harms_no_answer(engine: Engine) -> None:
    asked = question("What is the capital of France?", max_tokens=24)
    before = engine.ask("POST", "/v1/chat/completions", asked).text
    long = unique(LONG, "hang up")
    stream = engine.open_stream(question(long, return_progress=True))
    reading = next(e["prompt_progress"] for e in stream if e["prompt_progress"]["processed"])
    stream.hang_up()
    wait_for(lambda: not engine.health()["busy"], "the model is free")
    assert reading["processed"] < reading["total"]
    assert engine.ask("POST", "/v1/chat/completions", asked).text == before
    fresh = engine.ask("POST", "/v1/chat/completions", question(long)).text
    assert engine.ask("POST", "/v1/chat/completions", question(long)).text == fresh


def test_hanging_up_frees_the_model_from_a_whole_reply_too(engine: Engine) -> None:
    stream = engine.ask_and_leave(question(unique(LONG, "whole"), max_tokens=1000))
    wait_for(lambda: engine.health()["busy"], "the model is busy")
    stream.close()
    wait_for(lambda: not engine.health()["busy"], "the model is free")


def test_queued_stream_hears_its_place_and_nobody_is_cut_off(engine: Engine) -> None:
    first = engine.open_stream(question("Count to one hundred.", max_tokens=150))
    next(iter(first))
    replies: dict[str, list[Any]] = {}

    def ask(name: str) -> None:
        replies[name] = list(engine.open_stream(question(f"Say {name}.")))

    threads = []
    for position, name in enumerate(("second", "third"), start=1):
        threads.append(threading.Thread(target=ask, args=(name,)))
        threads[-1].start()
        wait_for(partial(waits, engine, position), f"{name} waits")
    list(first)
    for thread in threads:
        thread.join()
    assert first.events[-1] == "[DONE]" and first.events[-2]["choices"][0]["finish_reason"]
    assert places(replies["second"]) == [1]
    assert places(replies["third"]) == [2, 1]
    assert all(reply[-1] == "[DONE]" and text_of(reply) for reply in replies.values())


def waits(engine: Engine, count: int) -> bool:
    return bool(engine.health()["queue"] == count)


def places(events: list[Any]) -> list[int]:
    return [event["queue"]["position"] for event in events if event != "[DONE]" and "queue" in event]


def test_a_client_that_looks_for_a_choice_in_each_chunk_can_wait(
    engine: Engine, client: openai.OpenAI
) -> None:
    """As the article's does, which asks for nothing else than a stream."""
    first = engine.open_stream(question("Count to one hundred.", max_tokens=60))
    next(iter(first))
    messages: Any = [{"role": "user", "content": "Hi."}]
    chat = client.chat.completions.create(
        model="any", messages=messages, max_tokens=4, temperature=0, stream=True
    )
    text = client.completions.create(model="any", prompt="Hi.", max_tokens=4, temperature=0, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chat)
    assert "".join(chunk.choices[0].text for chunk in text)
    list(first)


@pytest.mark.parametrize("stream", [True, False])
def test_who_has_read_a_reply_finds_nobody_in_line(engine: Engine, stream: bool) -> None:
    for _ in range(10):
        if stream:
            assert list(engine.open_stream(question("Hi.", max_tokens=1)))[-1] == "[DONE]"
        else:
            assert engine.chat("Hi.", max_tokens=1).status == 200
        assert engine.health()["busy"] is False


def test_a_stream_asked_for_in_another_word_hears_its_place_too(engine: Engine) -> None:
    first = engine.open_stream(question("Count to one hundred.", max_tokens=60))
    next(iter(first))
    connection = engine.ask_and_leave(question("Hi.", stream="yes"))
    assert b'"queue"' in connection.getresponse().readline()
    connection.close()
    list(first)


def test_queued_client_that_leaves_gives_its_place_to_the_next(engine: Engine) -> None:
    first = engine.open_stream(question("Count to one hundred.", max_tokens=150))
    next(iter(first))
    second = engine.open_stream(question("Hi."))
    assert next(iter(second))["queue"] == {"position": 1}
    third = engine.open_stream(question("Hi."))
    waiting = iter(third)
    assert next(waiting)["queue"] == {"position": 2}
    second.hang_up()
    assert next(waiting)["queue"] == {"position": 1}
    assert list(first)[-1] == "[DONE]" and list(waiting)[-1] == "[DONE]"


def test_embeddings_wait_in_line_and_cannot_stream_past_it(tmp_path: Path) -> None:
    with running(tmp_path / "log", embedding="true") as engine:
        stream = engine.open_stream(question("Count to one hundred.", max_tokens=200))
        next(iter(stream))
        waiting = engine.ask_and_leave({"input": "Hi.", "stream": True}, "/v1/embeddings")
        wait_for(lambda: engine.health()["queue"] == 1, "the embedding waits")
        assert list(stream)[-1] == "[DONE]"
        assert json.loads(waiting.getresponse().read())["data"][0]["embedding"]
        waiting.close()


def test_json_schema_is_obeyed(client: openai.OpenAI) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green"]}, "count": {"type": "integer"}},
        "required": ["colour", "count"],
    }
    reply = client.chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": "A colour and a count."}],
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        max_completion_tokens=64,
    )
    answer = json.loads(reply.choices[0].message.content or "")
    assert answer["colour"] in ("red", "green") and isinstance(answer["count"], int)


def test_developer_is_another_word_for_system(engine: Engine) -> None:
    def ask(role: str) -> Answer:
        messages = [{"role": role, "content": "You are a pirate."}, {"role": "user", "content": "Hi."}]
        return engine.ask("POST", "/v1/chat/completions", {"messages": messages, "seed": 1, "max_tokens": 8})

    developer, system = (ask(role).json()["usage"]["prompt_tokens"] for role in ("developer", "system"))
    assert developer == system


def test_max_completion_tokens_limits_the_reply(engine: Engine) -> None:
    body = {"messages": [{"role": "user", "content": "Tell a story."}], "max_completion_tokens": 3}
    assert engine.ask("POST", "/v1/chat/completions", body).json()["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 3}, "top_p"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "Hi."}]}, "wizard"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"response_format": {"type": "json_schema"}}, "schema"),
        ({"messages": [{"role": "user", "content": "Hi."}] * 9000}, "at least 9000 tokens"),
        ({"messages": [{"role": "user", "content": "Hi. " * 300_000}]}, "at least"),
        ({"logit_bias": {"5": 101}}, "-100 to 100"),
        ({"stop": ["a"] * 65}, "stop"),
        ({"tools": [{}] * 4_000_001}, "more values"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
        ({"model": "\ud800"}, "surrogate"),
        ({"temperature": float("nan")}, "NaN"),
        ({"logit_bias": {"99999999": 1}}, "99999999"),
        ({"logit_bias": {"Hi": 1}}, "Hi"),
        ({"grammar": "root ::= " + "(" * 200_000 + '"a"' + ")" * 200_000}, "grammar"),
        ({"grammar": "root ::= " + "(" * 30_000 + '"a"' + ")" * 30_000}, "grammar"),
    ],
)
def test_what_cannot_be_served_is_a_400_that_says_why(
    engine: Engine, change: dict[str, Any], named: str
) -> None:
    answer = engine.ask("POST", "/v1/chat/completions", {**question("Hi."), **change})
    assert answer.status == 400
    assert named in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/v1/completions", {"prompt": ""}, "empty"),
        ("/v1/completions", {"max_tokens": 2}, "empty"),
        ("/v1/embeddings", {"input": "Hi."}, "--embedding"),
        ("/extras/tokenize", {"input": "\ud800"}, "surrogate"),
        ("/extras/detokenize", {"tokens": [99_999_999]}, "99999999"),
        ("/extras/detokenize", {"tokens": [5, -1]}, "-1"),
    ],
)
def test_other_paths_answer_with_a_400_that_says_why_too(
    engine: Engine, path: str, body: dict[str, Any], named: str
) -> None:
    answer = engine.ask("POST", path, body)
    assert answer.status == 400
    assert named in answer.json()["error"]["message"]


def test_an_answer_with_calls_and_null_for_content_is_read(engine: Engine) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    assert engine.ask("POST", "/v1/chat/completions", question("", messages=messages)).status == 200


@pytest.mark.parametrize(
    "body", [b"not json", b"[1]", b"\xff", b"", b'{"x":' + b"[" * 990 + b"]" * 990 + b"}"]
)
def test_a_body_that_is_no_json_object_is_a_400(engine: Engine, body: bytes) -> None:
    assert engine.ask("POST", "/v1/chat/completions", body).status == 400


def test_a_stop_ends_whole_replies_and_streams_alike(tmp_path: Path) -> None:
    with running(tmp_path / "log") as engine:
        stream = engine.open_stream(question(LONG, return_progress=True))
        next(iter(stream))
        waiting = engine.ask_and_leave(question("Hi.", max_tokens=1000))
        wait_for(lambda: engine.health()["queue"] == 1, "one is served and one waits")
        engine.process.terminate()
        assert list(stream)[-1]["error"]["message"] == "The server is stopping."
        engine.process.wait(30)
        assert waiting.getresponse().status == 503
        waiting.close()


def test_a_whole_reply_ends_when_the_server_is_told_to_stop(tmp_path: Path) -> None:
    with running(tmp_path / "log") as engine:
        waiting = engine.ask_and_leave(question(LONG, max_tokens=1000))
        wait_for(lambda: engine.health()["busy"], "the model is busy")
        engine.process.terminate()
        assert waiting.getresponse().status == 503
        waiting.close()
        engine.process.wait(30)
