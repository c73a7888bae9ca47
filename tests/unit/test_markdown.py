"""Markdown as it streams: only ever added to, and the same however the text is cut."""

from __future__ import annotations

import io
import re

from hypothesis import given
from hypothesis import strategies as st

from llamachat.core.visible import VisibleStream, visible
from llamachat.terminal.inline import InlineStream, Span, spans
from llamachat.terminal.markdown import MarkdownText
from llamachat.terminal.screen import Screen
from tests.fakes.server import HOSTILE, MARKDOWN

PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "**",
                "*",
                "`",
                "```\n",
                "```python\n",
                "_",
                "~~",
                "[",
                "](http://x)",
                "# ",
                "- ",
                "1. ",
                "> ",
                "|",
            ]
        ),
        st.sampled_from(
            ["\n", "\n\n", "| a | b |\n|---|---|\n| c | d |\n", "word ", "中文字", " ", "---\n", "\\*"]
        ),
        st.text(alphabet="abc 好。*`_[]()|#\n", max_size=12),
    ),
    max_size=25,
)


def drawn(pieces: list[str], color: bool = False) -> str:
    out = io.StringIO()
    text = MarkdownText(Screen(out, color))
    for piece in pieces:
        text.feed(piece)
    text.finish()
    return out.getvalue()


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]|[\u4e00-\u9fff]", text)


@given(PIECES)
def test_every_letter_comes_out_once_and_in_order(pieces: list[str]) -> None:
    text = "".join(pieces)
    hidden = r"```python|http://x|!\[|\]\(\S*"
    if re.search(hidden, text) or text.count("|") > 1:
        return
    assert words(drawn(pieces)) == words(text)


@given(PIECES)
def test_what_is_written_stays_written_and_no_cursor_moves(pieces: list[str]) -> None:
    out = io.StringIO()
    text = MarkdownText(Screen(out, True))
    before = ""
    for piece in pieces:
        text.feed(piece)
        assert out.getvalue().startswith(before)
        before = out.getvalue()
    text.finish()
    assert set(re.findall(r"\x1b\[[0-9;]*(.)", out.getvalue())) <= {"m"}


def test_one_text_looks_the_same_however_it_is_cut() -> None:
    whole = drawn([MARKDOWN])
    for size in (1, 2, 3, 7, 50):
        assert drawn([MARKDOWN[i : i + size] for i in range(0, len(MARKDOWN), size)]) == whole


def test_text_comes_out_word_by_word_and_emphasis_when_it_is_whole() -> None:
    out = io.StringIO()
    text = MarkdownText(Screen(out, False))
    text.feed("Hello the")
    assert out.getvalue() == "Hello"
    text.feed("re **bo")
    assert out.getvalue() == "Hello there"
    text.feed("ld** x")
    assert out.getvalue() == "Hello there bold"
    text.feed(" 你")
    assert out.getvalue() == "Hello there bold x 你"


def test_code_lines_are_written_as_they_are() -> None:
    long = "x = [" + "1234567890, " * 20 + "]"
    assert drawn([f"```python\n{long}\n\n    indented  \n```\nafter"]).splitlines()[1:4] == [
        long,
        "",
        "    indented  ",
    ]


def test_a_line_of_unclosed_marks_is_not_held_back_for_ever() -> None:
    out = io.StringIO()
    text = MarkdownText(Screen(out, False))
    text.feed("a ** b `c " + "word " * 100)
    assert "word" in out.getvalue()


def test_a_line_that_may_still_become_anything_is_not_held_back_for_ever() -> None:
    for mark in ("-", "* ", " ", "=", ">"):
        out = io.StringIO()
        MarkdownText(Screen(out, False)).feed(mark * 1000)
        assert out.getvalue()


def test_quotes_lists_and_headings_stand_in_each_other() -> None:
    assert drawn(list("> a\n> > b\n> - c\n\t- d\n## e ##\n# C#\nf\n===\n")).splitlines()[:-1] == [
        "▎ a",
        "▎ ▎ b",
        "▎ • c",
        "    • d",
        "e",
        "C#",
        "f",
    ]


def test_a_line_that_is_just_full_goes_on_below_its_own_indent() -> None:
    text = "- " + "中" * 38 + "，" + "文" * 10 + "\n"
    assert drawn([text]).splitlines() == ["• " + "中" * 38 + "，", "  " + "文" * 10]


def test_a_link_that_is_its_own_text_is_shown_once() -> None:
    assert drawn(["<http://x.test/a> <a@b.test> [http://x.test/b](http://x.test/b)\n"]) == (
        "http://x.test/a a@b.test http://x.test/b\n"
    )


def test_inline_marks_become_styles() -> None:
    assert spans("a **b** *c* `d` ~~e~~") == [
        Span("a "),
        Span("b", "strong"),
        Span(" "),
        Span("c", "em"),
        Span(" "),
        Span("d", "code"),
        Span(" "),
        Span("e", "strike"),
    ]
    assert spans("[t](http://x)") == [Span("t"), Span(" (http://x)", "link")]
    plain = "2 * 3 = 6 and snake_case_name "
    assert "".join(span.text for span in InlineStream().feed(plain)) == plain


@given(st.text(), st.integers(min_value=1, max_value=5))
def test_hostile_text_is_made_visible_however_it_is_cut(text: str, size: int) -> None:
    stream = VisibleStream()
    pieces = [stream.feed(text[i : i + size]) for i in range(0, len(text), size)]
    shown = "".join([*pieces, stream.finish()])
    assert shown == visible(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


def test_hostile_text_loses_nothing_to_markdown() -> None:
    shown = drawn([visible(HOSTILE)])
    assert "␛]52;c;ZXZpbA==␇" in shown
    assert "<U+202E>gnp.exe" in shown


def test_a_character_reference_is_no_way_around_that() -> None:
    shown = drawn(["safe&#13;evil &#x202e;gnp.exe &#10;\n\n| a&#13;b |\n|---|\n| &#x202e;c |\n"])
    assert not re.search("[\r\u202e]", shown)
    assert "safe␍evil <U+202E>gnp.exe" in shown
    assert "a␍b" in shown and "<U+202E>c" in shown


def test_a_link_with_a_title_is_whole_however_it_is_cut() -> None:
    link = 'see [the text](http://x.test/a "its title") there\n'
    assert drawn(list(link)) == drawn([link]) == "see the text (http://x.test/a) there\n"


def test_a_table_loses_nothing_of_its_cells() -> None:
    table = "| a | b |\n|---|---|\n| `x | y` | or |\n| one<br>two | 3 | 4 |\n| 5 |\n"
    rows = [re.split(r"\s{2,}", line) for line in drawn([table]).splitlines()]
    assert rows[2:] == [["x | y", "or"], ["one", "3 | 4"], ["two"], ["5"]]
    for columns in range(1, 40):
        wide = "".join(f"| {cell} " * columns + "|\n" for cell in ("题头", "--", "内容x"))
        shown = drawn([wide])
        assert all(shown.count(char) == columns for char in "题头内容x")
