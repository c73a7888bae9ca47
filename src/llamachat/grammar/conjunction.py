"""Take a JSON Schema apart: what holds together for one value, and the alternatives that there are.

`allOf`, `$ref` and `not` add schemas that hold too; `anyOf`, `oneOf`, `if` and `dependent…` make
alternatives. What is left has keywords that speak of a value of one type each. `oneOf` and `if` need
opposites, which are schemas again, some with keywords of our own.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from llamachat.grammar.nodes import GrammarError

MAX_ALTERNATIVES = 400
MAX_WORK = 40_000
TYPES = ("null", "boolean", "number", "string", "array", "object")


class Own(enum.Enum):
    """Keywords that JSON Schema does not have, for opposites. No schema that came as JSON can hold them."""

    EXCLUDED = "values that it is not"
    FORBIDDEN = "properties that it does not have"
    NOT_PATTERN = "a pattern that it does not match"
    NOT_MULTIPLE = "a number that does not divide it"
    FRACTIONAL = "it is not an integer"


_KEYWORDS = {
    "number": "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf",
    "string": "minLength maxLength pattern format",
    "array": "items prefixItems additionalItems minItems maxItems uniqueItems contains minContains "
    "maxContains unevaluatedItems",
    "object": "properties required additionalProperties patternProperties propertyNames minProperties "
    "maxProperties unevaluatedProperties",
}
_OWN_KEYWORDS: dict[str, tuple[Own, ...]] = {
    "number": (Own.NOT_MULTIPLE, Own.FRACTIONAL),
    "string": (Own.NOT_PATTERN,),
    "object": (Own.FORBIDDEN,),
}
KEYWORDS_OF_TYPE: Mapping[str, tuple[object, ...]] = {
    kind: (*names.split(), *_OWN_KEYWORDS.get(kind, ())) for kind, names in _KEYWORDS.items()
}
IN_PLACE: tuple[str, ...] = (
    *("$ref", "allOf", "anyOf", "oneOf", "not", "if"),
    *("dependentRequired", "dependentSchemas", "dependencies"),
)
NOT_ENFORCED = ("$dynamicRef", "$recursiveRef", "$vocabulary")


class Unenforceable(GrammarError):
    """`pointer` is the place in the schema as a JSON pointer, `keyword` what can't be enforced there."""

    def __init__(self, pointer: str, keyword: str, why: str) -> None:
        super().__init__(f"The schema can't be enforced: {pointer}/{_escaped(keyword)}: {why}.")
        self.pointer, self.keyword = pointer, keyword


class Sub:
    """One schema and its place; equal to itself alone."""

    __slots__ = ("made", "pointer", "schema")

    def __init__(self, schema: Any, pointer: str, made: bool = False) -> None:
        self.schema, self.pointer, self.made = schema, pointer, made

    def get(self, keyword: object, default: Any = None) -> Any:
        return self.schema.get(keyword, default)

    def refuse(self, keyword: str, why: str) -> Unenforceable:
        return Unenforceable(self.pointer, keyword, why)

    def checked(self, keyword: str, kind: type | tuple[type, ...], what: str) -> Any:
        """The keyword's value, or None if it is not there."""
        value = self.schema.get(keyword)
        if keyword in self.schema and (
            not isinstance(value, kind) or (isinstance(value, bool) and kind is int)
        ):
            raise self.refuse(keyword, f"must be {what}")
        return value

    def count(self, keyword: str) -> int | None:
        value = self.schema.get(keyword)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if keyword in self.schema and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise self.refuse(keyword, "must be an integer that is not negative")
        return None if value is None else int(value)

    def names(self, keyword: str) -> list[str]:
        value = self.checked(keyword, list, "a list of strings") or []
        if not all(isinstance(name, str) for name in value):
            raise self.refuse(keyword, "must be a list of strings")
        return list(value)


Alternative = tuple[Sub, ...]
NOTHING = Sub(False, "#")


