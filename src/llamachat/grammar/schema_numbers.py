"""The numbers that a schema allows, as rules."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from llamachat.grammar import formats
from llamachat.grammar.conjunction import KEYWORDS_OF_TYPE, Alternative, Own, Sub
from llamachat.grammar.dfa import TooLarge
from llamachat.grammar.nodes import Chars, Node, Rule
from llamachat.grammar.numbers import Numbers
from llamachat.grammar.schema_writer import Writer, excluded, first_with


class NumberRules:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, subs: Alternative, integer: bool) -> Node:
        numbers = read(subs, integer)
        if numbers.is_free:
            return Rule("integer" if numbers.integer else "number")
        try:
            few = numbers.few()
            if few is not None:
                return self._writer.one_of([_decimal(value) for value in few])
            return self._writer.automaton_rules(self._writer.spent(numbers.language()), Chars)
        except TooLarge as error:
            where, keyword = first_with(
                subs, ("multipleOf", "minimum", "maximum", *KEYWORDS_OF_TYPE["number"])
            )
            raise where.refuse(keyword, f"can't be enforced with what else holds: {error}") from None


def read(subs: Alternative, integer: bool) -> Numbers:
    """What holds for a number of `subs`."""
    lows: list[tuple[Fraction, bool]] = []
    highs: list[tuple[Fraction, bool]] = []
    for sub in subs:
        for keyword, bounds in (("minimum", lows), ("maximum", highs)):
            is_open = f"exclusive{keyword.capitalize()}"
            if sub.get(is_open) is True and keyword in sub.schema:  # draft 4
                bounds.append((number_of(sub, keyword), True))
            elif keyword in sub.schema:
                bounds.append((number_of(sub, keyword), False))
            if not isinstance(sub.get(is_open, False), bool):
                bounds.append((number_of(sub, is_open), True))
        if sub.get("format") in formats.INTEGERS:
            low, high = formats.INTEGERS[sub.get("format")]
            lows.append((Fraction(low), False))
            highs.append((Fraction(high), False))
    steps = [(number_of(s, "multipleOf"), s) for s in subs if "multipleOf" in s.schema]
    for step, sub in steps:
        if step <= 0:
            raise sub.refuse("multipleOf", "must be greater than 0")
    not_steps = (exact(s.get(Own.NOT_MULTIPLE)) for s in subs if Own.NOT_MULTIPLE in s.schema)
    return Numbers(
        low=max(lows, default=None),
        high=min(highs, key=lambda bound: (bound[0], not bound[1]), default=None),
        multiples=tuple(dict.fromkeys(step for step, _ in steps)),
        not_multiples=tuple(step for step in not_steps if step > 0),
        excluded=tuple(exact(value) for value in excluded("number", subs)),
        integer=integer,
        fractional=any(Own.FRACTIONAL in sub.schema for sub in subs),
    )


def number_of(sub: Sub, keyword: str) -> Fraction:
    value = sub.get(keyword)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or value != value
        or abs(value) == float("inf")
    ):
        raise sub.refuse(keyword, "must be a number")
    return exact(value)


def exact(value: float) -> Fraction:
    """As it is written: 0.1 is a tenth."""
    return Fraction(value) if isinstance(value, int) else Fraction(Decimal(repr(value)))


def _decimal(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
