"""Qwen3-Coder's calls: each argument in tags of its own, a text as it is and other values as JSON.

    <tool_call>
    <function=name>
    <parameter=city>
    Köln
    </parameter>
    </function>
    </tool_call>

A function whose parameters are not independent of each other is called with an object, as by other Qwens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llamachat.grammar import schema
from llamachat.grammar.dfa import Dfa, TooLarge, build, search
from llamachat.grammar.nodes import Chars, Grammar, GrammarError, Literal, Node, Rule, optional, renamed, seq
from llamachat.tools.answer_parts import Arguments, Event
from llamachat.tools.call_parser import MAX_HEAD, Parser, partial
from llamachat.tools.request import Offer, Tool

SHARED = ("$defs", "definitions", "$schema")
KNOWN = {"type", "properties", "required", "additionalProperties", "title", "description", *SHARED}
NAME = re.compile(r"[^<>\n]+")
ELSEWHERE = re.compile(r'"\$ref": "(?!#/(?:\$defs|definitions)/)|"\$(?:anchor|id|dynamicRef)"')
BEGIN = "<parameter="
END, FUNCTION_END = "</parameter>", "</function>"
RAW_ENDS = ("\n" + END, END)
MAX_STATES = 1_000
"""Of a text that has rules; one with more is written as JSON."""


@dataclass(frozen=True)
class Parameter:
    name: str
    is_required: bool
    is_text: bool
    value: Grammar


def parameters_of(tool: Tool) -> tuple[Parameter, ...] | None:
    """None if their rules depend on each other, or if one can't be told alone."""
    return _read(json.dumps(tool.parameters))


@lru_cache(maxsize=256)
def _read(text: str) -> tuple[Parameter, ...] | None:
    given = json.loads(text)
    properties, required = given.get("properties", {}), given.get("required", [])
    if ELSEWHERE.search(text) or given.keys() - KNOWN or set(required) - properties.keys():
        return None
    if not all(NAME.fullmatch(name) and isinstance(each, dict) for name, each in properties.items()):
        return None
    shared = {name: given[name] for name in SHARED if name in given}
    try:
        return tuple(
            _parameter(name, {**shared, **each}, name in required) for name, each in properties.items()
        )
    except GrammarError:
        return None


def _parameter(name: str, value: Any, is_required: bool) -> Parameter:
    texts = _texts(value)
    if texts is None:
        return Parameter(name, is_required, False, schema.grammar(value))
    rules = dict(texts.rules(lambda state: f"text-{state}", Chars))
    return Parameter(name, is_required, True, Grammar(rules, "text-0"))


def _texts(value: Any) -> Dfa | None:
    try:
        found = schema.texts(value)
        found = found and found & build(search(Literal(END))).inverted()
    except TooLarge:
        return None
    return found if found is not None and len(found.edges) <= MAX_STATES else None


def grammar(parameters: tuple[Parameter, ...]) -> Grammar:
    """Of what is between a function's tags; `root` is where it begins."""
    rules: dict[str, Node] = {}
    parts: list[Node] = []
    for number, each in enumerate(parameters):
        rules |= renamed(each.value, f"p{number}")
        value = Rule(f"p{number}-{each.value.root}")
        part = seq(Literal(f"<parameter={each.name}>\n"), value, Literal(f"\n{END}\n"))
        parts.append(part if each.is_required else optional(part))
    return Grammar({**rules, "root": seq(*parts)})


def texts_of(offer: Offer | None) -> dict[str, frozenset[str]]:
    """By function, the parameters that are texts."""
    found = {tool.name: parameters_of(tool) or () for tool in offer.tools} if offer else {}
    return {name: frozenset(p.name for p in parameters if p.is_text) for name, parameters in found.items()}


class CoderParser(Parser):
    """`texts` are the parameters that are not JSON, by function."""

    _FUNCTION = re.compile(r"\s*<function=([^>\s]+)>")
    _PARAMETER = re.compile(r"\s*<parameter=([^>]+)>\n?")

    def __init__(self, texts: Mapping[str, frozenset[str]], *args: Any) -> None:
        super().__init__(*args)
        self._texts_of, self._texts = texts, frozenset[str]()
        self._is_text = self._is_first = False

    def finish(self) -> list[Event]:
        if self._state == "function":
            self._give_back()
        return super().finish()

    def _section(self) -> bool:
        if self._held.lstrip()[:1] != "<":
            return super()._section()
        self._state = "function"
        return True

    def _function(self) -> bool:
        found = self._FUNCTION.match(self._held)
        if found is None and ">" not in self._held and len(self._held) <= MAX_HEAD:
            return False
        if found is None:
            self._give_back()
            return True
        self._skip(found.end())
        self._begin_call(found[1])
        self._texts = self._texts_of.get(found[1], frozenset())
        self._is_first, self._state = True, "parameter"
        self._write("{")
        return True

    def _parameter(self) -> bool:
        """Before a parameter, or the function's end."""
        found = self._PARAMETER.match(self._held)
        if found is None:
            text = self._held.lstrip()
            may_come = text.startswith(BEGIN) or partial(text, (BEGIN, FUNCTION_END)) == len(text)
            if may_come and ">" not in text:
                return False
            self._take(len(self._held) - len(text) + len(FUNCTION_END) * text.startswith(FUNCTION_END))
            self._write("}")
            self._end_call()
            return True
        if found.end() == len(self._held) and not found[0].endswith("\n"):
            return False
        self._take(found.end())
        self._is_text = found[1] in self._texts
        self._write(("" if self._is_first else ", ") + _json(found[1]) + ": " + '"' * self._is_text)
        self._is_first, self._state = False, "raw"
        return True

    def _raw(self) -> bool:
        """Within a parameter."""
        at = self._held.find(END)
        if at < 0:
            if self._is_text:
                self._write(_json(self._take(len(self._held) - partial(self._held, RAW_ENDS)))[1:-1])
            return False
        text = self._take(at).removesuffix("\n")
        self._write(_json(text)[1:] if self._is_text else _as_json(text.strip()))
        self._take(len(END))
        self._state = "parameter"
        return True

    def _write(self, text: str) -> None:
        if text:
            self._events.append(Arguments(self._calls, text))


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _as_json(text: str) -> str:
    """A value that is not a text; some models write Python's words, or leave the quotes away."""
    text = {"True": "true", "False": "false", "None": "null"}.get(text, text)
    try:
        json.loads(text)
    except ValueError:
        return _json(text)
    return text
