"""The search's idea of a word, with the index and without, against plain Python."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamachat.store import index, segment

HAN = "的是了我不在人有模型学习"
MIXED = st.text(alphabet=HAN + "abAB12 .,_-\n，。\"'*()日あア한é", max_size=24)


def indexed_matches(texts: list[str], query: str) -> list[int]:
    connection = sqlite3.connect(":memory:")
    connection.execute(index.CREATE.replace("message_search", "t"))
    for n, text in enumerate(texts):
        connection.execute("INSERT INTO t(rowid, words) VALUES (?, ?)", (n, segment.index_text(text)))
    sql = "SELECT rowid FROM t WHERE t MATCH ? ORDER BY rowid"
    found = [row[0] for row in connection.execute(sql, (segment.match_expression(query),))]
    connection.close()
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(MIXED, max_size=6), MIXED)
def test_the_index_finds_what_a_scan_finds(texts: list[str], query: str) -> None:
    if not segment.match_expression(query):
        return
    finder = segment.Finder(query)
    assert indexed_matches(texts, query) == [n for n, text in enumerate(texts) if finder.matches(text)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(alphabet=HAN + "，", max_size=20), max_size=6),
    st.text(alphabet=HAN, min_size=1, max_size=5),
)
def test_chinese_is_found_wherever_it_stands(texts: list[str], query: str) -> None:
    assert indexed_matches(texts, query) == [n for n, text in enumerate(texts) if query in text]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(alphabet="ab B", max_size=16), max_size=6),
    st.text(alphabet="abB", min_size=2, max_size=3),
)
def test_english_is_found_from_the_beginning_of_a_word(texts: list[str], query: str) -> None:
    wanted = [n for n, t in enumerate(texts) if any(w.startswith(query.lower()) for w in t.lower().split())]
    assert indexed_matches(texts, query) == wanted


@settings(max_examples=200, deadline=None)
@given(MIXED, MIXED)
def test_the_line_of_a_hit_is_a_line_of_the_text(text: str, query: str) -> None:
    finder = segment.Finder(query)
    found = finder.find(text)
    assert (found is not None) == finder.matches(text)
    if found is not None:
        assert found.line in text.split("\n")
        assert all(0 <= a < b <= len(found.line) for a, b in found.spans)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("模型", "大模型很好"),
        ("模", "大模型很好"),
        ("好", "大模型很好"),
        ("用Python写", "我用 Python 写代码"),
        ("llama.cpp", "built with llama.cpp"),
        ("LLAMA", "the Ｌlama model"),
        ("cafe", "un café"),
        ("C++", "in C++ it is"),
        ("😀", "well 😀"),
        ("->", "a -> b"),
        ("東京 タワー", "タワーは東京にある"),
        ("ไทย", "ภาษาไทย"),
    ],
)
def test_words_are_found_in_any_script(query: str, text: str) -> None:
    assert segment.Finder(query).matches(text)
    if segment.match_expression(query):
        assert indexed_matches([text], query) == [0]


def test_the_line_with_most_of_the_words_is_shown() -> None:
    found = segment.Finder("red fox").find("a fox\nthe red fox, red\nred")
    assert found == segment.Found("the red fox, red", ((4, 7), (8, 11), (13, 16)))


def test_a_hit_is_marked_where_folding_changes_the_length() -> None:
    found = segment.Finder("ende").find("Straße ﬁn Ende")
    assert found is not None and found.spans == ((10, 14),)
