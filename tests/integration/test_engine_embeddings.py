from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from openai import OpenAI

from llamachat.core.engine_options import EngineOptions
from tests.integration.engine_process import Engine, question, running
from tests.support import ServerProcess, clean_env
from tests.tiny_models import write_bert

N_CTX = 64


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A model that chats and one that makes embeddings, in one process."""
    folder = tmp_path_factory.mktemp("embeddings")
    model = write_bert(folder / "tiny-bert.gguf")
    options = EngineOptions(
        model_name="small", embeddings=str(model), embeddings_name="tiny-bert", embeddings_n_ctx=N_CTX
    )
    with running(folder / "log", options) as engine:
        yield engine


@pytest.fixture
def client(beside: Engine) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{beside.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_batch_is_the_vectors_of_its_texts(client: OpenAI) -> None:
    texts = ["a dog", "another dog", "a much longer text, with a comma."] * 40  # more than one decode
    batch = client.embeddings.create(model="tiny-bert", input=texts)
    vectors = np.array([each.embedding for each in batch.data])
    assert [each.index for each in batch.data] == list(range(120))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = client.embeddings.create(model="tiny-bert", input=texts[1])
    np.testing.assert_allclose(alone.data[0].embedding, vectors[1], atol=1e-4)
    assert alone.usage.prompt_tokens > 0 and batch.model == "tiny-bert"


def test_formats_dimensions_and_tokens(beside: Engine) -> None:
    def ask(**body: Any) -> Any:
        return beside.ask("POST", "/v1/embeddings", body).json()["data"][0]["embedding"]

    whole = ask(input=[2, 10, 11, 3])
    packed = np.frombuffer(base64.b64decode(ask(input=[[2, 10, 11, 3]], encoding_format="base64")), "<f4")
    np.testing.assert_allclose(packed, whole, atol=1e-6)
    short = ask(input=[2, 10, 11, 3], dimensions=16)
    np.testing.assert_allclose(short, np.array(whole[:16]) / np.linalg.norm(whole[:16]), atol=1e-5)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"input": ["fits", "a " * 70]}, f"input[1] has 72 tokens, but tiny-bert reads {N_CTX}"),
        ({"input": []}, "1 to 2048"),
        ({"input": ["a", ""]}, "input[1] is empty"),
        ({"input": ["a", 5]}, "input[1]"),
        ({"input": [5, "a"]}, "input[0]"),
        ({"input": [99999]}, "99999 is not a token"),
        ({"input": "a", "dimensions": 65}, "have 64"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "float, base64"),
    ],
)
def test_what_has_no_vector_is_refused(beside: Engine, body: dict[str, Any], words: str) -> None:
    answer = beside.ask("POST", "/v1/embeddings", body)
    assert answer.status == 400 and words in answer.json()["error"]["message"]


def test_a_chat_goes_on_beside_it(beside: Engine, client: OpenAI) -> None:
    stream = beside.open_stream(question("Count to one hundred.", max_tokens=30))
    next(iter(stream))
    assert client.embeddings.create(model="tiny-bert", input="a dog").data
    assert list(stream)[-1] == "[DONE]"
    assert [model.id for model in client.models.list()] == ["small", "tiny-bert"]


def test_an_embeddings_model_alone_is_served_and_says_that_it_cannot_chat(tmp_path: Path) -> None:
    model = write_bert(tmp_path / "tiny-bert.gguf")
    with ServerProcess("-m", str(model), env=clean_env(tmp_path), cwd=tmp_path) as server:
        server.wait_until_ready()
        client = OpenAI(base_url=server.base_url, api_key="none", max_retries=0)
        assert len(client.embeddings.create(model="tiny-bert", input="a dog").data[0].embedding) == 64
        with pytest.raises(openai.BadRequestError, match="serves /v1/embeddings"):
            client.chat.completions.create(model="x", messages=[{"role": "user", "content": "Hi"}])
        with pytest.raises(openai.BadRequestError, match="513 tokens, but tiny-bert reads 512"):
            client.embeddings.create(model="tiny-bert", input="a" * 511)
