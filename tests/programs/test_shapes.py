"""What `--schema` and `--choices` take, and which answers have the shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llamachat.errors import ShapeError, UsageError
from llamachat.programs import shapes


def test_the_short_form_names_fields_types_and_what_may_be_null() -> None:
    schema = shapes.from_short_form(["name, age int, tags list, until date?, 名字 str: 姓", "名"][0])
    assert schema["properties"] == {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "until": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "名字": {"type": "string", "description": "姓"},
    }
    assert schema["required"] == ["name", "age", "tags", "until", "名字"]


def test_on_lines_of_its_own_a_description_may_hold_commas() -> None:
    schema = shapes.from_short_form("\nname: first, then last\nage int?\n")
    assert schema["properties"]["name"]["description"] == "first, then last"


@pytest.mark.parametrize(
    "text", ["", "name foo", "a b c", "1x", "name int ??", "{", '{"type": 5}', "no.module:Model"]
)
def test_what_is_not_a_schema_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        shapes.from_schema(text)


def test_a_schema_may_be_a_file_or_a_pydantic_model(tmp_path: Path) -> None:
    file = tmp_path / "my schema.json"
    file.write_text(json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}}))
    assert shapes.from_schema(str(file)).columns == ("a",)
    shape = shapes.from_schema("tests.programs.models:Invoice")
    value = shape.read('{"number": 7, "total": 1.5}')
    assert (type(value).__name__, value.number) == ("Invoice", 7)
    with pytest.raises(ShapeError, match="total"):
        shape.read('{"number": 7, "total": "much"}')


@pytest.mark.parametrize("text", ["", "{", '{"name": 1}', '{"name": "x", "more": 1}', "NaN", '{"name": NaN}'])
def test_an_answer_that_is_not_valid_is_an_error(text: str) -> None:
    with pytest.raises(ShapeError):
        shapes.from_schema("name").read(text)


@pytest.mark.parametrize(
    ("said", "label"), [("yes", "yes"), ('"yes"', "yes"), (" Yes.\n", "yes"), ("**no**", "no")]
)
def test_a_choice_is_read_with_its_trimmings(said: str, label: str) -> None:
    assert shapes.from_choices("yes, no").read(said) == label


def test_anything_else_is_not_a_choice() -> None:
    with pytest.raises(ShapeError, match="maybe"):
        shapes.from_choices("yes,no").read("maybe")
    with pytest.raises(UsageError, match="two labels"):
        shapes.from_choices("yes,yes")


def test_a_quote_must_be_in_the_text() -> None:
    source = "It ends  on\nMay 1st. Nothing else."
    shapes.check_quotes({"quote": "It ends on May 1st.", "other": "x"}, source)
    shapes.check_quotes([{"deep": {"quote": "Nothing else."}}, {"quote": None}], source)
    with pytest.raises(ShapeError, match="'It ends on June"):
        shapes.check_quotes([{"deep": {"quote": "It ends on June 1st."}}], source)
