"""The shape that an answer must have: any text, JSON of a schema, or one of several labels.

A shape says three things: what the model is told, what the server enforces, and what the answer means. The
server's grammar alone is not enough: a model that was not told of the schema is forced into it and writes
nonsense, and not every server enforces it. So the answer is validated here in any case.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llamachat.errors import ShapeError, UsageError
from llamachat.language import _, reason
from llamachat.texts.code_blocks import code_blocks

if TYPE_CHECKING:
    from pydantic import BaseModel

Schema = Mapping[str, Any]


class Shape(Protocol):
    """What every shape says."""

    @property
    def instruction(self) -> str:
        """What the system message ends with; empty for any text."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """What the request carries besides the messages."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names under which a table shows the answer's parts; empty if it has no parts."""

    def read(self, text: str) -> Any:
        """The answer's value. Raises ShapeError if `text` does not have this shape."""


@dataclass(frozen=True, slots=True)
class AnyText:
    instruction = ""
    columns: tuple[str, ...] = ()

    @property
    def fields(self) -> Mapping[str, Any]:
        return {}

    def read(self, text: str) -> str:
        return text


@dataclass(frozen=True, slots=True)
class Code:
    """The first code block of the answer; all of it if there is none."""

    instruction = ""
    columns: tuple[str, ...] = ()

    @property
    def fields(self) -> Mapping[str, Any]:
        return {}

    def read(self, text: str) -> str:
        return next(iter(code_blocks(text)), text)


@dataclass(frozen=True, slots=True)
class Json:
    """JSON that `schema` validates; an instance of `model`, where the schema came from a pydantic model."""

    schema: Schema
    model: type[BaseModel] | None = None

    @property
    def instruction(self) -> str:
        schema = json.dumps(self.schema, ensure_ascii=False, separators=(",", ":"))
        return f"Answer with JSON that is valid against this JSON Schema, and with nothing else:\n{schema}"

    @property
    def fields(self) -> Mapping[str, Any]:
        described = {"name": "answer", "schema": self.schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": described}}

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.schema.get("properties", ()))

    def read(self, text: str) -> Any:
        try:
            value = json.loads(text, parse_constant=_not_json)
        except ValueError as error:
            raise ShapeError(
                _("The answer is not valid JSON: {error}.").format(error=error),
                _("Try again, or ask for less."),
            ) from error
        if self.model is not None:
            return _validated(self.model, value)
        import jsonschema

        validator = jsonschema.validators.validator_for(self.schema, default=jsonschema.Draft202012Validator)
        errors = validator(self.schema, format_checker=validator.FORMAT_CHECKER).iter_errors(value)
        wrong = jsonschema.exceptions.best_match(errors)
        if wrong is not None:
            raise ShapeError(
                _("The answer does not fit the schema: {json_path}: {message}.").format(
                    json_path=wrong.json_path, message=wrong.message
                )
            )
        return value


