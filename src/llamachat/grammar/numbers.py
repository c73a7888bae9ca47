"""What a number may be, as its digits: bounds and multiples in the form without an exponent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from llamachat.grammar import dfa
from llamachat.grammar.dfa import Dfa, TooLarge
from llamachat.grammar.nodes import NEVER, Literal, Node, Repeat, chars, choice, optional, seq

INTEGER_DIGITS = 18
SIGNIFICANT_DIGITS = 15
"""A double tells decimals of so many digits apart: none is rounded to the other side of a bound."""
MAX_PLACES = 30
NO_BOUND = 10**MAX_PLACES
"""No number has so many digits here."""
MAX_LISTED = 1_000
DIGIT, DIGITS, ZEROS = chars((48, 57)), Repeat(chars((48, 57)), 0, None), Repeat(chars("0"), 0, None)
UNSIGNED = choice([Literal("0"), seq(chars((49, 57)), DIGITS)])
FRACTION = seq(Literal("."), Repeat(DIGIT, 1, None))
UNSIGNED_FEW = choice([Literal("0"), seq(chars((49, 57)), Repeat(DIGIT, 0, INTEGER_DIGITS))])
ANY_INTEGER = seq(optional(Literal("-")), UNSIGNED_FEW)
ANY_NUMBER = seq(
    ANY_INTEGER,
    optional(seq(Literal("."), Repeat(DIGIT, 1, 22))),
    optional(seq(chars("e", "E"), optional(chars("+", "-")), Repeat(DIGIT, 1, 2))),
)


@dataclass(frozen=True)
class Numbers:
    """All of these hold. `low` and `high` are bounds, each with whether the bound itself is left out."""

    low: tuple[Fraction, bool] | None = None
    high: tuple[Fraction, bool] | None = None
    multiples: tuple[Fraction, ...] = ()
    not_multiples: tuple[Fraction, ...] = ()
    excluded: tuple[Fraction, ...] = ()
    integer: bool = False
    fractional: bool = False
    """No integers."""

    @property
    def is_free(self) -> bool:
        return self in (Numbers(), Numbers(integer=True))

    def allows(self, value: Fraction) -> bool:
        if self.low is not None and (value < self.low[0] or (self.low[1] and value == self.low[0])):
            return False
        if self.high is not None and (value > self.high[0] or (self.high[1] and value == self.high[0])):
            return False
        if any(value % m for m in self.multiples) or not all(value % m for m in self.not_multiples):
            return False
        whole = value.denominator == 1
        return value not in self.excluded and whole >= self.integer and not (whole and self.fractional)

    def few(self) -> list[Fraction] | None:
        """The multiples that there are, where these are few: their automaton may be large."""
        steps = (*self.multiples, *([Fraction(1)] if self.integer else []))
        if not steps or self.low is None or self.high is None:
            return None
        step = max(steps)
        first, last = -(-self.low[0] // step), self.high[0] // step
        if last - first > MAX_LISTED:
            return None
        return [n * step for n in range(int(first), int(last) + 1) if self.allows(n * step)]

    def language(self) -> Dfa:
        """Raises TooLarge."""
        result = dfa.build(self._form())
        if self.low is not None and self.low[0] > -NO_BOUND:
            result &= dfa.build(at_least(*self.low))
        if self.high is not None and self.high[0] < NO_BOUND:
            result &= dfa.build(_negated(at_least(-self.high[0], self.high[1])))
        for multiple in self.multiples:
            result &= _multiples(multiple)
        for multiple in self.not_multiples:
            result &= _multiples(multiple).inverted()
        for value in self.excluded:
            result &= dfa.build(_equal(value)).inverted()
        if self.fractional:
            result &= dfa.build(seq(optional(Literal("-")), UNSIGNED, optional(WHOLE))).inverted()
        return result

    def _form(self) -> Node:
        bounds = (bound[0] for bound in (self.low, self.high) if bound is not None)
        digits = max([INTEGER_DIGITS, *(len(str(abs(int(b)))) + 1 for b in bounds if abs(b) < NO_BOUND)])
        if (self.low is not None and self.low[0] >= NO_BOUND) or (self.high and self.high[0] <= -NO_BOUND):
            raise TooLarge
        positive = seq(chars((49, 57)), Repeat(DIGIT, 0, digits - 1))
        whole = choice([Literal("0"), seq(optional(Literal("-")), positive)])
        if self.integer:
            return whole
        if self.multiples or self.not_multiples:
            # These count digits too: all counts of digits on both sides together are too many states.
            places = max(1, *map(_places, (*self.multiples, *self.not_multiples)))
            if places >= SIGNIFICANT_DIGITS:
                raise TooLarge
            before = seq(chars((49, 57)), Repeat(DIGIT, 0, SIGNIFICANT_DIGITS - places - 1))
            behind = seq(Literal("."), Repeat(DIGIT, 1, places))
            return choice([whole, seq(optional(Literal("-")), choice([Literal("0"), before]), behind)])
        zero = seq(Literal("0."), Repeat(chars("0"), 1, SIGNIFICANT_DIGITS))
        return choice([whole, zero, seq(optional(Literal("-")), choice(_decimals()))])


WHOLE = seq(Literal("."), Repeat(chars("0"), 1, None))


def _decimals() -> Iterator[Node]:
    """With a point and SIGNIFICANT_DIGITS digits at most, but for zero."""
    for before in range(1, SIGNIFICANT_DIGITS):
        whole = seq(chars((49, 57)), Repeat(DIGIT, before - 1, before - 1))
        yield seq(whole, Literal("."), Repeat(DIGIT, 1, SIGNIFICANT_DIGITS - before))
    for zeros in range(SIGNIFICANT_DIGITS - 1):
        behind = Repeat(DIGIT, 0, SIGNIFICANT_DIGITS - zeros - 2)
        yield seq(Literal("0." + "0" * zeros), chars((49, 57)), behind)


def _digits(value: Fraction) -> tuple[str, str]:
    """Before and behind the point of a value that is a decimal and not negative."""
    places = _places(value)
    text = str(int(value * 10**places)).rjust(places + 1, "0")
    return text[: len(text) - places], text[len(text) - places :]


def _places(value: Fraction) -> int:
    """How many digits it has behind the point."""
    places = 0
    while (value * 10**places).denominator > 1:
        places += 1
        if places > MAX_PLACES:
            raise TooLarge
    return places


def at_least(bound: Fraction, open_end: bool) -> Node:
    """Decimals from `bound` on, which is left out where the end is open."""
    equal = NEVER if open_end else _equal(bound)
    if bound > 0:
        return choice([equal, _over(*_digits(bound))])
    positive = seq(UNSIGNED, optional(FRACTION))
    if bound == 0:
        return choice([equal, positive]) if not open_end else _over("0", "")
    return choice([equal, positive, seq(Literal("-"), _under(*_digits(-bound)))])


def _negated(node: Node) -> Node:
    """For the upper bound: the numbers whose opposites `node` has."""
    assert hasattr(node, "options")
    options: list[Node] = []
    for option in node.options:
        parts = getattr(option, "parts", (option,))
        first = parts[0]
        if isinstance(first, Literal) and first.text.startswith("-"):
            options.append(seq(Literal(first.text[1:]), *parts[1:]))
        else:
            options.append(seq(Literal("-"), option))
    return choice(options)


def _equal(value: Fraction) -> Node:
    whole, behind = _digits(abs(value))
    sign = optional(Literal("-")) if value == 0 else Literal("-" if value < 0 else "")
    rest = seq(Literal("." + behind), ZEROS) if behind else optional(WHOLE)
    return seq(sign, Literal(whole), rest)


def _over(whole: str, behind: str) -> Node:
    """Larger decimals without a sign."""
    options = [seq(chars((49, 57)), Repeat(DIGIT, len(whole), None), optional(FRACTION))]
    for at, digit in enumerate(whole):
        if digit < "9":
            rest = Repeat(DIGIT, len(whole) - at - 1, len(whole) - at - 1)
            larger = chars((ord(digit) + 1, 57))
            options.append(seq(Literal(whole[:at]), larger, rest, optional(FRACTION)))
    for at, digit in enumerate(behind):
        if digit < "9":
            options.append(seq(Literal(f"{whole}.{behind[:at]}"), chars((ord(digit) + 1, 57)), DIGITS))
    options.append(seq(Literal(f"{whole}.{behind}"), ZEROS, chars((49, 57)), DIGITS))
    return choice(options)


def _under(whole: str, behind: str) -> Node:
    """Smaller decimals without a sign."""
    options: list[Node] = []
    if len(whole) > 1:
        shorter = seq(chars((49, 57)), Repeat(DIGIT, 0, len(whole) - 2))
        options.append(seq(choice([Literal("0"), shorter]), optional(FRACTION)))
    for at, digit in enumerate(whole):
        first = "1" if at == 0 and len(whole) > 1 else "0"
        if digit > first:
            rest = Repeat(DIGIT, len(whole) - at - 1, len(whole) - at - 1)
            smaller = chars((ord(first), ord(digit) - 1))
            options.append(seq(Literal(whole[:at]), smaller, rest, optional(FRACTION)))
    if behind:
        options.append(seq(Literal(whole), optional(WHOLE)))
    for at, digit in enumerate(behind):
        if at:
            options.append(Literal(f"{whole}.{behind[:at]}"))
        if digit > "0":
            options.append(seq(Literal(f"{whole}.{behind[:at]}"), chars((48, ord(digit) - 1)), DIGITS))
    return choice(options)


def _multiples(step: Fraction) -> Dfa:
    """Decimals that `step` divides: the remainder of the digits so far, and how many are behind the point."""
    places = _places(step)
    modulus = int(step * 10**places)
    if modulus * (places + 1) > dfa.MAX_STATES:
        raise TooLarge
    start, after_sign, first = 0, 1, 2

    def number(remainder: int, behind: int | None) -> int:
        """The state's; `behind` is None before the point."""
        return first + remainder * (places + 2) + (0 if behind is None else behind + 1)

    rows: dict[int, list[tuple[int, int, int]]] = {}
    digits = [(48 + d, 48 + d, number(d % modulus, None)) for d in range(10)]
    rows[start], rows[after_sign] = [(45, 45, after_sign), *digits], digits
    accepting = set()
    for remainder in range(modulus):
        for behind in (None, *range(places + 1)):
            row = []
            left = places - (behind or 0)
            if behind is None:
                row.append((46, 46, number(remainder, 0)))
            if behind is None or left > 0:
                to = None if behind is None else behind + 1
                row += [(48 + d, 48 + d, number((remainder * 10 + d) % modulus, to)) for d in range(10)]
            else:
                row.append((48, 48, number(remainder, behind)))
            at = number(remainder, behind)
            rows[at] = row
            if remainder * 10**left % modulus == 0:
                accepting.add(at)
    return Dfa(tuple(tuple(rows[n]) for n in range(len(rows))), frozenset(accepting))
