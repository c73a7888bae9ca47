"""The options of `llamachat history`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from llamachat.settings.base import Options, option


class HistorySettings(Options):
    section: ClassVar[str] = "history"

    transcripts: Path | None = option(None, "the file (default: in the user's data folder)", metavar="FILE")
    limit: int = option(50, "the largest number of lines, newest first", ge=1)
    json_output: bool = option(False, "print JSON", flags=("--json",))
    format: Literal["markdown", "json", "jsonl"] = option("markdown", "format of the export")
    output: Path | None = option(None, "write to a file", metavar="FILE", flags=("-o",))
    branch: int | None = option(None, "the branch that ends with this message", metavar="ID", ge=1)
    all: bool = option(False, "all conversations")
    older_than: str | None = option(
        None,
        "conversations not changed for this long: 12h, 30d, 8w, 1y",
        metavar="AGE",
        pattern=r"^\d{1,5}[hdwy]$",
    )
    yes: bool = option(False, "don't ask", flags=("-y",))


def seconds(age: str) -> int:
    """`30d` as seconds."""
    return int(age[:-1]) * {"h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}[age[-1]]