@dataclass(frozen=True, slots=True)
class Choices:
    """Exactly one of `labels`."""

    labels: tuple[str, ...]
    columns: tuple[str, ...] = ()

    @property
    def instruction(self) -> str:
        return "Answer with exactly one of these labels, and with nothing else: " + ", ".join(self.labels)

    @property
    def fields(self) -> Mapping[str, Any]:
        described = {"name": "label", "schema": {"enum": list(self.labels)}, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": described}}

    def read(self, text: str) -> str:
        """The label; a server that does not enforce it may write a full stop, or another case."""
        said = text.strip().strip("\"'`*.。!！").strip()
        for label in self.labels:
            if said == label or said.casefold() == label.casefold():
                return label
        raise ShapeError(
            _("The answer {answer!r} is not one of {names}.").format(
                answer=said[:60], names=", ".join(self.labels)
            )
        )


def check_quotes(value: Any, source: str) -> None:
    """Raises ShapeError if a `quote` in an answer is not in the source, but for its white space."""
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    words = " ".join(source.split())
    for quote in _quotes(value):
        if " ".join(quote.split()) not in words:
            raise ShapeError(
                _("The answer quotes {quote!r}, which is not in the text.").format(quote=quote[:60])
            )


def _quotes(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            if name == "quote" and isinstance(part, str):
                yield part
            else:
                yield from _quotes(part)
    elif isinstance(value, list):
        for part in value:
            yield from _quotes(part)


def from_schema(given: str) -> Json:
    """The shape that `--schema` names: JSON Schema, a file of it, `name, age int`, or `module:Model`.

    Raises UsageError if it is none of these.
    """
    text = given.strip()
    if text.startswith("{"):
        return Json(_parsed(text, "--schema"))
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text) and not Path(text).exists():
        return from_model(_model(text))
    path = Path(text).expanduser()
    if path.suffix == ".json" or (len(text) < 256 and "\n" not in text and path.is_file()):
        try:
            return Json(_parsed(path.read_text(encoding="utf-8"), str(path)))
        except OSError as error:
            raise UsageError(
                _("The schema {path} can't be read: {reason}.").format(path=path, reason=reason(error))
            ) from error
    return Json(from_short_form(text))


def from_model(model: type[BaseModel]) -> Json:
    return Json(model.model_json_schema(), model)


def from_choices(given: str | Sequence[str]) -> Choices:
    """The labels of `--choices a,b,c`. Raises UsageError if there are fewer than two."""
    parts = given.split(",") if isinstance(given, str) else given
    labels = tuple(dict.fromkeys(label.strip() for label in parts if label.strip()))
    if len(labels) < 2:
        raise UsageError(_("--choices needs at least two labels."), _("For example --choices yes,no"))
    return Choices(labels)


TYPES: Mapping[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "list": {"type": "array", "items": {"type": "string"}},
}
_FIELD = re.compile(
    r"(?P<name>[^\W\d][\w-]*)(?:\s+(?P<type>[a-z]+))?\s*(?P<optional>\?)?\s*(?::\s*(?P<about>.+))?"
)


def from_short_form(text: str) -> dict[str, Any]:
    """A schema from `name, age int, tags list, until date?`; `?` allows null, `name: what it is` describes.

    Fields are separated by commas, or by lines, where a description may hold commas.
    """
    properties: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in (text.splitlines() if "\n" in text else text.split(",")))):
        match = _FIELD.fullmatch(part)
        kind = match["type"] or "str" if match else ""
        if match is None or kind not in TYPES:
            raise UsageError(
                _("--schema: {part!r} is not a field.").format(part=part),
                _("A field is a name and a type, one of {names}: 'name, age int, until date?'.").format(
                    names=", ".join(TYPES)
                ),
            )
        field = dict(TYPES[kind])
        if match["optional"]:
            field = {"anyOf": [field, {"type": "null"}]}
        if match["about"]:
            field["description"] = match["about"].strip()
        properties[match["name"]] = field
    if not properties:
        raise UsageError(_("--schema is empty."), _("For example --schema 'name, age int'"))
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _parsed(text: str, where: str) -> Schema:
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise UsageError(_("{where} is not valid JSON: {error}.").format(where=where, error=error)) from error
    import jsonschema

    if not isinstance(schema, dict):
        raise UsageError(_("{where} is not a JSON Schema: it must be an object.").format(where=where))
    try:
        jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator).check_schema(
            schema
        )
    except jsonschema.exceptions.SchemaError as error:
        raise UsageError(
            _("{where} is not a JSON Schema: {json_path}: {message}.").format(
                where=where, json_path=error.json_path, message=error.message
            )
        ) from error
    return schema


def _model(text: str) -> type[BaseModel]:
    from pydantic import BaseModel

    module, name = text.split(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        model = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            _("--schema {text}: {error}.").format(text=text, error=error),
            _("It names a module and a pydantic model in it."),
        ) from error
    finally:
        sys.path.remove(here)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise UsageError(_("--schema {text}: {name} is not a pydantic model.").format(text=text, name=name))
    return model


def _validated(model: type[BaseModel], value: Any) -> BaseModel:
    from pydantic import ValidationError

    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or _("the answer")
        raise ShapeError(
            _("The answer does not fit the schema: {where}: {message}.").format(
                where=where, message=first["msg"]
            )
        ) from error


def _not_json(constant: str) -> Any:
    raise ValueError(_("{constant} is not valid JSON").format(constant=constant))
