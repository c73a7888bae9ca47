"""Placeholders in prompts, and the templates that use them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamachat.cli.parser import parse
from llamachat.errors import UsageError
from llamachat.programs import shapes, templates
from llamachat.programs.questions import fill, placeholders


def test_names_in_braces_are_replaced_and_doubled_braces_are_braces() -> None:
    assert fill("{a} {{a}} {b}", {"a": 1, "b": None}) == "1 {a} "
    assert placeholders("{a} {{b}} {c d} {a}") == ("a", "c d")
    with pytest.raises(UsageError, match=r"\{x\}.*a, b"):
        fill("{x}", {"a": 1, "b": 2})


@given(st.text())
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    assert fill("<{a}>", {"a": value}) == f"<{value}>"
    # A parameter that is filled in first stays as it is while the text is.
    partly = fill("<{p}> {input}", {"p": value}, partly=True)
    assert fill(partly, {"input": "x"}) == f"<{value}> x"


def test_every_template_of_ours_can_be_used_in_both_languages(tmp_path: Path) -> None:
    ours = templates.available(tmp_path)
    names = {named.name for named in ours}
    wanted = "write commit code translate summary sentiment classify answer recommend describe contract"
    assert names == set(wanted.split())
    for named in ours:
        template = named.template
        assert template.zh, named.name
        for words in (template.en, template.zh):
            composed = templates.compose(words, template.params, {})
            assert words.about and "text" in fill(composed.prompt, {"input": "text", "question": "?"})
            _, args = parse(shlex.split(words.example.partition("llamachat ")[2]))
            assert args.template == named.name
        if isinstance(template.schema, str):
            assert "quote" in shapes.from_short_form(template.schema)["properties"]


def test_a_template_of_the_user_wins_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "summary.toml").write_text('[en]\nprompt = "Short: {input} {n}"\n')
    mine = templates.find("summary", tmp_path)
    with pytest.raises(UsageError, match="-p n VALUE"):
        templates.compose(mine.en, mine.params, {})
    with pytest.raises(UsageError, match="no parameter 'm'"):
        templates.compose(mine.en, mine.params, {"n": "1", "m": "2"})
    (tmp_path / "broken.toml").write_text('[en]\npromt = "x"\n')
    with pytest.raises(UsageError, match=r"broken.toml can't be read: en.promt"):
        templates.find("broken", tmp_path)
    assert templates.find("summary", tmp_path) == mine
    with pytest.raises(UsageError, match="no template 'nosuch'"):
        templates.find("nosuch", Path("nowhere"))
