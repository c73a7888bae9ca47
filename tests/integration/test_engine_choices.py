"""Several answers to a request, as programs ask for them with the `openai` package."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from llamachat.core.engine_options import EngineOptions
from tests.integration.engine_process import Engine, question, running
from tests.support import wait_for


@pytest.fixture(scope="module", params=[1, 4], ids=["one lane", "four lanes"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    options = EngineOptions(model_name="small", bundled=True, parallel=request.param)
    with running(tmp_path_factory.mktemp("choices") / "log", options, n_ctx=512) as engine:
        yield engine


@pytest.fixture(scope="module")
def client(engine: Engine) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0)


def asked(**more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Name an animal."}]
    return {"model": "small", "messages": messages, "max_tokens": 8, "temperature": 1.5, **more}


def test_a_chat_has_n_answers_which_differ_and_come_again_with_their_seed(client: openai.OpenAI) -> None:
    first, second = (client.chat.completions.create(**asked(n=5, seed=7)) for _ in range(2))
    assert [choice.index for choice in first.choices] == [0, 1, 2, 3, 4]
    texts = [choice.message.content for choice in first.choices]
    assert len(set(texts)) > 1 and first.usage and second.usage
    assert first.usage.completion_tokens > 8 and first.usage.prompt_tokens < 60
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    assert first.usage.prompt_tokens_details and second.usage.prompt_tokens_details
    assert 0 < (second.usage.prompt_tokens_details.cached_tokens or 0) < second.usage.prompt_tokens
    alone = client.chat.completions.create(**asked(seed=8, temperature=0))
    greedy = client.chat.completions.create(**asked(n=2, seed=7, temperature=0))
    assert greedy.choices[1].message.content == alone.choices[0].message.content


def test_a_stream_says_which_answer_each_piece_is_of(client: openai.OpenAI) -> None:
    texts: dict[int, str] = defaultdict(str)
    reasons, ids, usage = {}, set(), []
    for chunk in client.chat.completions.create(
        stream=True, stream_options={"include_usage": True}, **asked(n=6)
    ):
        ids.add(chunk.id)
        usage += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason
    assert sorted(texts) == list(range(6)) and all(reasons.values()) and len(ids) == 1
    assert len(usage) == 1 and usage[0].completion_tokens > 6


def test_prompts_are_texts_or_tokens_and_many(engine: Engine, client: openai.OpenAI) -> None:
    prompts = ["One, two, three,", "red, green,"]
    tokens = [
        engine.ask("POST", "/extras/tokenize", {"input": prompt}).json()["tokens"] for prompt in prompts
    ]
    wanted: dict[str, Any] = {"model": "small", "max_tokens": 4, "temperature": 0}
    forms: list[Any] = [prompts, tokens, [prompts[1]], prompts[1], tokens[1]]
    answers = [client.completions.create(prompt=prompt, **wanted) for prompt in forms]
    texts = [[choice.text for choice in answer.choices] for answer in answers]
    assert texts[0] == texts[1] and texts[2] == texts[3] == texts[4] == texts[0][1:]
    assert answers[0].usage and answers[0].usage.prompt_tokens == sum(map(len, tokens))
    echoed = client.completions.create(prompt=tokens, n=2, echo=True, **wanted)
    assert [choice.text for choice in echoed.choices] == [
        prompt + text for prompt, text in zip(prompts, texts[0], strict=True) for _ in range(2)
    ]


def test_the_best_of_several_is_kept(client: openai.OpenAI) -> None:
    wanted: dict[str, Any] = {
        "model": "small",
        "prompt": "A dog",
        "max_tokens": 6,
        "temperature": 1.5,
        "seed": 3,
    }
    every = client.completions.create(n=4, logprobs=0, **wanted)
    means = {
        choice.text: sum(choice.logprobs.token_logprobs or ()) / len(choice.logprobs.token_logprobs or ())
        for choice in every.choices
        if choice.logprobs
    }
    best = client.completions.create(best_of=4, **wanted)
    assert len(best.choices) == 1 and best.choices[0].logprobs is None
    assert best.choices[0].text == max(means, key=lambda text: means[text])


def test_a_stream_echoes_its_prompt(client: openai.OpenAI) -> None:
    wanted: dict[str, Any] = {"model": "small", "prompt": "One, 名", "max_tokens": 3, "temperature": 0}
    whole = client.completions.create(echo=True, **wanted).choices[0].text
    streamed = client.completions.create(echo=True, stream=True, **wanted)
    assert "".join(chunk.choices[0].text for chunk in streamed) == whole and whole.startswith("One, 名")


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"n": 129}, "n"),
        ({"n": 0}, "n"),
        ({"prompt": [["a"], 1]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [10**9]}, "prompt"),
        ({"prompt": [[5], [-1]]}, "prompt"),
        ({"prompt": ["a"] * 20, "n": 100}, "prompt"),
        ({"prompt": [5] * 9000}, "prompt"),
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
    ],
)
def test_too_many_or_none_is_refused(engine: Engine, wanted: dict[str, Any], param: str) -> None:
    answer = engine.ask("POST", "/v1/completions", {"prompt": "a", "max_tokens": 2, **wanted})
    assert answer.status == 400 and answer.json()["error"]["param"] == param


def test_an_error_ends_them_all_and_so_does_who_hangs_up(engine: Engine) -> None:
    stream = engine.open_stream({"prompt": [[5], [10**9]], "max_tokens": 400}, "/v1/completions")
    *_, last = stream
    assert last["error"]["param"] == "prompt"
    leaving = engine.open_stream(question("Count.", n=8, max_tokens=300, temperature=1))
    next(iter(leaving))
    leaving.hang_up()
    wait_for(lambda: not engine.health()["busy"], "all of them have ended")
