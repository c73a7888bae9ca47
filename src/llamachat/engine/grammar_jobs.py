"""What can be turned into rules: schemas, GBNF and tools, as jobs of JSON, and what becomes of a job.

Jobs are equal where they ask for the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llamachat.grammar import gbnf, schema
from llamachat.grammar.matcher import Matcher, Prepared, prepare
from llamachat.grammar.nodes import Grammar, GrammarError, Literal, Node, Token
from llamachat.tools import forms
from llamachat.tools.coder_form import texts_of
from llamachat.tools.family import Family
from llamachat.tools.request import Offer, Tool, ToolError

MAX_NAMED_TOKENS = 1_000


@dataclass(frozen=True)
class Compiled:
    """`texts` are a tool's parameters that its calls have as bare texts, by its name."""

    prepared: Prepared
    texts: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class NotCompiled:
    """Why not; `param` is the field of the request where the job doesn't say it."""

    message: str
    param: str | None = None


def schema_job(wanted: Any) -> bytes:
    """Raises GrammarError for a schema that is too large to look at."""
    schema.check_size(wanted)
    return _encoded({"schema": wanted})


def gbnf_job(text: str, token_of: Callable[[str], int | None], n_vocab: int) -> bytes:
    """`token_of` gives the id of a token's text, if that is one token. Raises GrammarError."""
    gbnf.check_size(text)
    named = gbnf.named_tokens(text)
    if len(named) > MAX_NAMED_TOKENS:
        raise GrammarError(f"The grammar names more than {MAX_NAMED_TOKENS} tokens.")
    return _encoded({"gbnf": text, "tokens": {name: token_of(name) for name in named}, "n_vocab": n_vocab})


def calls_job(
    offer: Offer,
    family: Family,
    markers: Mapping[str, int],
    *,
    thinks: bool,
    whole: bool,
    content: Any = None,
) -> bytes:
    """`markers` are the texts of control tokens, `content` the schema of an answer without calls."""
    for tool in offer.tools:
        schema.check_size(tool.parameters)
    if content is not None:
        schema.check_size(content)
    tools = [{"name": tool.name, "parameters": tool.parameters} for tool in offer.tools]
    told = {"parallel": offer.parallel, "family": family.value, "markers": markers, "thinks": thinks}
    return _encoded({"tools": tools, **told, "whole": whole, "content": content})


def _encoded(job: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(job).encode()
    except RecursionError as error:
        raise GrammarError("It is nested too deeply.") from error


def compiled(job: bytes) -> Compiled | NotCompiled:
    try:
        return _compiled(json.loads(job))
    except ToolError as error:
        return NotCompiled(str(error), error.param)
    except GrammarError as error:
        return NotCompiled(str(error))
    except RecursionError:
        return NotCompiled("It is nested too deeply.")


def _compiled(job: Mapping[str, Any]) -> Compiled:
    texts: Mapping[str, frozenset[str]] = {}
    if "schema" in job:
        grammar = schema.grammar(job["schema"])
    elif "gbnf" in job:
        grammar = gbnf.parse(job["gbnf"], job["tokens"].get, job["n_vocab"])
    else:
        grammar, texts = _calls(job)
    prepared = prepare(grammar)
    Matcher(prepared)  # its first step is bounded, too
    return Compiled(prepared, texts)


def _calls(job: Mapping[str, Any]) -> tuple[Grammar, Mapping[str, frozenset[str]]]:
    offer = Offer(tuple(Tool(**tool) for tool in job["tools"]), parallel=job["parallel"])
    family = Family(job["family"])

    def marker(text: str) -> Node:
        return Token(job["markers"][text]) if text in job["markers"] else Literal(text)

    calls = forms.Calls(offer, family, marker)
    texts = texts_of(offer) if family is Family.QWEN_CODER else {}
    if not job["whole"]:
        return calls.behind_trigger(), texts
    return calls.whole(job["thinks"], _content(job["content"])), texts


def _content(wanted: Any) -> Grammar | None:
    try:
        return None if wanted is None else schema.grammar(wanted)
    except GrammarError as error:
        raise ToolError("response_format", str(error)) from error
