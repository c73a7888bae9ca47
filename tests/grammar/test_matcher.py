"""Grammars in GBNF, as people write them, and how they are followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamachat.grammar import gbnf
from llamachat.grammar.matcher import Matcher
from llamachat.grammar.nodes import Chars, Grammar, GrammarError

TOKENS = {"<|end|>": 7}


def parsed(text: str) -> Grammar:
    return gbnf.parse(text, TOKENS.get, 100)


@pytest.mark.parametrize(
    ("text", "accepted", "not_accepted"),
    [
        ('root ::= "a" [^b-d]{2,3} (x | "ü")*\nx ::= "x" | "yy" # a comment', "axyüyy", "abx"),
        ('root ::= ("a" | "b"\n | "c")+\n', "abc", ""),
        ('root ::= "x"\n  | "y"', "y", "z"),
        ('root ::= ("a"?)* "b"', "aab", "aa"),
        ('root ::= (x y){3}\nx ::= "a"?\ny ::= "b"*', "bbabbab", "aaaa"),
        ('root ::= "[" v ("," v){2,} "]"\nv ::= "x" | "[]"', "[x,[],x]", "[x,x]"),
        ('root ::= ((("a"){0,9}){0,9}){0,9} "b"', "a" * 729 + "b", "a" * 730 + "b"),
        ('root ::= "a" root "b" | ""', "aaabbb", "aab"),
        ('root ::= . [\\x41-\\u0043] "\\U0001F600"', "zB😀", "zD😀"),
        ('root ::= "a"{0} "b"{2}', "bb", "b"),
        ('root ::= "a"{3,}', "aaaa", "aa"),
    ],
)
def test_a_grammar_accepts_its_texts(text: str, accepted: str, not_accepted: str) -> None:
    grammar = parsed(text)
    for matcher in (Matcher(grammar), Matcher(parsed(str(grammar)))):
        assert matcher.accepts(accepted.encode())
        assert not matcher.accepts(not_accepted.encode())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no rule `root`"),
        ('root ::= "a', "the line ends within quotes"),
        ('root := "a"', "expected `::=`"),
        ("root ::= x", "uses `x`, which is not defined"),
        ('root ::= root "a"', "begins with itself"),
        ('root ::= x root\nx ::= "a"?', "begins with itself"),
        ('root ::= "a"{1,999999999}', "more than 1000000 repetitions"),
        ('root ::= "a"{3,2}', "smaller"),
        ("root ::= <[999999999]>", "is not a token"),
        ("root ::= <|nobody|>", "is not a token"),
        ("root ::= !<[1]>", "not supported"),
        ("root ::= " + "(" * 5000 + '"a"' + ")" * 5000, "parentheses"),
        ('root ::= "a"' + "?" * 5000, "repetition"),
        ("root ::= [\\uD800]", "not a character"),
        ("root ::= [z-a]", "ends before it begins"),
        ('root ::= "' + "x" * 300_000 + '"', "larger than"),
    ],
)
def test_a_bad_grammar_is_refused(text: str, why: str) -> None:
    with pytest.raises(GrammarError, match=why):
        Matcher(parsed(text))


def test_a_grammar_that_doubles_its_work_ends() -> None:
    matcher = Matcher(parsed('root ::= "a" root "b" | "a" root "c" | ""'))
    with pytest.raises(GrammarError, match="too ambiguous"):
        matcher.advance(matcher.start, b"a" * 60)


def test_a_grammar_ends_when_a_token_takes_more_steps_than_it_may() -> None:
    matcher = Matcher(parsed('root ::= "a" root "b" | "a" root "c" | ""'))
    matcher.renew(places=50)
    with pytest.raises(GrammarError, match="too many steps"):
        matcher.advance(matcher.start, b"a" * 60)


def test_a_token_is_told_apart_from_its_text() -> None:
    matcher = Matcher(parsed('root ::= "a" <|end|> <[9]>'))
    state = matcher.advance(matcher.start, b"a")
    assert state is not None and matcher.tokens(state) == {7}
    assert matcher.advance(state, b"<|end|>") is None
    state = matcher.advance_token(state, 7)
    assert state is not None and matcher.advance_token(state, 7) is None
    state = matcher.advance_token(state, 9)
    assert state is not None and state.complete


def test_what_is_remembered_is_bounded() -> None:
    matcher = Matcher(parsed('root ::= ("a" | "b"){0,1000000}'))
    state = matcher.start
    for _ in range(60):
        matcher.renew()
        found = matcher.advance(state, b"ab" * 2_000)
        assert found is not None
        state = found
    assert len(matcher._states) < 100_000


def test_a_long_text_takes_memory_as_it_is_written() -> None:
    matcher = Matcher(parsed('root ::= "' + "ab" * 50_000 + '" "c"'))
    state = matcher.advance(matcher.start, b"ab" * 1_000)
    assert state is not None and matcher.size < 10_000
    assert matcher.accepts(b"ab" * 50_000 + b"c") and not matcher.accepts(b"ab" * 49_999 + b"c")


def test_a_grammar_of_many_large_classes_is_bounded_in_memory() -> None:
    with pytest.raises(GrammarError, match=r"too large|too ambiguous"):
        Matcher(parsed("root ::= " + "[^a]" * 30_000))


code_points = st.integers(0, 0x10FFFF).filter(lambda c: not 0xD800 <= c < 0xE000)


@given(code_points, code_points, code_points)
def test_ranges_of_characters_are_exact_in_utf8(one: int, other: int, char: int) -> None:
    low, high = min(one, other), max(one, other)
    matcher = Matcher(Grammar({"root": Chars(((low, high),))}))
    for code in {char, low, high, max(low - 1, 0), min(high + 1, 0x10FFFF)}:
        if not 0xD800 <= code < 0xE000:
            assert matcher.accepts(chr(code).encode()) == (low <= code <= high)
