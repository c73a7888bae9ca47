"""Chances of labels from logprobs, and from the real model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from llamachat.programs.probabilities import normalised, weigh
from tests.support import ServerProcess, llamachat


def entry(token: str, chance: float, **others: float) -> dict[str, Any]:
    top = [{"token": t, "bytes": list(t.encode()), "logprob": math.log(p)} for t, p in others.items()]
    own = {"token": token, "bytes": list(token.encode()), "logprob": math.log(chance)}
    return {**own, "top_logprobs": [own, *top]}


def test_labels_that_differ_in_their_first_token_need_one() -> None:
    alone, shared = weigh(["yes", "no"], [entry("yes", 0.6, no=0.2, maybe=0.2)])
    assert alone == pytest.approx({"yes": 0.6, "no": 0.2}) and not shared
    assert normalised(["yes", "no"], alone) == pytest.approx({"yes": 0.75, "no": 0.25})


def test_labels_that_begin_alike_are_followed_along_the_answer_and_grouped_beside_it() -> None:
    labels = ["red apple", "red pear", "blue sky", "blue sea"]
    answer = [entry("red ", 0.7, blue=0.3), entry("apple", 0.9, pear=0.1)]
    alone, shared = weigh(labels, answer)
    assert alone == pytest.approx({"red apple": 0.63, "red pear": 0.07})
    assert shared == pytest.approx({("blue sky", "blue sea"): 0.3})


def test_a_label_that_another_begins_with_is_told_apart_by_its_end() -> None:
    answer = [entry('"', 1.0), entry("in", 1.0), entry('"', 0.8, dia=0.2)]
    assert weigh(["in", "india"], answer)[0] == pytest.approx({"in": 0.8, "india": 0.2})
    assert normalised(["a", "b"], weigh(["a", "b"], [])[0]) is None


def test_ask_gives_probabilities_that_add_up_to_one(
    serve: ServerProcess, env: dict[str, str], tmp_path: Path
) -> None:
    env["LLAMACHAT_BASE_URL"] = serve.base_url
    labels = "blue whale,blue jay,red fox,green"
    done = llamachat("ask", "--json", "--choices", labels, "Which swims?", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    chances = said["probabilities"]
    assert set(chances) == set(labels.split(",")) and sum(chances.values()) == pytest.approx(1)
    assert min(chances.values()) > 0 and max(chances, key=chances.get) == said["answer"]
