"""Answers held to a schema or a grammar, by the real engine on the real small model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from tests.grammar.test_schema import HOSTILE
from tests.integration.engine_process import Engine, question, running, text_of
from tests.support import DEADLINE, wait_for

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z][a-z]{1,9}$"},
        "age": {"type": "integer", "minimum": 18, "maximum": 99},
        "colour": {"enum": ["red", "green", "blue"]},
    },
    "required": ["name", "age", "colour"],
}


def json_schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running(tmp_path_factory.mktemp("constraints") / "log", n_ctx=1024) as engine:
        yield engine


@pytest.mark.parametrize("temperature", [0, 1.5])
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_validates(engine: Engine, stream: bool, temperature: float) -> None:
    asked = question(
        "Describe Ann.", response_format=json_schema(PERSON), max_tokens=90, temperature=temperature
    )
    if stream:
        events = list(engine.open_stream(asked))
        text, reason = text_of(events), events[-2]["choices"][0]["finish_reason"]
    else:
        answer = engine.ask("POST", "/v1/chat/completions", asked)
        text, reason = answer.text, answer.json()["choices"][0]["finish_reason"]
    jsonschema.validate(json.loads(text), PERSON)
    assert reason == "stop"


def test_a_json_object_is_one(engine: Engine) -> None:
    schema = {"type": "object", "additionalProperties": {"type": "boolean"}, "maxProperties": 2}
    schema["propertyNames"] = {"maxLength": 9}  # else a name may take all tokens
    wanted = {"type": "json_object", "schema": schema}
    answer = engine.chat("JSON, please.", response_format=wanted, max_tokens=200, temperature=1)
    jsonschema.validate(json.loads(answer.text), schema)
    assert engine.chat("JSON, please.", response_format={"type": "json_object"}).text.startswith("{")


@pytest.mark.parametrize("stream", [True, False])
def test_a_schema_that_cannot_be_enforced_is_a_400_that_names_the_place(engine: Engine, stream: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    answer = engine.chat("Hi.", response_format=json_schema(schema), stream=stream)
    error = answer.json()["error"]
    assert answer.status == 400 and error["param"] == "response_format"
    assert "#/properties/a/uniqueItems" in error["message"]


@pytest.mark.parametrize(
    ("grammar", "texts"),
    [('root ::= "yes" | "no"', {"yes", "no"}), ('root ::= ("é" | "名"){2}', {"éé", "名名", "é名", "名é"})],
)
def test_a_grammar_holds_in_chats_and_completions(engine: Engine, grammar: str, texts: set[str]) -> None:
    assert engine.chat("Is it?", grammar=grammar, temperature=2).text in texts
    answer = engine.ask("POST", "/v1/completions", {"prompt": "Is it?", "grammar": grammar, "max_tokens": 9})
    assert answer.json()["choices"][0]["text"] in texts
    assert answer.json()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("more", [{"response_format": {"type": "json_object"}}, {"tool_choice": "required"}])
def test_two_forms_of_one_answer_are_refused(engine: Engine, more: dict[str, Any]) -> None:
    tools = [{"type": "function", "function": {"name": "now"}}]
    answer = engine.chat("Hi.", grammar='root ::= "yes"', tools=tools, **more)
    assert answer.status == 400 and answer.json()["error"]["param"] == "grammar"


def test_a_bias_counts_within_a_grammar(engine: Engine) -> None:
    token = engine.ask("POST", "/extras/tokenize", {"input": "no"}).json()["tokens"][-1]
    asked = {"grammar": 'root ::= "yes" | "no" | "perhaps"', "logit_bias": {str(token): 100}}
    assert engine.chat("Yes?", **asked).text == "no"


def test_a_token_that_is_not_there_is_a_400_and_not_a_crash(engine: Engine) -> None:
    for grammar in ("root ::= <[999999999]>", "root ::= <nobody>"):
        answer = engine.chat("Hi.", grammar=grammar)
        assert answer.status == 400 and "not a token" in answer.json()["error"]["message"]
    assert engine.chat("Hi.", grammar='root ::= "a" <|im_end|>').text == "a"


def test_a_grammar_that_doubles_its_work_ends_alone(engine: Engine) -> None:
    grammar = 'root ::= "a" root "b" | "a" root "c" | "a" root "d"'
    answer = engine.chat("Hi.", grammar=grammar, max_tokens=100)
    assert answer.status == 400 and "too ambiguous" in answer.json()["error"]["message"]
    assert engine.chat("Hi.").status == 200


def test_a_schema_that_takes_long_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    with running(tmp_path / "log", n_ctx=256) as engine, ThreadPoolExecutor(1) as pool:
        wanted = json_schema({"type": "string", "pattern": "(x+x+)+y", "minLength": 729})
        coming = pool.submit(engine.chat, "Hi.", response_format=wanted)
        process = psutil.Process(engine.process.pid)
        wait_for(lambda: any(sum(p.cpu_times()[:2]) > 0.3 for p in process.children()), "it is compiled")
        engine.process.terminate()
        assert coming.result().status == 503
        engine.process.wait(DEADLINE)


def test_hostile_schemas_leave_the_engine_as_it_is(engine: Engine) -> None:
    process = psutil.Process(engine.process.pid)
    before = process.memory_info().rss
    for schema in HOSTILE.values():
        assert engine.chat("Hi.", response_format=json_schema(schema)).status in (200, 400)
    assert process.memory_info().rss - before < 300 * 2**20
    assert engine.chat("Hi.").status == 200
