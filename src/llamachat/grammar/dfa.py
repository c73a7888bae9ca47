"""Finite automata over characters: what a string may be, and whether two rules for it can hold at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from llamachat.grammar.nodes import (
    ANY,
    EMPTY,
    LAST_CODE_POINT,
    Chars,
    Choice,
    GrammarError,
    Literal,
    Node,
    Ranges,
    Repeat,
    Rule,
    Seq,
    choice,
    complement,
    merged,
    seq,
)

MAX_STATES = 4_000
MAX_WORK = 200_000
Row = tuple[tuple[int, int, int], ...]
"""The edges of a state: first and last character, and the state behind them."""
BEGIN, END = Rule("^"), Rule("$")
"""Within a regular expression: true at the text's begin and end, and nothing of it."""
ANY_TEXT = Repeat(ANY, 0, None)


class TooLarge(GrammarError):
    """The automaton would have too many states."""

    def __init__(self) -> None:
        super().__init__("it takes too many states")


@dataclass(frozen=True)
class Dfa:
    """Begins in state 0; a character without an edge is not accepted. A row's edges are sorted and apart."""

    edges: tuple[Row, ...]
    accepting: frozenset[int]

    def accepts(self, text: str) -> bool:
        state: int | None = 0
        for char in text:
            code = ord(char)
            state = next((to for low, high, to in self.edges[state or 0] if low <= code <= high), None)
            if state is None:
                return False
        return state in self.accepting

    def is_empty(self) -> bool:
        return 0 not in self._alive()

    def inverted(self) -> Dfa:
        sink = len(self.edges)
        edges = [self._with_rest(edges, sink) for edges in (*self.edges, ())]
        return Dfa(tuple(edges), frozenset(range(sink + 1)) - self.accepting)

    def _with_rest(self, edges: Iterable[tuple[int, int, int]], sink: int) -> Row:
        taken = tuple((low, high) for low, high, _ in edges)
        rest = [(low, high, sink) for low, high in complement(merged(taken))]
        return tuple(sorted([*edges, *rest]))

    def __and__(self, other: Dfa) -> Dfa:
        """What both accept."""
        numbers: dict[tuple[int, int], int] = {(0, 0): 0}
        pending, edges, work = [(0, 0)], {}, 0
        while pending:
            pair = pending.pop()
            row = []
            for low, high, mine in self.edges[pair[0]]:
                for other_low, other_high, theirs in other.edges[pair[1]]:
                    work += 1
                    first, last = max(low, other_low), min(high, other_high)
                    if first <= last:
                        both = (mine, theirs)
                        if both not in numbers:
                            numbers[both] = len(numbers)
                            pending.append(both)
                        row.append((first, last, numbers[both]))
            if len(numbers) > 5 * MAX_STATES or work > 10 * MAX_WORK:
                raise TooLarge
            edges[numbers[pair]] = tuple(sorted(row))
        accepting = {n for (a, b), n in numbers.items() if a in self.accepting and b in other.accepting}
        return Dfa(tuple(edges[n] for n in range(len(numbers))), frozenset(accepting))._trimmed()

    def _trimmed(self) -> Dfa:
        """Without states from which nothing is accepted."""
        numbers = {state: n for n, state in enumerate(sorted(self._alive() | {0}))}
        edges = (
            tuple((low, high, numbers[to]) for low, high, to in self.edges[state] if to in numbers)
            for state in numbers
        )
        return Dfa(tuple(edges), frozenset(numbers[state] for state in self.accepting))

    def _alive(self) -> set[int]:
        """The states from which the text can still be accepted."""
        before: dict[int, set[int]] = {}
        for state, row in enumerate(self.edges):
            for _, _, to in row:
                before.setdefault(to, set()).add(state)
        alive, pending = set(self.accepting), list(self.accepting)
        while pending:
            for state in before.get(pending.pop(), set()) - alive:
                alive.add(state)
                pending.append(state)
        return alive

    def rules(
        self, name: Callable[[int], str], write: Callable[[Ranges], Node]
    ) -> Iterator[tuple[str, Node]]:
        """A rule for each state, `name(0)` the first; `write` says how a character is written."""
        alive = self._alive()
        for state in sorted(alive | {0}):
            targets: dict[int, list[tuple[int, int]]] = {}
            for low, high, to in self.edges[state]:
                if to in alive:
                    targets.setdefault(to, []).append((low, high))
            options: list[Node] = [EMPTY] if state in self.accepting else []
            options += [seq(write(merged(ranges)), Rule(name(to))) for to, ranges in targets.items()]
            yield name(state), choice(options)


def literals(texts: Iterable[str]) -> Dfa:
    """One of `texts`."""
    rows: list[dict[str, int]] = [{}]
    accepting = set()
    for text in texts:
        at = 0
        for char in text:
            if char not in rows[at]:
                rows.append({})
                rows[at][char] = len(rows) - 1
            at = rows[at][char]
        accepting.add(at)
    if len(rows) > 3 * MAX_STATES:
        raise TooLarge
    edges = tuple(tuple((ord(c), ord(c), to) for c, to in sorted(row.items())) for row in rows)
    return Dfa(edges, frozenset(accepting))


