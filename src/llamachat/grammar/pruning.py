"""Leave out of a grammar what can never be written."""

from __future__ import annotations

from llamachat.grammar.nodes import (
    EMPTY,
    NEVER,
    Chars,
    Choice,
    Node,
    Repeat,
    Rule,
    Seq,
    choice,
    rules_where,
    seq,
    used_rules,
)


def productive(rules: dict[str, Node]) -> dict[str, Node]:
    """Without what can never be written to its end."""
    ends = rules_where(rules, _ends)
    return {name: _pruned(node, ends) for name, node in rules.items() if name in ends or name == "root"}


def _ends(node: Node, ends: set[str]) -> bool:
    if isinstance(node, Rule):
        return node.name in ends
    if isinstance(node, Seq):
        return all(_ends(part, ends) for part in node.parts)
    if isinstance(node, Choice):
        return any(_ends(option, ends) for option in node.options)
    if isinstance(node, Repeat):
        return node.low == 0 or _ends(node.node, ends)
    return not isinstance(node, Chars) or bool(node.ranges)


def _pruned(node: Node, ends: set[str]) -> Node:
    if not _ends(node, ends):
        return NEVER
    if isinstance(node, Seq):
        return seq(*(_pruned(part, ends) for part in node.parts))
    if isinstance(node, Choice):
        return choice(_pruned(option, ends) for option in node.options if _ends(option, ends))
    if isinstance(node, Repeat):
        inner = _pruned(node.node, ends)
        return EMPTY if inner == NEVER else Repeat(inner, node.low, node.high)
    return node


def reachable(rules: dict[str, Node], root: str) -> dict[str, Node]:
    found: dict[str, Node] = {}
    pending = [root]
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = rules[name]
            pending.extend(used_rules(rules[name]))
    return found
