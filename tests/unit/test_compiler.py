"""The processes in which schemas become rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from llamachat.engine.compiler import TOO_LONG, Compiler
from llamachat.engine.failures import Refused
from llamachat.engine.grammar_jobs import calls_job, gbnf_job, schema_job
from llamachat.grammar.nodes import GrammarError
from llamachat.tools.family import Family
from llamachat.tools.request import Offer, Tool
from tests.support import wait_for

TAKES_LONG = schema_job({"type": "string", "pattern": "(x+x+)+y", "minLength": 729})


@pytest.fixture
def compiler() -> Iterator[Compiler]:
    compiler = Compiler(most_cpu=0.3)
    yield compiler
    compiler.close()


def workers() -> set[int]:
    children = psutil.Process().children()
    return {child.pid for child in children if "llamachat.engine.grammar_worker" in child.cmdline()}


def test_equal_jobs_have_the_same_rules(compiler: Compiler) -> None:
    rules = compiler.rules(schema_job({"enum": ["a", "b"]}), "response_format")
    assert rules.matcher.accepts(b'"b"') and not rules.matcher.accepts(b'"c"')
    assert compiler.rules(schema_job({"enum": ["a", "b"]}), "response_format") is rules


def test_what_cannot_be_enforced_names_its_field(compiler: Compiler) -> None:
    with pytest.raises(Refused, match="uniqueItems") as refused:
        compiler.rules(schema_job({"uniqueItems": True}), "response_format")
    assert refused.value.error["param"] == "response_format"


def test_a_job_that_takes_too_long_ends_with_its_process_and_others_go_on(compiler: Compiler) -> None:
    compiler.rules(schema_job({"const": 1}), "response_format")
    before = workers()
    with pytest.raises(Refused, match=TOO_LONG):
        compiler.rules(TAKES_LONG, "response_format")
    assert compiler.rules(schema_job({"const": 2}), "response_format").matcher.accepts(b"2")
    assert not before & workers()


def test_a_worker_that_is_killed_is_replaced(compiler: Compiler) -> None:
    compiler.rules(schema_job({"const": 1}), "response_format")
    for pid in (killed := workers()):
        psutil.Process(pid).kill()
    with pytest.raises(Refused, match="can't be turned into rules"):
        compiler.rules(schema_job({"const": 2}), "response_format")
    assert compiler.rules(schema_job({"const": 2}), "response_format").matcher.accepts(b"2")
    wait_for(lambda: not killed & workers(), "the killed one is gone")


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"items": deep}
    offer = Offer((Tool("f", parameters=deep),))
    with pytest.raises(GrammarError, match="too deeply"):
        schema_job(deep)
    with pytest.raises(GrammarError, match="too deeply"):
        calls_job(offer, Family.HERMES, {}, thinks=False, whole=False)


def test_a_grammar_that_names_too_many_tokens_is_refused_before_they_are_looked_up() -> None:
    with pytest.raises(GrammarError, match="names more than"):
        gbnf_job(" ".join(f"<t{n}>" for n in range(2_000)), lambda name: pytest.fail(name), 100)
