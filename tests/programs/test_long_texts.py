"""Texts longer than the window: nothing of them is lost, and the passage that is asked for is found."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamachat.core.events import TextDelta
from llamachat.errors import TextTooLong
from llamachat.programs.asking import Asker
from llamachat.programs.long_texts import LongText, cut, rank
from llamachat.programs.questions import Question
from llamachat.programs.wiring import Server, connected
from tests.programs.conftest import Recorder

WORDS = ["the", "river", "house", "market", "window", "letter", "winter", "garden", "模型", "语言", "窗口"]


@contextmanager
def asking(server: Recorder) -> Iterator[Asker]:
    with connected(Server(server.base_url, "not-needed", named=True), lambda _: None) as (asker, _):
        yield asker


def long_text(characters: int) -> str:
    pick = random.Random(7)
    sentences: list[str] = []
    while sum(map(len, sentences)) < characters:
        number = len(sentences)
        sentences.append(
            f"Sentence {number} {' '.join(pick.choices(WORDS, k=12))}." + "\n" * (number % 5 == 0) * 2 + " "
        )
    return "".join(sentences)


@given(st.text(alphabet="ab 。.\n\t模", max_size=400), st.integers(5, 40), st.integers(0, 4))
def test_parts_cover_every_character(text: str, size: int, overlap: int) -> None:
    parts = cut(text, size, len, overlap)
    assert (parts[0].start, parts[-1].end) == (0, len(text))
    assert all(before.start < after.start <= before.end for before, after in pairwise(parts))


@pytest.mark.parametrize("mode", ["map", "reduce", "refine"])
def test_every_character_is_in_a_prompt(recorder: Callable[..., Recorder], mode: str) -> None:
    server, text = recorder(), long_text(20 * 2048 * 4)
    with asking(server) as asker:
        asked = LongText(asker, Question("Be brief."), lambda part: f"{part}\n\nSum up.")
        answer = asked.ask(text, mode)  # type: ignore[arg-type]
    prompts = server.prompts()
    covered = 0
    while covered < len(text):
        piece = text[covered : covered + 60]
        prompt = next(p for p in prompts if piece in p)
        start = prompt.index(piece)
        # As far as this prompt goes on with the text.
        length = 0
        while (
            covered + length < len(text)
            and prompt[start + length : start + length + 1] == text[covered + length]
        ):
            length += 1
        assert length
        covered += length
    assert answer.text.startswith("answer to")
    assert len(prompts) >= 20


def test_the_answers_to_parts_are_streamed_as_they_are_joined(recorder: Callable[..., Recorder]) -> None:
    shown: list[str] = []
    with asking(recorder()) as asker:
        asked = LongText(asker, Question(), lambda part: part)
        answer = asked.ask(
            long_text(20_000),
            "map",
            lambda event: shown.append(event.text if isinstance(event, TextDelta) else ""),
        )
    assert answer.text.count("\n\n") >= 2 and "".join(shown) == answer.text


def test_a_text_that_fits_is_asked_about_once(recorder: Callable[..., Recorder]) -> None:
    server = recorder()
    with asking(server) as asker:
        asked = LongText(asker, Question(), lambda part: f"{part}\n\nSum up.")
        asked.ask("short", "reduce")
        assert server.prompts() == ["short\n\nSum up."]
        with pytest.raises(TextTooLong, match="20007 tokens"):
            asked.ask("x" * 80_000, "error")
    assert len(server.prompts()) == 1


def test_planted_facts_are_among_the_first_passages() -> None:
    text = long_text(20 * 2048 * 4)
    names = [f"{a}{b}" for a in ("Mar", "Tor", "Vel", "Kan", "Sul") for b in ("ina", "obo", "eka", "uri")]
    facts = [f" The seal of {name} is kept in drawer {i * 37}. " for i, name in enumerate(names)]
    facts += [f" 编号{i}的钥匙藏在{name}的钟楼里。 " for i, name in enumerate(names)]
    step = len(text) // len(facts)
    planted = "".join(text[i * step : (i + 1) * step] + fact for i, fact in enumerate(facts))
    parts = cut(planted, 160, lambda t: -(-len(t) // 4), 20)
    passages = [planted[p.start : p.end] for p in parts]
    questions = [f"Where is the seal of {name} kept?" for name in names] + [
        f"{name}的钟楼里藏着什么钥匙？" for name in names
    ]
    found = sum(
        any(fact.strip() in passages[i] for i in rank(passages, question)[:5])
        for question, fact in zip(questions, facts, strict=True)
    )
    assert found >= 0.95 * len(facts)
