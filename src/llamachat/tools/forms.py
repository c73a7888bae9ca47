"""Grammars of tool calls: in the family's form, with arguments that validate."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from llamachat.grammar import schema
from llamachat.grammar.dfa import ANY_TEXT, build, search
from llamachat.grammar.json_text import SHARED
from llamachat.grammar.nodes import (
    Chars,
    Grammar,
    GrammarError,
    Literal,
    Node,
    Repeat,
    Rule,
    choice,
    optional,
    renamed,
    seq,
)
from llamachat.tools import coder_form
from llamachat.tools.call_parser import THINK, THINK_END
from llamachat.tools.family import Family
from llamachat.tools.request import Offer, Tool, ToolError

MAX_RULES = 24_000
MAX_CALLS = 16
"""In one answer that has to call: a small model may not find its end."""
LLAMA_CALL = re.compile(rb'\s*(?:<\|python_tag\|>)?\s*(?=\{\s*"(?:name|type)"\s*:)')
TRIGGERS = {
    Family.HERMES: b"<tool_call>",
    Family.QWEN_CODER: b"<tool_call>",
    Family.MISTRAL: b"[TOOL_CALLS]",
    Family.MISTRAL_ARGS: b"[TOOL_CALLS]",
    Family.DEEPSEEK: "<｜tool▁calls▁begin｜>".encode(),
    Family.DEEPSEEK_PLAIN: "<｜tool▁calls▁begin｜>".encode(),
    Family.HARMONY: b"to=functions.",
}
WS = Rule("ws")
Named = tuple[Tool, Rule]
"""A tool, and what its arguments are."""


def trigger(family: Family, text: bytes, thinks: bool) -> int | None:
    """Where in `text`, the answer so far or since the last call, the grammar of a call begins."""
    begin = 0
    if thinks or text.lstrip().startswith(THINK.encode()):
        begin = text.find(THINK_END.encode()) + len(THINK_END)
        if begin < len(THINK_END):
            return None
    if family is Family.LLAMA:
        found = LLAMA_CALL.match(text, begin)
        return found.end() if found else None
    at = text.find(TRIGGERS[family], begin)
    return at + len(TRIGGERS[family]) if at >= 0 else None


def arguments_of(tool: Tool) -> Grammar:
    """Raises ToolError, with the place in the schema, where it can't be enforced."""
    schema.check_size(tool.parameters)
    try:
        return _of_text(json.dumps({"type": "object", **tool.parameters}))
    except GrammarError as error:
        raise ToolError("tools", f"{tool.name}: {error}") from error


@lru_cache(maxsize=256)
def _of_text(parameters: str) -> Grammar:
    return schema.grammar(json.loads(parameters))


