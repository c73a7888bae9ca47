"""The code blocks of an answer."""

from __future__ import annotations


def code_blocks(text: str) -> list[str]:
    """The contents of the fenced blocks, without the indent of a list or the marks of a quote around them."""
    from markdown_it import MarkdownIt

    # A fence opens a block however far it is indented, as it does on the screen.
    tokens = MarkdownIt("commonmark").disable("code").parse(text)
    return [token.content for token in tokens if token.type == "fence"]
