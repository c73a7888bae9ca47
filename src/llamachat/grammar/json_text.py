"""JSON as text: the rules that all schemas share, and how a string writes its characters."""

from __future__ import annotations

from llamachat.grammar.nodes import (
    ANY,
    EMPTY,
    Chars,
    Choice,
    Literal,
    Node,
    Ranges,
    Repeat,
    Rule,
    Seq,
    chars,
    choice,
    complement,
    intersection,
    seq,
)
from llamachat.grammar.numbers import ANY_INTEGER, ANY_NUMBER

HEX = chars((48, 57), (65, 70), (97, 102))
_LOW, _HIGH = chars("8", "9", (65, 66), (97, 98)), chars((67, 70), (99, 102))
_D = chars("D", "d")
_UNICODE = choice(
    [
        seq(chars((48, 57), (65, 67), (69, 70), (97, 99), (101, 102)), HEX, HEX, HEX),
        seq(_D, chars((48, 55)), HEX, HEX),
        seq(_D, _LOW, HEX, HEX, Literal("\\u"), _D, _HIGH, HEX, HEX),
    ]
)
_MUST_ESCAPE: Ranges = ((0, 31), (34, 34), (92, 92))
_SHORT = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r", '"': '"', "\\": "\\"}
_ESCAPE = seq(Literal("\\"), choice([chars(*'"\\/bfnrt'), seq(Literal("u"), _UNICODE)]))
SHARED: dict[str, Node] = {
    "ws": choice([EMPTY, Literal(" "), seq(Literal("\n"), Repeat(chars(" ", "\t"), 0, 20))]),
    "char": choice([Chars(complement(_MUST_ESCAPE)), _ESCAPE]),
    "string": seq(Literal('"'), Repeat(Rule("char"), 0, None), Literal('"')),
    "integer": ANY_INTEGER,
    "number": ANY_NUMBER,
    "boolean": choice([Literal("true"), Literal("false")]),
    "null": Literal("null"),
}
WS, STRING = Rule("ws"), Rule("string")
COMMA = seq(Literal(","), WS)


def in_json(node: Node) -> Node:
    """The same text within a JSON string."""
    if isinstance(node, Literal):
        return seq(*(char_in_json(((ord(c), ord(c)),)) for c in node.text))
    if isinstance(node, Chars):
        return char_in_json(node.ranges)
    if isinstance(node, Seq):
        return seq(*map(in_json, node.parts))
    if isinstance(node, Choice):
        return choice(map(in_json, node.options))
    assert isinstance(node, Repeat)
    return Repeat(in_json(node.node), node.low, node.high)


def char_in_json(ranges: Ranges) -> Node:
    if ranges == ANY.ranges:
        return Rule("char")
    plain = intersection(ranges, complement(_MUST_ESCAPE))
    options: list[Node] = [Chars(plain)] if plain else []
    for low, high in intersection(ranges, _MUST_ESCAPE):
        for code in range(low, high + 1):
            short = _SHORT.get(chr(code))
            options.append(Literal("\\" + short) if short else _hex_escape(code))
    return choice(options)


def _hex_escape(code: int) -> Node:
    last = f"{code % 16:x}"
    return seq(Literal(f"\\u00{code // 16}"), chars(last, last.upper()))
