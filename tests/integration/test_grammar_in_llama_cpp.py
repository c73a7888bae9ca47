"""The same grammar, followed here and by llama.cpp's own sampler, allows the same tokens."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest

from llamachat.core.engine_options import EngineOptions
from llamachat.engine.engine import Engine, engine_class
from llamachat.grammar.matcher import Matcher
from llamachat.grammar.nodes import Grammar
from llamachat.grammar.schema import grammar

SCHEMAS: list[Any] = [
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": -3}, "b": {"type": "string"}}},
    {"type": "array", "items": {"enum": ["x", "名", None, 2.5]}, "minItems": 1, "maxItems": 3},
    {"type": "string", "pattern": "b+[^é]", "maxLength": 6},
    {"anyOf": [{"type": "string", "format": "date"}, {"type": "number", "multipleOf": 0.25}]},
    {"type": "object", "additionalProperties": {"type": "boolean"}, "propertyNames": {"minLength": 2}},
]


@pytest.fixture(scope="module")
def words(small_model: Path) -> Iterator[Engine]:
    model: Any = engine_class(EngineOptions())(str(small_model), n_ctx=64, verbose=False)
    yield model
    model.close()


class Sampler:
    """llama.cpp's."""

    def __init__(self, model: Engine, rules: Grammar) -> None:
        vocab = llama_cpp.llama_model_get_vocab(model.model)
        self._sampler = llama_cpp.llama_sampler_init_grammar(vocab, str(rules).encode(), b"root")
        assert self._sampler, "llama.cpp can't parse the grammar"
        self._size = model.n_vocab()

    def allowed(self) -> set[int]:
        data = (llama_cpp.llama_token_data * self._size)()
        view: Any = np.frombuffer(
            memoryview(data), dtype=[("id", np.intc), ("logit", np.single), ("p", np.single)]
        )
        view["id"] = np.arange(self._size)
        candidates = llama_cpp.llama_token_data_array(data=data, size=self._size, selected=-1, sorted=False)
        llama_cpp.llama_sampler_apply(self._sampler, candidates)
        return set(view["id"][np.isfinite(view["logit"])].tolist())

    def accept(self, token: int) -> None:
        llama_cpp.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        llama_cpp.llama_sampler_free(self._sampler)


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_the_same_tokens_may_come(words: Engine, schema: Any) -> None:
    rules = grammar(schema)
    matcher, sampler, chance = Matcher(rules), Sampler(words, rules), random.Random(7)
    known = words._words
    state = matcher.start
    for _ in range(25):
        matcher.renew()
        ours = set(known.vocabulary.allowed(matcher, state)) | (set(known.ends) if state.complete else set())
        theirs = sampler.allowed()
        assert ours == theirs
        token = chance.choice(sorted(ours - known.ends) or [0])
        after = known.vocabulary.after(matcher, state, token)
        if after is None:
            break
        sampler.accept(token)
        state = after
    sampler.close()
