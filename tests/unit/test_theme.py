"""The theme's styles, as each library spells them."""

from __future__ import annotations

import pytest
from prompt_toolkit.styles import Style as PromptStyle
from rich.style import Style as RichStyle

from llamachat.terminal.theme import DARK, LIGHT, RESULTS, Style, Theme, choose, sgr

THEMES = (DARK, LIGHT)


def test_a_style_is_derived_for_each_library() -> None:
    style = Style("bright_green", bold=True, underline=True)
    assert style.sgr == "92;1;4"
    assert style.rich == "bold underline bright_green"
    assert style.prompt_toolkit == "bold underline ansibrightgreen"


def test_the_article_has_green_answers_and_red_input() -> None:
    assert sgr(DARK.answer) == "\033[92;1m"
    assert sgr(DARK.input) == "\033[91;1m"
    assert sgr(None) == "\033[0m"


@pytest.mark.parametrize("theme", THEMES)
def test_every_style_is_one_that_rich_and_prompt_toolkit_know(theme: Theme) -> None:
    for style in (theme.answer, theme.input, theme.status, *theme.styles.values(), *RESULTS.values()):
        assert RichStyle.parse(style.rich).bold is (style.bold or None)
        PromptStyle.from_dict({"x": style.prompt_toolkit})


def test_in_a_table_only_colours_that_mean_something_stay() -> None:
    assert DARK.in_table("strong").rich == "bold"
    assert DARK.in_table("em").rich == "italic"
    assert DARK.in_table("code").rich == "bold bright_cyan"
    assert [theme.in_table(None).rich for theme in THEMES] == ["", ""]


def test_nothing_on_a_light_background_is_bright() -> None:
    assert DARK.styles.keys() == LIGHT.styles.keys()
    for style in (LIGHT.answer, LIGHT.input, *LIGHT.styles.values()):
        assert style.color is None or not style.color.startswith("bright_")


@pytest.mark.parametrize(
    ("name", "colorfgbg", "theme"),
    [
        ("auto", "", DARK),
        ("auto", "15;0", DARK),
        ("auto", "0;15", LIGHT),
        ("auto", "0;default;7", LIGHT),
        ("light", "15;0", LIGHT),
        ("dark", "0;15", DARK),
    ],
)
def test_the_theme_is_chosen_or_follows_the_background(name: str, colorfgbg: str, theme: Theme) -> None:
    assert choose(name, colorfgbg) is theme