@dataclass(frozen=True)
class Calls:
    """`marker` gives the node of a text that may be a control token of the model."""

    offer: Offer
    family: Family
    marker: Callable[[str], Node]

    def behind_trigger(self) -> Grammar:
        """From the place that `trigger` finds to the end of the call, or of the section of calls."""
        return self._grammar(self._tail)

    def whole(self, thinks: bool, content: Grammar | None = None) -> Grammar:
        """An answer that is calls, or `content` where there is one; thinking may be before."""
        extra = renamed(content, "content") if content is not None else {}
        thinking = self._thinking(thinks)

        def root(arguments: list[Named]) -> Node:
            calls = self._from_the_begin(arguments)
            return seq(Rule("thinking"), choice([calls, Rule("content-root")]) if extra else calls)

        grammar = self._grammar(root)
        return Grammar({**grammar.rules, **extra, **thinking})

    def _grammar(self, root: Callable[[list[Named]], Node]) -> Grammar:
        rules: dict[str, Node] = {"ws": SHARED["ws"]}
        arguments = []
        for number, tool in enumerate(self.offer.tools):
            rules |= renamed(self._arguments(tool), f"t{number}")
            if len(rules) > MAX_RULES:
                raise GrammarError("The tools take too many rules.")
            arguments.append((tool, Rule(f"t{number}-root")))
        rules["root"] = root(arguments)
        return Grammar(rules)

    def _arguments(self, tool: Tool) -> Grammar:
        parameters = coder_form.parameters_of(tool) if self.family is Family.QWEN_CODER else None
        return arguments_of(tool) if parameters is None else coder_form.grammar(parameters)

    def _thinking(self, thinks: bool) -> dict[str, Node]:
        """What may be before the calls."""
        if self.family is Family.HARMONY:
            thought = seq(self._channel("analysis"), ANY_TEXT, self.marker("<|end|>"))
            return {"thinking": optional(seq(thought, self.marker("<|start|>"), Literal("assistant")))}
        if not thinks:
            return {"thinking": Literal("")}
        without_end = build(search(Literal(THINK_END))).inverted()
        rules = dict(without_end.rules(lambda state: f"thought-{state}", Chars))
        return {**rules, "thinking": seq(Rule("thought-0"), self.marker(THINK_END), Rule("ws"))}

    def _channel(self, name: str) -> Node:
        return seq(self.marker("<|channel|>"), Literal(name), self.marker("<|message|>"))

    def _from_the_begin(self, arguments: list[Named]) -> Node:
        if self.family is Family.LLAMA:
            return self._tail(arguments)
        if self.family is Family.HARMONY:
            return seq(self.marker("<|channel|>"), Literal("commentary to=functions."), self._tail(arguments))
        section = seq(self.marker(TRIGGERS[self.family].decode()), self._tail(arguments))
        if not self.offer.parallel or self.family in (Family.MISTRAL, Family.DEEPSEEK, Family.DEEPSEEK_PLAIN):
            return section
        return seq(section, Repeat(seq(WS, section), 0, MAX_CALLS - 1))

    def _tail(self, arguments: list[Named]) -> Node:
        marker, family = self.marker, self.family
        if family is Family.HERMES:
            return seq(WS, self._object(arguments, "arguments"), WS, marker("</tool_call>"))
        if family is Family.QWEN_CODER:
            return seq(WS, choice(map(self._tagged, arguments)), WS, marker("</tool_call>"))
        if family is Family.LLAMA:
            return self._several(self._object(arguments, "parameters"), Literal("; "))
        if family is Family.MISTRAL:
            one = self._object(arguments, "arguments")
            return seq(WS, Literal("["), self._several(one, Literal(", ")), Literal("]"))
        if family is Family.MISTRAL_ARGS:
            return self._named(arguments, marker("[ARGS]"))
        if family is Family.HARMONY:
            constrained = choice(
                [seq(Literal(" "), marker("<|constrain|>"), Literal("json")), Literal(" json")]
            )
            turned = seq(marker("<|channel|>"), Literal("commentary"), optional(constrained))
            head = choice([seq(optional(constrained)), turned])
            return self._named(arguments, seq(head, marker("<|message|>")))
        begin, end, sep = (marker(f"<｜tool▁{name}｜>") for name in ("call▁begin", "call▁end", "sep"))
        if family is Family.DEEPSEEK:
            call = self._named(arguments, Literal("\n```json\n"))
            one = seq(begin, Literal("function"), sep, call, Literal("\n```"), end)
            return seq(self._several(one, Literal("\n")), marker("<｜tool▁calls▁end｜>"))
        one = seq(begin, self._named(arguments, sep), end)
        return seq(self._several(one, Literal("")), marker("<｜tool▁calls▁end｜>"))

    def _object(self, arguments: list[Named], key: str) -> Node:
        kind = seq(Literal('"type":'), WS, Literal('"function",'), WS)
        calls = (
            seq(Literal(f'"{tool.name}",'), WS, Literal(f'"{key}":'), WS, rule) for tool, rule in arguments
        )
        before = optional(kind) if self.family is Family.LLAMA else Literal("")
        return seq(Literal("{"), WS, before, Literal('"name":'), WS, choice(calls), WS, Literal("}"))

    def _named(self, arguments: list[Named], between: Node) -> Node:
        return choice(seq(Literal(tool.name), between, rule) for tool, rule in arguments)

    def _tagged(self, named: Named) -> Node:
        tool, rule = named
        if coder_form.parameters_of(tool) is None:
            return self._object([named], "arguments")
        return seq(Literal(f"<function={tool.name}>\n"), rule, Literal(coder_form.FUNCTION_END))

    def _several(self, one: Node, between: Node) -> Node:
        if not self.offer.parallel:
            return one
        return seq(one, Repeat(seq(between, one), 0, MAX_CALLS - 1))
