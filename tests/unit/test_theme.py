"""The theme's styles, as each library spells them."""

from __future__ import annotations

import pytest
from prompt_toolkit.styles import Style as PromptStyle
from rich.style import Style as RichStyle

from llamachat.terminal import theme


def test_a_style_is_derived_for_each_library() -> None:
    style = theme.Style("bright_green", bold=True, underline=True)
    assert style.sgr == "92;1;4"
    assert style.rich == "bold underline bright_green"
    assert style.prompt_toolkit == "bold underline ansibrightgreen"


def test_the_article_has_green_answers_and_red_input() -> None:
    assert theme.sgr(theme.ANSWER) == "\033[92;1m"
    assert theme.sgr(theme.INPUT) == "\033[91;1m"
    assert theme.sgr(None) == "\033[0m"


@pytest.mark.parametrize("name", theme.STYLES)
def test_every_style_is_one_that_rich_and_prompt_toolkit_know(name: str) -> None:
    style = theme.STYLES[name]
    assert RichStyle.parse(style.rich).bold is (style.bold or None)
    PromptStyle.from_dict({"x": style.prompt_toolkit})


def test_in_a_table_only_colours_that_mean_something_stay() -> None:
    assert theme.in_table("strong").rich == "bold"
    assert theme.in_table("em").rich == "italic"
    assert theme.in_table("code").rich == "bold bright_cyan"
    assert theme.in_table(None).rich == ""
