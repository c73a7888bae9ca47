"""The parser of a family's answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from llamachat.tools.call_parser import AnswerParser, HarmonyParser, Parser
from llamachat.tools.coder_form import CoderParser
from llamachat.tools.family import Family


def parser(
    family: Family,
    names: Collection[str],
    thinks: bool = False,
    texts: Mapping[str, frozenset[str]] | None = None,
) -> AnswerParser:
    """For one answer; see Parser and, for `texts`, CoderParser."""
    if family is Family.HARMONY:
        return HarmonyParser()
    if family is Family.QWEN_CODER:
        return CoderParser(texts or {}, family, names, thinks)
    return Parser(family, names, thinks)
