"""Search over a generated file, against a plain scan of the same messages."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from llamachat.store.segment import Finder
from llamachat.store.transcripts import Transcripts
from llamachat.store.values import Heading, Record
from tests.store.helpers import no_trouble

CHINESE = ["大模型", "模型", "学习", "上下文", "窗口", "的", "是", "了", "我们", "问题"]
ENGLISH = ["model", "models", "window", "token", "the", "a", "llama.cpp", "C++", "GGUF", "answer"]
QUERIES = [
    *CHINESE,
    *ENGLISH,
    "模",
    "文窗",
    "型学",
    "mod",
    "模型 token",
    "the model",
    "->",
    "的 -> a",
    "没有",
    "LLAMA",
]


@pytest.mark.parametrize("seed", range(3))
def test_search_finds_what_a_scan_finds(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    texts: dict[int, str] = {}
    with Transcripts.open(tmp_path / "transcripts.db", no_trouble) as transcripts:
        with transcripts.changes():
            conversation = transcripts.create(Heading())
            for _ in range(400):
                words = chance.choices([*CHINESE, *ENGLISH, "->", "\n"], k=chance.randint(1, 8))
                text = chance.choice(["", " ", "，"]).join(words)
                reason = chance.choice(["stop", None])
                record = Record("assistant", text, 0.0, finish_reason=reason)
                texts[transcripts.append(conversation, None, record)] = text
        for query in QUERIES:
            finder = Finder(query)
            wanted = sorted((n for n, text in texts.items() if finder.matches(text)), reverse=True)
            hits = transcripts.search(query, len(texts))
            assert [hit.message_id for hit in hits] == wanted, query
            assert [hit.message_id for hit in transcripts.search(query, 5)] == wanted[:5]
            assert all(finder.find(hit.line) or " " in query for hit in hits)


def test_an_empty_query_finds_nothing(tmp_path: Path) -> None:
    with Transcripts.open(tmp_path / "transcripts.db", no_trouble) as transcripts:
        assert list(transcripts.search("  ")) == []
