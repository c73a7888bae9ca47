"""JSON Schema, draft 2020-12 and what older drafts and OpenAPI write differently, to a grammar of its texts.

Every text of the grammar is JSON that validates. What can't be enforced raises Unenforceable, which names the
place. Properties come in the order of `properties`, then others. An object whose schema lists properties has
no others unless `additionalProperties` says so, and a schema without `type` means the types that its keywords
are about: models would write whatever is not excluded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from llamachat.grammar import dfa, schema_numbers
from llamachat.grammar.conjunction import (
    IN_PLACE,
    KEYWORDS_OF_TYPE,
    Alternative,
    Sub,
    Unenforceable,
    canonical,
    type_of,
    types_of,
    values_of,
)
from llamachat.grammar.dfa import Dfa
from llamachat.grammar.json_text import SHARED
from llamachat.grammar.nodes import NEVER, Grammar, GrammarError, Literal, Node, choice
from llamachat.grammar.pruning import productive, reachable
from llamachat.grammar.schema_arrays import ArrayRules
from llamachat.grammar.schema_numbers import NumberRules
from llamachat.grammar.schema_objects import ObjectRules
from llamachat.grammar.schema_strings import StringRules, check_format
from llamachat.grammar.schema_writer import Writer, excluded_keys

MAX_VALUES = 50_000


def check_size(schema: Any) -> None:
    """Raise GrammarError on more values than are worth a look."""
    pending, count = [schema], 0
    while pending:
        value = pending.pop()
        count += 1
        if isinstance(value, (dict, list)):
            count += len(value)
            pending.extend(value.values() if isinstance(value, dict) else value)
        if count > MAX_VALUES:
            raise GrammarError(f"The schema has more than {MAX_VALUES} values in it.")


def grammar(schema: Any) -> Grammar:
    """Of the JSON texts that `schema` allows; raises GrammarError, most often Unenforceable."""
    check_size(schema)
    return _Converter(schema).grammar()


def texts(schema: Any) -> Dfa | None:
    """The texts that `schema` allows; None if it allows values of other types. Raises GrammarError."""
    check_size(schema)
    return _Converter(schema).texts()


class _Converter:
    """Writes a rule for each schema by the types of its values."""

    def __init__(self, document: Any) -> None:
        self._writer = Writer(document)
        self._strings = StringRules(self._writer)
        self._numbers = NumberRules(self._writer)
        self._arrays = ArrayRules(self._writer)
        self._objects = ObjectRules(self._writer, self._strings)
        self._values: dict[str, Sub] = {}
        self._bare: dict[Sub, Sub] = {}

    def grammar(self) -> Grammar:
        root = self._writer.value([self._writer.all.root])
        while self._writer.pending:
            name, subs = self._writer.pending.pop()
            self._writer.add(
                name, choice(self._alternative(f, subs) for f in self._writer.all.alternatives(subs))
            )
        rules = productive({**SHARED, **self._writer.rules, "root": root})
        if rules["root"] == NEVER:
            raise GrammarError("The schema can't be enforced: #: no value satisfies it.")
        return Grammar(reachable(rules, "root"))

    def texts(self) -> Dfa | None:
        found = self._writer.all.alternatives([self._writer.all.root])
        others = dfa.build(dfa.ANY_TEXT)
        for subs in found:
            for sub in subs:
                check_format(sub)
            values = values_of(subs)
            kinds = types_of(subs)[0] if values is None else map(type_of, values)
            if set(kinds) != {"string"}:
                return None
            others &= self._strings.automaton(subs, self._writer.all.root).inverted()
        return others.inverted() if found else None

    def _alternative(self, subs: Alternative, entry: tuple[Sub, ...]) -> Node:
        types, integer = types_of(subs)
        values = values_of(subs)
        for sub in subs:
            check_format(sub)
        if values is not None:
            return self._listed(values, subs, types, integer)
        if len(types) == 6 and not any("type" in sub.schema for sub in subs):
            used = [
                kind
                for kind in types
                if any(keyword in sub.schema for sub in subs for keyword in KEYWORDS_OF_TYPE.get(kind, ()))
            ]
            types = used or types
        write: dict[str, Callable[[], Node]] = {
            "null": lambda: self._literal_unless_excluded(None, subs),
            "boolean": lambda: choice(self._literal_unless_excluded(value, subs) for value in (True, False)),
            "number": lambda: self._numbers.write(subs, integer),
            "string": lambda: self._strings.write(subs),
            "array": lambda: self._arrays.write(subs),
            "object": lambda: self._objects.write(subs, entry),
        }
        return choice(write[kind]() for kind in types)

    def _listed(self, values: list[Any], subs: Alternative, types: list[str], integer: bool) -> Node:
        options: list[Node] = []
        texts: list[str] = []
        strings = self._strings.read(subs)
        excluded = excluded_keys(subs)
        for value in values:
            kind = type_of(value)
            if kind not in types or (excluded and canonical(value) in excluded):
                continue
            if kind in ("array", "object"):
                options.append(
                    self._writer.value([*map(self._without_values, subs), self._constant(value, subs[0])])
                )
            elif kind == "number":
                if schema_numbers.read(subs, integer).allows(schema_numbers.exact(value)):
                    texts.append(json.dumps(value))
            elif kind != "string":
                texts.append(json.dumps(value))
            elif self._strings.checked(strings, partial(strings.allows, value)):
                texts.append(self._writer.text(value))
        return choice([self._writer.one_of(texts), *options])

    def _without_values(self, sub: Sub) -> Sub:
        if sub not in self._bare:
            gone = ("const", "enum", *IN_PLACE)
            schema = {key: value for key, value in sub.schema.items() if key not in gone}
            self._bare[sub] = self._writer.all.make(schema, sub)
        return self._bare[sub]

    def _constant(self, value: Any, like: Sub) -> Sub:
        """A schema of keywords for an array or object, so that what else holds can be joined to it."""
        key = canonical(value)
        if key not in self._values:
            schema: dict[Any, Any]
            if isinstance(value, dict):
                schema = {
                    "type": "object",
                    "properties": {name: {"const": each} for name, each in value.items()},
                }
                schema |= {"required": list(value), "additionalProperties": False}
            else:
                schema = {"type": "array", "prefixItems": [{"const": each} for each in value], "items": False}
                schema |= {"minItems": len(value)}
            self._values[key] = self._writer.all.make(schema, like)
        return self._values[key]

    def _literal_unless_excluded(self, value: bool | None, subs: Alternative) -> Node:
        return NEVER if canonical(value) in excluded_keys(subs) else Literal(json.dumps(value))


__all__ = ["Unenforceable", "check_size", "grammar", "texts"]
