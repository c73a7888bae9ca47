"""Several requests at once, on the real small model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from llamachat import batch
from llamachat.core.engine_options import EngineOptions
from tests.integration.engine_process import Engine, question, running, text_of
from tests.integration.test_engine_stream import LONG, places, unique
from tests.support import wait_for

LANES = 4
RULES = " ".join(f"Rule {i}: item {i * 7 % 97} counts as good." for i in range(25))


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    options = EngineOptions(model_name="small", bundled=True, parallel=LANES)
    # With the library's own cache, which would put back the states of all lanes at once.
    with running(tmp_path_factory.mktemp("lanes") / "log", options, n_ctx=1024, cache="true") as engine:
        yield engine


def ask_all(engine: Engine, bodies: list[dict[str, Any]]) -> list[Any]:
    def ask(body: dict[str, Any]) -> Any:
        return engine.ask("POST", "/v1/chat/completions", body).json()

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(ask, bodies))


def row(number: int, **more: Any) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": f"You classify reviews. {RULES}"},
        {"role": "user", "content": f"Review {number}: the sea number {number * 13 % 101} was fine."},
    ]
    return question("", messages=messages, **more)


def is_idle(engine: Engine) -> bool:
    return bool(engine.health()["lanes_busy"] == 0)


def tokens_read(engine: Engine, bodies: list[dict[str, Any]]) -> list[int]:
    """Of each prompt, how many tokens were not there yet; asked all at once."""

    def ask(body: dict[str, Any]) -> int:
        return int(list(engine.open_stream(body))[-2]["timings"]["prompt_n"])

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(ask, bodies))


def test_eight_streams_in_four_lanes_all_come_to_their_end(lanes: Engine) -> None:
    replies: dict[int, list[Any]] = {}

    def ask(number: int) -> None:
        body = question(f"Write about {number}.", max_tokens=24, stream_options={"include_usage": True})
        replies[number] = list(lanes.open_stream(body))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    wait_for(lambda: lanes.health()["lanes_busy"] == LANES, "all lanes are busy")
    for thread in threads:
        thread.join()
    for events in replies.values():
        assert events[-1] == "[DONE]" and text_of([e for e in events if e != "[DONE]"])
        usage, timings = events[-2]["usage"], events[-2]["timings"]
        assert timings["cache_n"] + timings["prompt_n"] == usage["prompt_tokens"]
        assert 0 < usage["completion_tokens"] <= 24
    assert sum(bool(places(events)) for events in replies.values()) <= 8 - LANES
    wait_for(lambda: is_idle(lanes), "all lanes are free")


def test_both_write_at_the_same_time(lanes: Engine) -> None:
    first = lanes.open_stream(question("Count to one hundred.", max_tokens=300))
    next(iter(first))
    assert lanes.chat("Say hello.").status == 200
    assert lanes.health()["lanes_busy"] == 1  # the first one writes on
    first.hang_up()
    wait_for(lambda: is_idle(lanes), "all lanes are free")


def test_the_answers_are_those_of_one_lane_alone(lanes: Engine) -> None:
    """Of short ones, whose likeliest tokens rounding does not change."""
    bodies = [question(f"What is the capital of {land}?", max_tokens=6) for land in ("France", "Italy")]
    alone = [lanes.ask("POST", "/v1/chat/completions", body).text for body in bodies]
    together = ask_all(lanes, bodies * 2)
    assert [reply["choices"][0]["message"]["content"] for reply in together] == alone * 2


def test_a_shared_prefix_is_read_once(tmp_path: Path) -> None:
    with running(tmp_path / "log", EngineOptions(parallel=LANES), n_ctx=1024) as engine:
        read = sorted(tokens_read(engine, [row(n) for n in range(12)]))
        assert read[-1] > 250  # by whoever came first
        assert all(n < 60 for n in read[:-1])


def test_what_the_lanes_hold_is_kept_between_two_runs(tmp_path: Path) -> None:
    options = EngineOptions(parallel=2, cache_dir=str(tmp_path / "kv"))
    bodies = [question(unique(LONG[:1200], f"talk {n}"), max_tokens=4) for n in range(2)]
    with running(tmp_path / "log", options, n_ctx=1024) as engine:
        ask_all(engine, bodies)
        engine.process.terminate()
        engine.process.wait(30)
    with running(tmp_path / "log", options, n_ctx=1024) as engine:
        assert all(n < 16 for n in tokens_read(engine, bodies))


def test_rows_of_a_batch_leave_a_chat_its_cells(lanes: Engine) -> None:
    story = [{"role": "user", "content": unique(LONG[:1500], "story")}]
    reply = lanes.ask("POST", "/v1/chat/completions", question("", messages=story)).text
    story += [{"role": "assistant", "content": reply}, {"role": "user", "content": "Go on."}]
    lanes.ask("POST", "/v1/chat/completions", question("", messages=story))
    ask_all(lanes, [row(n, max_tokens=2, priority=1) for n in range(24)])
    assert tokens_read(lanes, [question("", messages=story)])[0] < 40


@pytest.mark.parametrize("reads", [True, False])
def test_who_hangs_up_frees_its_lane_and_no_other(lanes: Engine, reads: bool) -> None:
    other = lanes.open_stream(question("Count to one hundred.", max_tokens=200))
    next(iter(other))
    stream = lanes.open_stream(
        question(unique(LONG, f"hang up {reads}"), max_tokens=200, return_progress=True)
    )
    next(e for e in stream if "prompt_progress" in e or (not reads and text_of([e])))
    if not reads:
        next(e for e in stream if text_of([e]))
    stream.hang_up()
    wait_for(lambda: lanes.health()["lanes_busy"] <= 1, "its lane is free")
    assert list(other)[-1] == "[DONE]"


def test_a_full_window_ends_its_own_reply_alone(lanes: Engine) -> None:
    full, other = ask_all(
        lanes,
        [question(unique(LONG, "full")[:3600], max_tokens=-1), question("Count.", max_tokens=120)],
    )
    assert full["choices"][0]["finish_reason"] == "length"
    assert full["usage"]["total_tokens"] > 1000
    assert other["usage"]["completion_tokens"] > 0


def test_a_prompt_over_the_window_of_one_lane_is_refused(lanes: Engine) -> None:
    error = lanes.chat(LONG * 3).json()["error"]
    assert error["code"] == "context_length_exceeded" and error["n_ctx"] == 1024


def test_an_error_ends_one_reply_and_no_other(lanes: Engine) -> None:
    bad, good = ask_all(
        lanes,
        [question("Hi.", grammar="root ::= ((("), question("Say hello.", max_tokens=20)],
    )
    assert "grammar" in bad["error"]["message"]
    assert good["choices"][0]["message"]["content"]


def test_each_lane_has_its_own_grammar(lanes: Engine) -> None:
    first, second = (
        {"grammar": f'root ::= "{word}" [0-9] [0-9] [0-9]', "max_tokens": 20} for word in ("left", "right")
    )
    replies = ask_all(lanes, [question("A word and a number.", **grammar) for grammar in (first, second) * 2])
    texts = [reply["choices"][0]["message"]["content"] for reply in replies]
    assert all(text.startswith(word) for text, word in zip(texts, ("left", "right") * 2, strict=True))


def test_a_seed_gives_the_same_reply_in_any_lane(lanes: Engine) -> None:
    body = question("Tell me a story.", temperature=1.5, max_tokens=4, seed=7)
    texts = {reply["choices"][0]["message"]["content"] for reply in ask_all(lanes, [body] * LANES)}
    assert len(texts) <= 2  # rounding may tip one


def test_without_a_seed_replies_at_once_differ(lanes: Engine) -> None:
    body = question("Tell me a story.", temperature=1.5, max_tokens=24)
    texts = {reply["choices"][0]["message"]["content"] for reply in ask_all(lanes, [body] * LANES)}
    assert len(texts) > 1


def test_lanes_share_a_small_batch(tmp_path: Path) -> None:
    """A batch that is longer than n_batch would end the process."""
    with running(tmp_path / "log", EngineOptions(parallel=LANES), n_ctx=512, n_batch="16") as engine:
        bodies = [question(f"{n} " + "tea " * n, max_tokens=6 + n % 5) for n in range(32)]
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda body: engine.ask("POST", "/v1/chat/completions", body), bodies))
        assert {answer.status for answer in answers} == {200}


def test_a_batch_too_small_for_several_lanes_has_one(tmp_path: Path) -> None:
    with running(tmp_path / "log", EngineOptions(parallel=LANES), n_ctx=512, n_batch="8") as engine:
        assert engine.health()["lanes"] == 1 and "--n_batch 8" in engine.health()["one_lane"]
        assert engine.chat("Hi.").status == 200


def test_a_long_prompt_is_read_between_the_tokens_of_another(lanes: Engine) -> None:
    writing = lanes.open_stream(question("Write a very long story.", max_tokens=400))
    next(e for e in writing if text_of([e]))
    reading = lanes.open_stream(question(unique(LONG, "between"), return_progress=True, max_tokens=1))
    told = [e["prompt_progress"] for e in reading if e != "[DONE]" and "prompt_progress" in e]
    assert told[-1]["processed"] == told[-1]["total"]
    came = len(writing.events)
    assert text_of([e for e in writing.events[came:] if e != "[DONE]"]) == ""
    next(e for e in writing if e != "[DONE]" and text_of([e]))  # it wrote on meanwhile, and still does
    writing.hang_up()
    wait_for(lambda: is_idle(lanes), "all lanes are free")


def test_a_chat_takes_the_lane_of_a_row_which_goes_on_afterwards(lanes: Engine) -> None:
    more = {"priority": 1, "max_tokens": 250, "stream_options": {"include_usage": True}}
    rows = [lanes.open_stream(question(f"Write a long story about {n}.", **more)) for n in range(LANES)]
    for stream in rows:
        next(e for e in stream if text_of([e]))
    assert lanes.chat("Say hello.", max_tokens=4).status == 200
    assert lanes.health()["lanes_busy"] == LANES  # no row has ended, so a chat had to take a place
    first, *others = rows
    first.hang_up()
    for stream in others:
        assert list(stream)[-1] == "[DONE]"
        usage, timings = stream.events[-2]["usage"], stream.events[-2]["timings"]
        assert usage["completion_tokens"] > 100 and len(text_of(stream.events[:-2])) > 300
        assert timings["cache_n"] + timings["prompt_n"] == usage["prompt_tokens"]
    wait_for(lambda: is_idle(lanes), "all lanes are free")


def test_a_row_that_hangs_up_while_it_waits_leaves_its_lane_to_the_chat(lanes: Engine) -> None:
    rows = [
        lanes.open_stream(question(f"Tell me about {n}.", priority=1, max_tokens=300)) for n in range(LANES)
    ]
    for stream in rows:
        next(e for e in stream if text_of([e]))
    chat = lanes.open_stream(question("Count to one hundred.", max_tokens=60))
    next(e for e in chat if text_of([e]))
    for stream in rows:
        stream.hang_up()
    wait_for(lambda: lanes.health()["lanes_busy"] <= 1, "the rows have left")
    assert list(chat)[-1] == "[DONE]"
    wait_for(lambda: is_idle(lanes), "all lanes are free")


def test_a_row_that_waits_goes_on_in_any_lane_that_is_free(lanes: Engine) -> None:
    rows = [lanes.open_stream(question(f"Count from {n}.", priority=1, max_tokens=40)) for n in range(LANES)]
    for stream in rows:
        next(e for e in stream if text_of([e]))
    chat = lanes.open_stream(question("Write a very long story.", max_tokens=600))
    next(e for e in chat if text_of([e]))
    for stream in rows:
        assert list(stream)[-1] == "[DONE]"
    assert lanes.health()["lanes_busy"] == 1  # the chat writes on
    chat.hang_up()
    wait_for(lambda: is_idle(lanes), "all lanes are free")


@pytest.mark.parametrize("priority", ["high", "1.5", [1]])
def test_a_priority_is_a_whole_number(lanes: Engine, priority: Any) -> None:
    answer = lanes.chat("Hi.", priority=priority)
    assert answer.status == 400 and "priority" in answer.json()["error"]["message"]


def test_a_priority_in_the_header_counts_too(lanes: Engine) -> None:
    for value, status in (("-1", 200), ("soon", 400)):
        answer = lanes.ask("POST", "/v1/chat/completions", question("Hi."), {"X-Llamachat-Priority": value})
        assert answer.status == status


def test_the_rows_of_a_batch_are_answered(lanes: Engine) -> None:
    rows = [f"Name colour {n}." for n in range(3)]
    answers = list(batch(rows, prompt="{text}", base_url=f"{lanes.url}/v1", choices=["yes", "no"]))
    assert [(answer.columns["text"], answer.error) for answer in answers] == [(row, None) for row in rows]


def test_a_stop_ends_all_lanes(tmp_path: Path) -> None:
    with running(tmp_path / "log", EngineOptions(parallel=2)) as engine:
        streams = [engine.open_stream(question(f"{n} {LONG}", return_progress=True)) for n in range(2)]
        for stream in streams:
            next(iter(stream))
        waiting = engine.ask_and_leave(question("Hi.", max_tokens=1000))
        wait_for(lambda: engine.health()["queue"] == 1, "two are served and one waits")
        engine.process.terminate()
        for stream in streams:
            assert list(stream)[-1]["error"]["message"] == "The server is stopping."
        assert waiting.getresponse().status == 503
        waiting.close()
        engine.process.wait(30)


def test_scores_of_each_token_need_one_lane_and_the_server_says_so(tmp_path: Path) -> None:
    options = EngineOptions(parallel=4)
    with running(tmp_path / "log", options, n_ctx=256, logits_all="true") as engine:
        assert engine.health()["lanes"] == 1
        assert "--logits_all" in engine.health()["one_lane"]
        assert engine.chat("Hi.").status == 200


def test_each_lane_is_held_to_its_own_schema_and_tools(lanes: Engine) -> None:
    """Six at once share the vocabulary, and those of one schema its grammar."""
    kinds = ("integer", "boolean", "null")
    schemas = [
        {"type": "object", "properties": {"x": {"type": kind}}, "required": ["x"]}
        for kind in [*kinds, *kinds]
    ]
    tools = [
        {"type": "function", "function": {"name": f"f{number}", "parameters": schema}}
        for number, schema in enumerate(schemas)
    ]
    texts = [
        question("JSON.", response_format={"type": "json_object", "schema": schema}, max_tokens=60)
        for schema in schemas
    ]
    calls = [question("JSON.", tools=[tool], tool_choice="required", max_tokens=60) for tool in tools]
    for number, reply in enumerate(ask_all(lanes, texts)):
        jsonschema.validate(json.loads(reply["choices"][0]["message"]["content"]), schemas[number])
    for number, reply in enumerate(ask_all(lanes, calls)):
        for call in reply["choices"][0]["message"]["tool_calls"]:
            assert call["function"]["name"] == f"f{number}"
            jsonschema.validate(json.loads(call["function"]["arguments"]), schemas[number])
