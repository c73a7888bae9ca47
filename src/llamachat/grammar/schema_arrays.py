"""The arrays that a schema allows, as rules."""

from __future__ import annotations

from llamachat.grammar.conjunction import Alternative, Sub
from llamachat.grammar.json_text import COMMA, WS
from llamachat.grammar.nodes import EMPTY, NEVER, Literal, Node, Rule, choice, optional, seq
from llamachat.grammar.schema_writer import Writer, tighter, times

MAX_COUNTED = 500
"""Items that are counted one by one, where their number depends on what they are."""
Items = list[tuple[list[Sub], Sub]]
"""Of each schema that holds, the schemas of the first items and that of the rest."""


class ArrayRules:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, subs: Alternative) -> Node:
        low = 0
        high: int | None = None
        contains: list[Sub] = []
        for sub in subs:
            low = max(low, sub.count("minItems") or 0)
            high = tighter(high, sub.count("maxItems"))
            idle = sub.count("minContains") == 0 and "maxContains" not in sub.schema
            if "contains" in sub.schema and not idle:
                contains.append(sub)
            if sub.get("unevaluatedItems", True) is not True:
                raise sub.refuse("unevaluatedItems", "is not supported")
        items = [self._items(sub) for sub in subs]
        listed = max((len(first) for first, _ in items), default=0)
        if high is not None and high < low:
            return NEVER
        for sub in subs:
            if sub.get("uniqueItems") is True and (high is None or high > 1):
                raise sub.refuse("uniqueItems", "a grammar can't compare items with each other")
        if contains:
            body = self._containing(contains, items, listed, low, high)
        else:
            body = self._items_from(items, listed, low, high)
        return seq(Literal("["), WS, body, Literal("]"))

    def _items(self, sub: Sub) -> tuple[list[Sub], Sub]:
        """Schemas of the first items, and of the rest."""
        keyword = "items" if isinstance(sub.get("items"), list) else "prefixItems"
        rest = "additionalItems" if keyword == "items" else "items"
        return self._writer.all.inner_all(sub, keyword), self._writer.inner_or_any(sub, rest)

    def _item(self, items: Items, at: int) -> list[Sub]:
        return [first[at] if at < len(first) else rest for first, rest in items]

    def _items_from(self, items: Items, listed: int, low: int, high: int | None) -> Node:
        """With the space before the bracket; a rule for each item that has its own schema."""
        rest = self._writer.value(self._item(items, listed))
        following: Node = EMPTY
        for at in range(listed, -1, -1):
            end = WS if at else EMPTY
            if high is not None and at >= high:
                following = end
            elif at == listed:
                more = times(seq(COMMA, rest), max(low - 1, 0), None if high is None else high - 1)
                if at:
                    more = times(seq(COMMA, rest), max(low - at, 0), None if high is None else high - at)
                following = seq(more, WS) if at else seq(rest, more, WS)
                following = following if at or low else optional(following)
            else:
                item = seq(COMMA if at else EMPTY, self._writer.value(self._item(items, at)), following)
                following = self._writer.rule(choice([item] if at < low else [item, end]), "items")
        return following

    def _containing(self, contains: list[Sub], items: Items, listed: int, low: int, high: int | None) -> Node:
        """Counts the items and those of them that `contains` wants, one by one."""
        sub = contains[0]
        least, most = sub.count("minContains"), sub.count("maxContains")
        least = 1 if least is None else least
        wanted = self._writer.all.inner(sub, "contains")
        last = max(listed, low, 1) if high is None else high
        counted = least if most is None else most
        if len(contains) > 1 or last * (counted + 1) > MAX_COUNTED or counted > MAX_COUNTED:
            raise sub.refuse("contains", "can't be enforced with this many items or another `contains`")
        other = [] if most is None else [self._writer.all.opposite(wanted)]
        prefix = f"c{len(self._writer.rules)}"

        def name(at: int, found: int) -> str:
            return f"{prefix}-{at}-{found}"

        for at in range(last + 1):
            for found in range(counted + 1):
                item = self._item(items, at)
                comma = COMMA if at else EMPTY
                then = min(at + 1, last)
                options: list[Node] = []
                if high is None or at < high:
                    options.append(seq(comma, self._writer.value([*item, *other]), Rule(name(then, found))))
                    if most is None or found < most:
                        more = Rule(name(then, min(found + 1, counted)))
                        options.append(seq(comma, self._writer.value([*item, wanted]), more))
                if at >= low and found >= least:
                    options.append(WS if at else EMPTY)
                self._writer.add(name(at, found), choice(options))
        return Rule(name(0, 0))
