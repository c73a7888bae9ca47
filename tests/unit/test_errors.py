"""The tree of errors, as its docstring draws it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llamachat import errors
from llamachat.errors import ExitStatus, LlamachatError
from tests.support import ROOT


def tree(error: type[LlamachatError] = LlamachatError) -> Iterator[tuple[str, str]]:
    """Name and exit status of each class of the module, parents first."""
    yield error.__name__, str(int(error.exit_status))
    for below in error.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from tree(below)


def test_the_docstring_shows_every_class_with_its_exit_status() -> None:
    drawn = re.findall(r"^\W*(\w+) +(\d+)(?: |$)", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(tree())


def test_every_exit_status_is_documented() -> None:
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(row) for row in rows] == [int(status) for status in ExitStatus]