def length(low: int, high: int | None) -> Dfa:
    """`low` to `high` characters."""
    last = low if high is None else high
    if last > MAX_STATES:
        raise TooLarge

    def row(to: int) -> Row:
        return tuple((a, b, to) for a, b in ANY.ranges)

    edges = [row(n + 1) for n in range(last)] + [row(last) if high is None else ()]
    return Dfa(tuple(edges), frozenset(range(low, last + 1)))


def build(node: Node) -> Dfa:
    """Of a regular expression, which must match the whole text; it may hold BEGIN and END."""
    return _Automaton(node).determined()


def search(node: Node) -> Node:
    """Matches somewhere in the text."""
    return Seq((ANY_TEXT, node, ANY_TEXT))


class _Automaton:
    """With edges for nothing, of which some hold at the begin or the end of the text only."""

    def __init__(self, node: Node) -> None:
        self._free: list[list[int]] = []
        self._at: list[tuple[Rule, int] | None] = []
        self._chars: list[tuple[Ranges, int] | None] = []
        self._work = 0
        self._last = self._add()
        self._first = self._build(node, self._last)

    def _add(self) -> int:
        self._free.append([])
        self._at.append(None)
        self._chars.append(None)
        if len(self._free) > 10 * MAX_STATES:
            raise TooLarge
        return len(self._free) - 1

    def _build(self, node: Node, then: int) -> int:
        if isinstance(node, Literal):
            for char in reversed(node.text):
                then = self._build(Chars(((ord(char), ord(char)),)), then)
            return then
        if isinstance(node, Seq):
            for part in reversed(node.parts):
                then = self._build(part, then)
            return then
        if isinstance(node, Repeat):
            return self._repeat(node, then)
        at = self._add()
        if isinstance(node, Chars):
            self._chars[at] = (node.ranges, then)
        elif isinstance(node, Choice):
            self._free[at] = [self._build(option, then) for option in node.options]
        else:
            assert node in (BEGIN, END)
            self._at[at] = (BEGIN if node == BEGIN else END, then)
        return at

    def _repeat(self, node: Repeat, then: int) -> int:
        if node.high is None:
            loop = self._add()
            self._free[loop] = [self._build(node.node, loop), then]
            then = loop
        else:
            end = then
            for _ in range(node.high - node.low):
                at = self._add()
                self._free[at] = [self._build(node.node, then), end]
                then = at
        for _ in range(node.low):
            then = self._build(node.node, then)
        return then

    def determined(self) -> Dfa:
        start = self._closed([(self._first, True, False)])
        numbers = {start: 0}
        pending, edges = [start], {}
        while pending:
            state = pending.pop()
            row = []
            for low, high, targets in self._edges(state):
                to = self._closed([(at, False, False) for at in targets])
                if to not in numbers:
                    numbers[to] = len(numbers)
                    pending.append(to)
                row.append((low, high, numbers[to]))
            if len(numbers) > MAX_STATES or self._work > MAX_WORK:
                raise TooLarge
            edges[numbers[state]] = tuple(row)
        accepting = {n for state, n in numbers.items() if any(at == self._last for at, _, _ in state)}
        return Dfa(tuple(edges[n] for n in range(len(numbers))), frozenset(accepting))

    def _closed(self, pending: list[tuple[int, bool, bool]]) -> frozenset[tuple[int, bool, bool]]:
        """With what is reached for nothing: each a place, whether the text begins here, whether it ended."""
        seen = set()
        while pending:
            place = pending.pop()
            if place in seen:
                continue
            seen.add(place)
            self._work += 1
            at, begins, ended = place
            pending.extend((to, begins, ended) for to in self._free[at])
            anchor = self._at[at]
            if anchor is not None and (begins or anchor[0] == END):
                pending.append((anchor[1], begins, ended or anchor[0] == END))
        return frozenset(p for p in seen if p[0] == self._last or self._chars[p[0]] is not None)

    def _edges(self, state: frozenset[tuple[int, bool, bool]]) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """The characters that may come, in ranges that all go to the same places."""
        leaving = [edge for at, _, ended in state if not ended and (edge := self._chars[at]) is not None]
        changes: dict[int, list[tuple[int, bool]]] = {}
        for ranges, to in leaving:
            for low, high in ranges:
                changes.setdefault(low, []).append((to, True))
                changes.setdefault(high + 1, []).append((to, False))
                self._work += 1
        active: dict[int, int] = {}
        points = [*sorted(changes), LAST_CODE_POINT + 1]
        for point, following in pairwise(points):
            for to, begins in changes[point]:
                active[to] = active.get(to, 0) + (1 if begins else -1)
            targets = tuple(to for to, count in active.items() if count > 0)
            if targets:
                self._work += len(targets)
                yield point, following - 1, targets