class Conjunctions:
    """Of one document."""

    def __init__(self, document: Any) -> None:
        self._subs: dict[int, Sub] = {}
        self._opposites: dict[Sub, Sub] = {}
        self._parts: dict[Sub, tuple[list[Sub], list[list[list[Sub]]]] | None] = {}
        self._kept: list[Any] = []
        self._work = 0
        self.root = self.sub(document, "#")
        self._inner_ids = list(_inner_ids(document))

    def spend(self, amount: int = 1) -> None:
        self._work += amount
        if self._work > MAX_WORK:
            raise GrammarError("The schema is too large or has too many combinations.")

    def sub(self, schema: Any, pointer: str, made: bool = False) -> Sub:
        if isinstance(schema, bool):
            return Sub(True, pointer) if schema else NOTHING
        if not isinstance(schema, dict):
            raise GrammarError(f"The schema is not valid: {pointer} must be an object or a boolean.")
        found = self._subs.get(id(schema))
        if found is None:
            found = self._subs[id(schema)] = Sub(schema, pointer, made)
        return found

    def inner(self, sub: Sub, *path: str | int) -> Sub:
        """The schema at `path` below `sub`."""
        schema, pointer = sub.schema, sub.pointer
        for step in path:
            schema = schema[step]
            pointer = pointer if sub.made else f"{pointer}/{_escaped(str(step))}"
        return self.sub(schema, pointer, sub.made)

    def inner_all(self, sub: Sub, keyword: str) -> list[Sub]:
        schemas = sub.checked(keyword, list, "a list of schemas")
        return [self.inner(sub, keyword, n) for n in range(len(schemas or ()))]

    def make(self, schema: dict[Any, Any], like: Sub) -> Sub:
        """A schema that was not in the document."""
        self._kept.append(schema)
        return self.sub(schema, like.pointer, made=True)

    def alternatives(self, subs: Iterable[Sub]) -> list[Alternative]:
        """Schemas without applicators in place: the value must hold to all of one of the tuples."""
        found: dict[Alternative, None] = {}
        self._expand(list(subs), {}, [], found)
        return list(found)

    def _expand(
        self,
        pending: list[Sub],
        done: dict[Sub, None],
        choices: list[list[list[Sub]]],
        found: dict[Alternative, None],
    ) -> None:
        while pending:
            sub = pending.pop(0)
            self.spend()
            if sub.schema is False:
                return
            if sub in done or sub.schema is True:
                continue
            done[sub] = None
            also, more = self._in_place(sub)
            pending[:0] = also
            choices = [*choices, *more]
        if not choices:
            found[tuple(sub for sub in done if _asserts(sub))] = None
            if len(found) > MAX_ALTERNATIVES:
                raise GrammarError("The schema has too many combinations of alternatives.")
            return
        if len(choices) > 100:
            raise GrammarError("The schema has too many alternatives that hold at once.")
        for option in choices[0]:
            self._expand(list(option), dict(done), choices[1:], found)

    def _in_place(self, sub: Sub) -> tuple[list[Sub], list[list[list[Sub]]]]:
        """Schemas that hold too, and choices, of which one option each does."""
        if sub in self._parts:
            parts = self._parts[sub]
            if parts is None:
                raise _Circular
            return parts
        self._parts[sub] = None
        try:
            parts = self._parts[sub] = self._read(sub)
        finally:
            if self._parts[sub] is None:
                del self._parts[sub]
        return parts

    def _read(self, sub: Sub) -> tuple[list[Sub], list[list[list[Sub]]]]:
        for keyword in NOT_ENFORCED:
            if keyword in sub.schema:
                raise sub.refuse(keyword, "is not supported")
        also, choices = [], []
        if "$ref" in sub.schema:
            also.append(self._referenced(sub))
        also += self.inner_all(sub, "allOf")
        if "not" in sub.schema:
            also.append(self.opposite(self.inner(sub, "not")))
        if "anyOf" in sub.schema:
            choices.append([[option] for option in self.inner_all(sub, "anyOf")])
        if "oneOf" in sub.schema:
            choices.append(self._one_of(sub))
        if "if" in sub.schema:
            choices.append(self._if(sub))
        choices += self._dependent(sub)
        return also, choices

    def holding(self, sub: Sub) -> set[Sub]:
        """What may hold because `sub` does, but for opposites: properties that these name count as unseen."""
        found: set[Sub] = set()
        pending = [sub]
        while pending:
            each = pending.pop()
            if each in found or isinstance(each.schema, bool):
                continue
            found.add(each)
            if "$ref" in each.schema:
                pending.append(self._referenced(each))
            for keyword in ("allOf", "anyOf", "oneOf"):
                pending.extend(self.inner_all(each, keyword))
            conditional = each.schema.keys() & {"if", "then", "else"}
            pending.extend(self.inner(each, keyword) for keyword in conditional)
            dependent = each.checked("dependentSchemas", dict, "an object") or {}
            pending.extend(self.inner(each, "dependentSchemas", name) for name in dependent)
        return found

    def _one_of(self, sub: Sub) -> list[list[Sub]]:
        """Each option, and the opposite of every other that does not exclude it by itself."""
        options = self.inner_all(sub, "oneOf")
        result = []
        for at, option in enumerate(options):
            row = [option]
            for other in options[:at] + options[at + 1 :]:
                self.spend()
                if not self._is_void([option, other], 3):
                    row.append(self.opposite(other))
            result.append(row)
        return result

    def _if(self, sub: Sub) -> list[list[Sub]]:
        if "then" not in sub.schema and "else" not in sub.schema:
            return [[]]
        condition = self.inner(sub, "if")
        then = [self.inner(sub, "then")] if "then" in sub.schema else []
        otherwise = [self.inner(sub, "else")] if "else" in sub.schema else []
        return [[condition, *then], [self.opposite(condition), *otherwise]]

    def _dependent(self, sub: Sub) -> list[list[list[Sub]]]:
        choices = []
        for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
            for name, value in (sub.checked(keyword, dict, "an object") or {}).items():
                there: dict[Any, Any] = {"required": [name]}
                if isinstance(value, list):
                    there["required"] = [name, *value]
                    rest = []
                else:
                    rest = [self.inner(sub, keyword, name)]
                absent = self.make({Own.FORBIDDEN: [name]}, sub)
                choices.append([[absent], [self.make(there, sub), *rest]])
        return choices

    def _referenced(self, sub: Sub) -> Sub:
        reference = sub.checked("$ref", str, "a string")
        own_id = self.root.schema.get("$id") if isinstance(self.root.schema, dict) else None
        if isinstance(own_id, str) and own_id.rstrip("#"):
            reference = reference.removeprefix(own_id.rstrip("#")) or "#"
        if not reference.startswith("#"):
            raise sub.refuse("$ref", "only references within the schema can be followed")
        if self._inner_ids:
            raise sub.refuse("$ref", f"can't be followed next to an inner `$id` ({self._inner_ids[0]})")
        path = unquote(reference[1:])
        if path and not path.startswith("/"):
            found = next(_anchored(self.root.schema, path, "#"), None)
            if found is None:
                raise sub.refuse("$ref", f"there is no anchor `{path}`")
            return self.sub(*found)
        schema, pointer = self.root.schema, "#"
        for step in path.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            try:
                schema = schema[int(step) if isinstance(schema, list) else step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise sub.refuse("$ref", f"there is nothing at {reference}") from None
            pointer += "/" + _escaped(step)
        return self.sub(schema, pointer)

    def opposite(self, sub: Sub) -> Sub:
        """What holds where `sub` does not."""
        if isinstance(sub.schema, bool):
            return NOTHING if sub.schema else Sub(True, sub.pointer)
        if sub not in self._opposites:
            schema: dict[Any, Any] = {}
            self._opposites[sub] = self.make(schema, sub)
            try:
                schema["anyOf"] = [self._kept_one(option) for option in self._opposite_options(sub)]
            except GrammarError:  # asked again, it must not be the empty schema, which is anything
                del self._opposites[sub]
                raise
        return self._opposites[sub]

    def _kept_one(self, schema: Any) -> Any:
        self._kept.append(schema)
        return schema

    def _opposite_options(self, sub: Sub) -> list[Any]:
        options: list[Any] = []
        for keyword, value in sub.schema.items():
            if keyword in ("anyOf", "oneOf", "allOf"):
                subs = self.inner_all(sub, keyword)
                opposites = [self.opposite(each).schema for each in subs]
                if keyword == "oneOf":
                    raise sub.refuse(keyword, "can't be negated")
                options += opposites if keyword == "allOf" else [{"allOf": opposites}]
            elif keyword == "not":
                options.append(self.inner(sub, "not").schema)
            elif keyword == "$ref":
                options.append(self.opposite(self._referenced(sub)).schema)
            elif keyword == "properties":
                for name in sub.checked(keyword, dict, "an object"):
                    inner = self.opposite(self.inner(sub, keyword, name)).schema
                    if inner is not False:
                        options.append({"type": "object", "required": [name], "properties": {name: inner}})
            elif keyword == "contains" and not {"minContains", "maxContains"} & sub.schema.keys():
                options.append({"type": "array", "items": self.opposite(self.inner(sub, keyword)).schema})
            elif keyword == "items" and isinstance(value, (dict, bool)) and "prefixItems" not in sub.schema:
                inner = self.opposite(self.inner(sub, keyword)).schema
                options.append({"type": "array", "contains": inner})
            else:
                options += _simple_opposite(sub, keyword, value)
        return options

    def _is_void(self, subs: list[Sub], depth: int) -> bool:
        """Whether it is plain to see that nothing can hold to all of `subs`."""
        try:
            return all(self._is_contradiction(found, depth) for found in self.alternatives(subs))
        except (_Circular, GrammarError):
            return False

    def _is_contradiction(self, subs: Alternative, depth: int) -> bool:
        types, _ = types_of(subs)
        values = values_of(subs)
        if values is not None:
            types = [kind for kind in types if any(type_of(value) == kind for value in values)]
        if not types:
            return True
        if depth == 0 or types != ["object"]:
            return False
        for name in dict.fromkeys(name for sub in subs for name in sub.names("required")):
            holding = [
                self.inner(sub, "properties", name)
                for sub in subs
                if name in (sub.checked("properties", dict, "an object") or {})
            ]
            forbidden = any(name in sub.get(Own.FORBIDDEN, ()) for sub in subs)
            if forbidden or (holding and self._is_void(holding, depth - 1)):
                return True
        return False


class _Circular(Exception):
    """Asked of a schema that is being read."""


def _simple_opposite(sub: Sub, keyword: object, value: Any) -> list[Any]:
    """Of a keyword without schemas in it."""
    if keyword == "type":
        kinds, integer = types_of((Sub({"type": value}, sub.pointer),))
        others: list[Any] = [{"type": kind} for kind in TYPES if kind not in kinds]
        return [*others, {"type": "number", Own.FRACTIONAL: True}] if integer else others
    if keyword in ("const", "enum"):
        return [{Own.EXCLUDED: [value] if keyword == "const" else value}]
    if keyword == "required":
        return [{"type": "object", Own.FORBIDDEN: [name]} for name in sub.names("required")]
    bounds: dict[object, tuple[str, object]] = {
        "minimum": ("number", "exclusiveMaximum"),
        "maximum": ("number", "exclusiveMinimum"),
        "exclusiveMinimum": ("number", "maximum"),
        "exclusiveMaximum": ("number", "minimum"),
        "multipleOf": ("number", Own.NOT_MULTIPLE),
        "pattern": ("string", Own.NOT_PATTERN),
        Own.NOT_PATTERN: ("string", "pattern"),
    }
    if keyword in bounds:
        kind, other = bounds[keyword]
        return [{"type": kind, other: value}]
    if keyword == Own.EXCLUDED:
        return [{"enum": value}]
    if keyword == Own.FORBIDDEN:
        return [{"type": "object", "required": [name]} for name in value]
    counts = {"Length": "string", "Items": "array", "Properties": "object"}
    if isinstance(keyword, str) and keyword[:3] in ("min", "max") and keyword[3:] in counts:
        count = sub.count(keyword) or 0
        if keyword.startswith("max"):
            return [{"type": counts[keyword[3:]], f"min{keyword[3:]}": count + 1}]
        return [{"type": counts[keyword[3:]], f"max{keyword[3:]}": count - 1}] if count else []
    if keyword in (*IN_PLACE, *(name for names in KEYWORDS_OF_TYPE.values() for name in names)):
        raise sub.refuse(str(keyword), "can't be negated")
    return []


def types_of(subs: Iterable[Sub]) -> tuple[list[str], bool]:
    """The types that all of them allow, and whether numbers are integers."""
    allowed, integer = list(TYPES), False
    for sub in subs:
        if "type" not in sub.schema:
            continue
        given = sub.get("type")
        names = [given] if isinstance(given, str) else given
        if not isinstance(names, list) or any(name not in (*TYPES, "integer") for name in names):
            raise sub.refuse("type", f"must be one or a list of {', '.join(TYPES)} and integer")
        integer |= "integer" in names and "number" not in names
        given_types = dict.fromkeys("number" if name == "integer" else name for name in names)
        allowed = [
            name for name in (given_types if len(allowed) == len(TYPES) else allowed) if name in given_types
        ]
    return allowed, integer


def values_of(subs: Iterable[Sub]) -> list[Any] | None:
    """What `const` and `enum` leave; None if there is neither."""
    left: list[Any] | None = None
    for sub in subs:
        for values in (
            sub.checked("enum", list, "a list"),
            [sub.get("const")] if "const" in sub.schema else None,
        ):
            if values is not None:
                keys = {canonical(value) for value in values}
                left = values if left is None else [value for value in left if canonical(value) in keys]
    return left


def canonical(value: Any) -> str:
    """The same for values that JSON Schema holds equal: 1 and 1.0, and objects in any order."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(json.dumps(key) + canonical(value[key]) for key in sorted(value)) + "}"
    return json.dumps(value)


def type_of(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


def _asserts(sub: Sub) -> bool:
    known = (
        "type",
        "const",
        "enum",
        Own.EXCLUDED,
        *(k for names in KEYWORDS_OF_TYPE.values() for k in names),
    )
    return any(keyword in sub.schema for keyword in known)


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


DATA = ("const", "enum", "default", "examples", "example")


def _inner_ids(schema: Any, outermost: bool = True) -> Iterable[str]:
    """Each makes its schema a separate document, to which references within it are relative."""
    pending = [(schema, outermost)]
    while pending:
        value, is_root = pending.pop()
        if isinstance(value, dict):
            if not is_root and isinstance(value.get("$id"), str):
                yield value["$id"]
            pending.extend((inner, False) for key, inner in value.items() if key not in DATA)
        elif isinstance(value, list):
            pending.extend((inner, False) for inner in value)


def _anchored(schema: Any, name: str, pointer: str) -> Iterator[tuple[Any, str]]:
    pending = [(schema, pointer)]
    while pending:
        value, place = pending.pop()
        if isinstance(value, dict):
            if value.get("$anchor") == name:
                yield value, place
            pending.extend(
                (inner, f"{place}/{_escaped(key)}") for key, inner in value.items() if key not in DATA
            )
        elif isinstance(value, list):
            pending.extend((inner, f"{place}/{number}") for number, inner in enumerate(value))
