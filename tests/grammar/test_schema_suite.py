"""Every schema of JSON Schema's own test suite is enforced, or refused with its place; none fails open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llamachat.grammar.matcher import Matcher
from llamachat.grammar.nodes import GrammarError
from llamachat.grammar.schema import grammar

SUITE = Path(__file__).parent.parent / "data" / "json-schema-test-suite"
FILES = sorted(SUITE.rglob("*.json"))


def matcher_of(schema: Any) -> Matcher | str:
    """The matcher, or why the schema is refused."""
    try:
        return Matcher(grammar(schema))
    except GrammarError as error:
        return str(error)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SUITE)))
def test_a_schema_is_enforced_or_refused_by_name(path: Path) -> None:
    for case in json.loads(path.read_text(encoding="utf-8")):
        matcher = matcher_of(case["schema"])
        if isinstance(matcher, str):
            assert matcher.startswith("The schema can't be enforced: #"), case["description"]
            continue
        for test in case["tests"]:
            text = json.dumps(test["data"], ensure_ascii=False).encode(errors="replace")
            accepted = matcher.accepts(text)
            assert test["valid"] or not accepted, f"{case['description']}: {test['description']}"


def test_most_of_the_suite_is_enforced() -> None:
    """What is refused are mostly references to other documents, and `unevaluated…`."""
    cases = [case for path in FILES for case in json.loads(path.read_text(encoding="utf-8"))]
    refused = sum(isinstance(matcher_of(case["schema"]), str) for case in cases)
    assert refused < 0.3 * len(cases)
