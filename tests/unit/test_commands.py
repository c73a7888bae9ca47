from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.chat.commands import COMMANDS, as_markdown, find
from llamachat.chat.settings_commands import NAMES
from llamachat.cli.chat import command_hints
from llamachat.errors import UsageError
from scripts import messages

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_docs_have_the_table_of_commands() -> None:
    assert as_markdown() in DOCS.read_text(encoding="utf-8"), (
        "paste commands.as_markdown() into docs/commands.md"
    )


def test_the_chinese_docs_have_the_table_of_commands() -> None:
    chinese = {m.id: str(m.string) for m in messages.read()}
    table = as_markdown("| 命令 | 作用 |", chinese.__getitem__)
    assert table in (DOCS.parent / "zh-CN" / DOCS.name).read_text(encoding="utf-8"), table


def test_the_docs_name_every_value_that_can_be_set() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in NAMES)


def test_each_command_is_completed_and_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").touch()
    rows = command_hints(tmp_path)
    assert {"mine", "summary", "off"} <= {value for hint in rows if hint.name == "t" for value in hint.values}
    names = [hint.name for hint in rows]
    assert names == [command.name for command in COMMANDS]
    assert len(set(names)) == len(names)
    assert all(find(name.upper()).name == name for name in names)


def test_an_unknown_command_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean /retry"):
        find("rety")
    with pytest.raises(UsageError, match="/help lists them"):
        find("zzzzzz")
