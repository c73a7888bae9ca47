"""Follow a grammar byte by byte: which bytes may come next, and whether the text may end here.

A state is the set of places in the grammar where a text may be, each a position and the rules that it returns
to. States and the ways between them are remembered, so most bytes are one look into a dict. llama.cpp's own
sampler does the same in C, without bounds: a grammar can make it double its work at each character. Here a
repetition is a counter and not as many copies, and what is too ambiguous ends with a GrammarError.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from llamachat.grammar.nodes import (
    EMPTY,
    NEVER,
    Chars,
    Choice,
    Grammar,
    GrammarError,
    Literal,
    Node,
    Repeat,
    Rule,
    Seq,
    Token,
    children,
    choice,
    rules_where,
    seq,
)

MAX_PLACES = 10_000
"""In one state."""
MAX_WORK = 400_000
"""Places looked at for one token."""
MAX_AT_FIRST = 100_000
"""Places looked at before the first token: nobody is served meanwhile."""
MAX_REMEMBERED = 60_000
"""Places in all states that are remembered, of some 250 bytes each."""
MAX_STEPS = 150_000
"""Instructions, of some 300 bytes each; as much memory as they take is bounded, too."""
BYTES_A_STEP = 8
"""A table of so many bytes takes as much memory as a step."""
LONGEST_LITERAL = 64
"""Characters that are made into instructions at once."""
CALL = -1
TOO_AMBIGUOUS = "The grammar is too ambiguous: it takes too many steps to tell what may come."


class _Frame:
    """Where a rule returns to, with CALL as its count, or which round of a repetition this is."""

    __slots__ = ("count", "parent", "place")

    def __init__(self, place: int, count: int, parent: _Frame | None) -> None:
        self.place, self.count, self.parent = place, count, parent


_Place = tuple[int, "_Frame | None"]


class State:
    __slots__ = ("_next", "complete", "places", "remembered")

    def __init__(self, places: tuple[_Place, ...], complete: bool) -> None:
        self.places, self.complete = places, complete
        self._next: dict[int, State | None] = {}
        self.remembered: dict[object, object] = {}
        """For what others compute of it."""


class _Step:
    """One instruction; the kinds are told apart by which of the fields is set."""

    __slots__ = ("bytes", "call", "exits", "high", "loop", "low", "next", "token")

    def __init__(self) -> None:
        self.bytes: dict[int, int] | None = None
        self.token: int | None = None
        self.exits: tuple[int, ...] | None = None
        self.call: str | None = None
        self.loop = -1
        self.low, self.high = 0, -1
        self.next = -1


@dataclass(frozen=True)
class Prepared:
    """A grammar that was checked as a whole. Each rule is packed for itself: few are ever entered."""

    rules: Mapping[str, bytes]
    root: str


def prepare(grammar: Grammar) -> Prepared:
    """Raises GrammarError for a grammar that would never end."""
    if (name := left_recursive(grammar.rules)) is not None:
        raise GrammarError(f"The rule `{name}` begins with itself.")
    rules = _Rounds(grammar.rules).rules
    return Prepared({name: pickle.dumps(node) for name, node in rules.items()}, grammar.root)


class Matcher:
    """Of one grammar; used by one thread at a time."""

    def __init__(self, grammar: Grammar | Prepared) -> None:
        given = prepare(grammar) if isinstance(grammar, Grammar) else grammar
        self._rules = given.rules
        self._size = 0
        self._steps: list[_Step] = []
        self._entries: dict[str, int] = {}
        self._frames: dict[tuple[int, int, _Frame | None], _Frame] = {}
        self._states: dict[tuple[frozenset[_Place], bool], State] = {}
        self._remembered = 0
        self.renew()
        self._return = self._add()
        self.renew(MAX_AT_FIRST)
        start = self._close([(self._entry(given.root), None)])
        if start is None:
            raise GrammarError("The grammar can't write anything.")
        self.start: State = start

    @property
    def size(self) -> int:
        """The memory that it takes, in places and steps of some 300 bytes."""
        return len(self._rules) + self._size + self._remembered

    def advance(self, state: State, text: bytes) -> State | None:
        """The state behind `text`; None if the grammar doesn't allow it."""
        for byte in text:
            found = state._next.get(byte, False)
            if found is False:
                found = self._step(state, byte)
            if found is None:
                return None
            state = found  # type: ignore[assignment]
        return state

    def advance_token(self, state: State, token: int) -> State | None:
        """Where the grammar names the token itself."""
        key = -1 - token
        if key not in state._next:
            steps = self._steps
            after = [(steps[at].next, frame) for at, frame in state.places if steps[at].token == token]
            state._next[key] = self._close(after)
        return state._next[key]

    def tokens(self, state: State) -> set[int]:
        """The tokens that the grammar names here."""
        return {t for at, _ in state.places if (t := self._steps[at].token) is not None}

    def renew(self, places: int = MAX_WORK) -> None:
        """At what follows, so many places may be looked at."""
        self.left = places

    def accepts(self, text: bytes) -> bool:
        state: State | None = self.start
        for at in range(len(text)):
            self.renew()
            state = self.advance(state, text[at : at + 1]) if state is not None else None
        return state is not None and state.complete

    def next_bytes(self, state: State) -> list[int]:
        found: set[int] = set()
        for at, _ in state.places:
            found.update(self._steps[at].bytes or ())
        return sorted(found)

    def _step(self, state: State, byte: int) -> State | None:
        after: list[_Place] = []
        for at, frame in state.places:
            table = self._steps[at].bytes
            if table is not None and (to := table.get(byte)) is not None:
                after.append((to, frame))
        state._next[byte] = found = self._close(after)
        return found

    def _close(self, pending: list[_Place]) -> State | None:
        """The state of all places that can be reached from `pending` without a byte."""
        seen: set[_Place] = set()
        places: list[_Place] = []
        complete = False
        while pending:
            place = pending.pop()
            if place in seen:
                continue
            seen.add(place)
            at, frame = place
            step = self._steps[at]
            if step.bytes is not None or step.token is not None:
                places.append(place)
            elif step.exits is not None:
                pending.extend((to, frame) for to in step.exits)
            elif step.call is not None:
                back = frame if step.next == self._return else self._frame(step.next, CALL, frame)
                pending.append((self._entry(step.call), back))
            elif step.loop >= 0:
                self._begin_round(at, 0, frame, pending)
            elif frame is None:
                complete = True
            elif frame.count != CALL:
                self._begin_round(frame.place, frame.count + 1, frame.parent, pending)
            else:
                pending.append((frame.place, frame.parent))
            if len(seen) > MAX_PLACES:
                raise GrammarError(TOO_AMBIGUOUS)
        self._spend(len(seen))
        return self._state(places, complete) if places or complete else None

    def _spend(self, places: int) -> None:
        self.left -= places
        if self.left < 0:
            raise GrammarError(TOO_AMBIGUOUS)

    def _begin_round(self, at: int, count: int, parent: _Frame | None, pending: list[_Place]) -> None:
        """The place behind `count` rounds of the repetition at `at`."""
        step = self._steps[at]
        if step.high < 0:
            count = min(count, step.low)
        if step.high < 0 or count < step.high:
            pending.append((step.loop, self._frame(at, count, parent)))
        if count >= step.low:
            pending.append((step.next, parent))

    def _frame(self, place: int, count: int, parent: _Frame | None) -> _Frame:
        key = (place, count, parent)
        found = self._frames.get(key)
        if found is None:
            found = self._frames[key] = _Frame(place, count, parent)
        return found

    def _state(self, places: list[_Place], complete: bool) -> State:
        key = (frozenset(places), complete)
        found = self._states.get(key)
        if found is None:
            self.count(len(places) + 1)
            found = self._states[key] = State(tuple(places), complete)
        return found

    def count(self, places: int) -> None:
        """As much as so many places is remembered from now on."""
        self._remembered += places
        if self._remembered > MAX_REMEMBERED:
            self._forget()

    def _forget(self) -> None:
        for state in self._states.values():
            state._next.clear()
            state.remembered.clear()
        self._states.clear()
        self._frames.clear()
        self._remembered = 0

    # Instructions are made where a rule is first entered.

    def _entry(self, name: str) -> int:
        entry = self._entries.get(name)
        if entry is None:
            before, size = len(self._steps), self._size
            try:
                entry = self._compile(pickle.loads(self._rules[name]), self._return)
            except GrammarError:
                del self._steps[before:]
                self._size = size
                raise
            self._entries[name] = entry
        return entry

    def _add(self, n_bytes: int = 0) -> int:
        self._steps.append(_Step())
        self._size += (cost := 1 + n_bytes // BYTES_A_STEP)
        if self._size > MAX_STEPS:
            raise GrammarError("The grammar is too large.")
        self._spend(cost)
        return len(self._steps) - 1

    def _compile(self, node: Node, then: int) -> int:
        """The place where `node` begins, which goes on at `then`."""
        if isinstance(node, Literal):
            for byte in reversed(node.text.encode()):
                then = self._bytes({byte: then})
            return then
        if isinstance(node, Chars):
            return self._chars([tuple(s) for r in node.ranges for s in utf8(*r)], then)
        if isinstance(node, Seq):
            for part in reversed(node.parts):
                then = self._compile(part, then)
            return then
        at = self._add()
        step = self._steps[at]
        if isinstance(node, Choice):
            step.exits = tuple(self._compile(option, then) for option in node.options)
        elif isinstance(node, Rule):
            step.call, step.next = node.name, then
        elif isinstance(node, Token):
            step.token, step.next = node.id, then
        elif node.low <= 1 and node.high is None:
            body = self._compile(node.node, at)
            step.exits = (body, then)
            return at if node.low == 0 else body
        elif (node.low, node.high) == (0, 1):
            step.exits = (self._compile(node.node, then), then)
        else:
            step.loop = 0
            step.low, step.high, step.next = node.low, -1 if node.high is None else node.high, then
            step.loop = self._compile(node.node, self._return)
        return at

    def _bytes(self, table: dict[int, int]) -> int:
        at = self._add(len(table))
        self._steps[at].bytes = table
        return at

    def _chars(self, sequences: Sequence[tuple[tuple[int, int], ...]], then: int) -> int:
        """Byte sequences that are told apart by their first bytes, as one step."""
        tails: dict[int, list[tuple[tuple[int, int], ...]]] = {}
        for (low, high), *rest in sequences:
            for byte in range(low, high + 1):
                tails.setdefault(byte, []).append(tuple(rest))
        known: dict[tuple[tuple[tuple[int, int], ...], ...], int] = {}
        table = {}
        for byte, rests in tails.items():
            key = tuple(rests)
            if key not in known:
                known[key] = then if rests[0] == () else self._chars(rests, then)
            table[byte] = known[key]
        return self._bytes(table)


def utf8(low: int, high: int) -> Iterable[list[tuple[int, int]]]:
    """The UTF-8 of the code points `low` to `high`, as sequences of ranges of bytes."""
    for limit in (0x7F, 0x7FF, 0xD7FF, 0xFFFF):
        if low <= limit < high:
            yield from utf8(low, limit)
            low = max(limit + 1, 0xE000) if limit == 0xD7FF else limit + 1
    if low > high:
        return
    length = len(chr(low).encode())
    for power in range(length - 1):
        mask = (1 << 6 * (power + 1)) - 1
        if low & ~mask != high & ~mask:
            if low & mask:
                yield from utf8(low, low | mask)
                yield from utf8((low | mask) + 1, high)
                return
            if high & mask != mask:
                yield from utf8(low, (high & ~mask) - 1)
                yield from utf8(high & ~mask, high)
                return
    yield list(zip(chr(low).encode(), chr(high).encode(), strict=True))


def is_nullable(node: Node, rules: set[str]) -> bool:
    if isinstance(node, Literal):
        return not node.text
    if isinstance(node, Seq):
        return all(is_nullable(part, rules) for part in node.parts)
    if isinstance(node, Choice):
        return any(is_nullable(option, rules) for option in node.options)
    if isinstance(node, Repeat):
        return node.low == 0 or is_nullable(node.node, rules)
    return isinstance(node, Rule) and node.name in rules


class _Rounds:
    """Makes every repetition of what may be nothing one whose rounds are something, or it would never end.

    A long text becomes rules of its pieces, which are entered one after the other.
    """

    def __init__(self, rules: Mapping[str, Node]) -> None:
        self._given, self._nullable = rules, rules_where(rules, is_nullable)
        self._some: dict[str, str] = {}
        self._pieces: dict[str, Node] = {}
        self.rules = {name: self._plain(node) for name, node in rules.items()}
        made: set[str] = set()
        while more := self._some.keys() - made:
            made |= more
            self.rules.update((self._some[name], self._something(rules[name])) for name in more)
        self.rules |= self._pieces

    def _text(self, text: str) -> Node:
        rest: Node = EMPTY
        for begin in reversed(range(0, len(text), LONGEST_LITERAL)):
            rest = seq(Literal(text[begin : begin + LONGEST_LITERAL]), rest)
            if begin:
                name = f"text.{len(self._pieces)}"  # no name in GBNF has a dot
                self._pieces[name] = rest
                rest = Rule(name)
        return rest

    def _plain(self, node: Node) -> Node:
        if isinstance(node, Seq):
            return Seq(tuple(self._plain(part) for part in node.parts))
        if isinstance(node, Choice):
            return Choice(tuple(self._plain(option) for option in node.options))
        if isinstance(node, Literal) and len(node.text) > LONGEST_LITERAL:
            return self._text(node.text)
        if not isinstance(node, Repeat):
            return node
        if is_nullable(node.node, self._nullable):
            return repeated(self._something(node.node), 0, node.high)
        return repeated(self._plain(node.node), node.low, node.high)

    def _something(self, node: Node) -> Node:
        """What `node` writes, but for nothing."""
        if not is_nullable(node, self._nullable):
            return self._plain(node)
        if isinstance(node, Seq):
            first, rest = node.parts[0], node.parts[1:]
            behind = [self._something(Seq(rest))] if rest else []
            return choice([seq(self._something(first), *map(self._plain, rest)), *behind])
        if isinstance(node, Choice):
            return choice([self._something(option) for option in node.options])
        if isinstance(node, Repeat) and node.high != 0:
            return repeated(self._something(node.node), 1, node.high)
        if isinstance(node, Rule):
            return Rule(self._some.setdefault(node.name, f"{node.name}-but-nothing"))
        return NEVER


def repeated(node: Node, low: int, high: int | None) -> Node:
    """A repetition of a repetition as one where that is the same: two counters make many states."""
    if isinstance(node, Repeat) and node.low <= 1:
        low = low if node.low else 0
        high = None if high is None or node.high is None else high * node.high
        node = node.node
    return Repeat(node, low, high)


def left_recursive(rules: Mapping[str, Node]) -> str | None:
    """A rule that comes to itself before it wrote anything, which would never end."""
    nullable = rules_where(rules, is_nullable)
    first = {name: list(_first_rules(node, nullable)) for name, node in rules.items()}
    done: set[str] = set()
    for root in rules:
        path: list[str] = []
        pending: list[tuple[str, bool]] = [(root, True)]
        while pending:
            name, enters = pending.pop()
            if not enters:
                done.add(path.pop())
            elif name in path:
                return name
            elif name not in done:
                path.append(name)
                pending.append((name, False))
                pending.extend((each, True) for each in first[name])
    return None


def _first_rules(node: Node, nullable: set[str]) -> Iterator[str]:
    if isinstance(node, Rule):
        yield node.name
    elif isinstance(node, Seq):
        for part in node.parts:
            yield from _first_rules(part, nullable)
            if not is_nullable(part, nullable):
                return
    else:
        for child in children(node):
            yield from _first_rules(child, nullable)
