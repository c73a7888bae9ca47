"""Search over a generated file, against a plain scan of the same messages."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import pytest

from llamachat.core.conversation import Message
from llamachat.store.records import Heading
from llamachat.store.segment import Finder
from llamachat.store.transcripts import Transcripts
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
                record = Message("assistant", text, created_at=0.0, finish_reason=reason)
                texts[transcripts.append(conversation, None, record)] = text
        for query in QUERIES:
            finder = Finder(query)
            wanted = sorted((n for n, text in texts.items() if finder.matches(text)), reverse=True)
            hits = transcripts.search(query, len(texts))
            assert [hit.message_id for hit in hits] == wanted, query
            assert [hit.message_id for hit in transcripts.search(query, 5)] == wanted[:5]
            assert all(finder.find(hit.line) or " " in query for hit in hits)


# What is stored, and queries of which each is looked for as it stands, or from the beginning of a word.
PIECES = [
    *"大模型学習习体體😀🎉，。",
    "ＬＬＡＭＡ",
    "llama",
    "Llama3",
    "café",
    "naïve ",
    " ",
    " the ",
    "\n",
    "３",
    "①",
]
DENSE = ["模", "模型", "型学", "體", "体", "😀", "🎉😀", "模型😀", "大模型学"]
WORDS = ["llama", "LLAMA", "ｌｌａ", "cafe", "CAFÉ", "naive", "the", "llama3"]


def plain(text: str) -> str:
    """Folded by Python's own means, whatever the index does."""
    wide = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in wide if not unicodedata.combining(c)))


def holds_it(part: str, text: str) -> bool:
    return part in text


def begins_a_word(word: str, text: str) -> bool:
    places = (n for n in range(len(text)) if text.startswith(word, n))
    return any(n == 0 or not (text[n - 1].isascii() and text[n - 1].isalnum()) for n in places)


@pytest.mark.parametrize("seed", range(3))
def test_search_finds_what_a_reader_would(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with Transcripts.open(tmp_path / "transcripts.db", no_trouble) as transcripts:
        texts: dict[int, str] = {}
        with transcripts.changes():
            conversation = transcripts.create(Heading())
            for _ in range(400):
                text = "".join(chance.choices(PIECES, k=chance.randint(1, 12)))
                texts[transcripts.append(conversation, None, Message("user", text, created_at=0.0))] = text
        for query in [*DENSE, *WORDS]:
            holds = begins_a_word if query in WORDS else holds_it
            wanted = [n for n, text in texts.items() if holds(plain(query), plain(text))]
            found = [hit.message_id for hit in transcripts.search(query, len(texts))]
            assert sorted(found) == wanted, query


def test_an_empty_query_finds_nothing(tmp_path: Path) -> None:
    with Transcripts.open(tmp_path / "transcripts.db", no_trouble) as transcripts:
        assert list(transcripts.search("  ")) == []
