"""The rows of a batch: read from CSV, TSV, JSONL or OpenAI's batch file, and written in the same order."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llamachat.core import presets
from llamachat.errors import UsageError
from llamachat.language import _
from llamachat.programs.batch_journal import unwritable

Format = Literal["csv", "tsv", "jsonl", "openai"]
Decode = Callable[[Path], str]
CHAT_URL = "/v1/chat/completions"
_REFUSED = ("tools", "functions", "n", "logprobs", "audio")
"""What asks for more than one text."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number from 1, its columns, and for OpenAI's form its `custom_id` and request `body`.

    `error` says why it can't be asked at all.
    """

    number: int
    columns: Mapping[str, Any] = field(default_factory=dict)
    custom_id: str | None = None
    body: Mapping[str, Any] | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        return self.custom_id if self.custom_id is not None else str(self.number)


@dataclass(frozen=True, slots=True)
class Table:
    rows: Sequence[Row]
    format: Format
    columns: tuple[str, ...] = ()


def read(path: Path, decode: Decode) -> Table:
    """The rows of a file, by its name's ending. Raises UsageError if it is none of these kinds."""
    text = decode(path)
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        return _read_csv(text, "tsv" if kind == ".tsv" else "csv", path)
    if kind in (".jsonl", ".ndjson"):
        return _read_jsonl(text, path)
    raise UsageError(
        _("{path} is not a .csv, .tsv or .jsonl file.").format(path=path),
        _("Give it the extension of its real format."),
    )


def from_values(values: Iterable[Mapping[str, Any] | str]) -> Table:
    """Rows of a program: mappings of columns, or texts, which are the column `text`."""
    rows = [Row(i, {"text": v} if isinstance(v, str) else v) for i, v in enumerate(values, 1)]
    return Table(rows, "jsonl", tuple(rows[0].columns) if rows else ())


def _read_csv(text: str, kind: Literal["csv", "tsv"], path: Path) -> Table:
    csv.field_size_limit(2**27)
    dialect = "excel-tab" if kind == "tsv" else "excel"
    reader = csv.DictReader(io.StringIO(text, newline=""), dialect=dialect, strict=True)
    try:
        return _read_records(reader, kind, path)
    except csv.Error as error:
        raise UsageError(
            _("{path}, line {line_num}: {error}.").format(path=path, line_num=reader.line_num, error=error),
            _("Check the quotes."),
        ) from error


def _read_records(reader: csv.DictReader[str], kind: Literal["csv", "tsv"], path: Path) -> Table:
    columns = tuple(reader.fieldnames or ())
    if not columns or len(set(columns)) < len(columns):
        raise UsageError(_("{path} needs a first line that names each column once.").format(path=path))
    rows = []
    for number, record in enumerate(reader, 1):
        extra = record.pop(None, None)
        error = (
            _("it has {found} columns, not {expected}").format(
                found=len(columns) + len(extra), expected=len(columns)
            )
            if extra
            else None
        )
        rows.append(Row(number, record, error=error))
    return Table(rows, kind, columns)


def _read_jsonl(text: str, path: Path) -> Table:
    rows: list[Row] = []
    for number, line in enumerate(filter(str.strip, text.split("\n")), 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            rows.append(Row(number, error=_("it is not valid JSON: {error}").format(error=error)))
            continue
        if isinstance(record, dict) and {"custom_id", "body"} <= record.keys():
            rows.append(_openai_row(number, record))
        elif isinstance(record, dict):
            rows.append(Row(number, record))
        else:
            rows.append(Row(number, {"text": record if isinstance(record, str) else line}))
    if any(row.body is not None for row in rows):
        seen: set[str] = set()
        for row in rows:
            if row.name in seen:
                raise UsageError(
                    _("{path} has the custom_id {name!r} twice.").format(path=path, name=row.name),
                    _("They must all differ."),
                )
            seen.add(row.name)
        return Table(rows, "openai")
    columns = dict.fromkeys(name for row in rows for name in row.columns)
    return Table(rows, "jsonl", tuple(columns))


def _openai_row(number: int, record: Mapping[str, Any]) -> Row:
    body, url = record["body"], record.get("url", CHAT_URL)
    messages = body.get("messages") if isinstance(body, dict) else None
    error = None
    if url != CHAT_URL:
        error = _("its url is {url!r}, and only {chat_url} is served").format(url=url, chat_url=CHAT_URL)
    elif not isinstance(messages, list) or not messages:
        error = _("its body has no messages")
    elif not all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in messages):
        error = _("a message in its body has no role or no content")
    elif refused := [name for name in _REFUSED if body.get(name) and (name, body[name]) != ("n", 1)]:
        error = _("its body has {name!r}, which a batch does not support").format(name=refused[0])
    return Row(number, {}, str(record["custom_id"]), body if isinstance(body, dict) else {}, error)


def format_of(path: Path, table: Table) -> Format:
    """How the output is written, by its name; OpenAI's form for OpenAI's input."""
    kind = path.suffix.lower().removeprefix(".")
    if table.format == "openai":
        if kind not in ("jsonl", "ndjson"):
            raise UsageError(
                _("{path}: OpenAI's batch output is JSONL.").format(path=path), _("Name it OUT.jsonl.")
            )
        return "openai"
    if kind in ("csv", "tsv"):
        return "tsv" if kind == "tsv" else "csv"
    if kind in ("jsonl", "ndjson"):
        return "jsonl"
    raise UsageError(
        _("{path} must end in .csv, .tsv or .jsonl.").format(path=path),
        _("Its extension chooses the format."),
    )


def write(
    path: Path, format: Format, table: Table, answers: Iterable[Mapping[str, Any]], parts: Sequence[str]
) -> None:
    """Write all rows with their answers, and replace `path` at once. `parts` are the answer's own columns.

    Raises LlamachatError if it can't be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        _write_whole(temporary, format, table, answers, parts)
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error


def _write_whole(
    path: Path, format: Format, table: Table, answers: Iterable[Mapping[str, Any]], parts: Sequence[str]
) -> None:
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        if format in ("csv", "tsv"):
            _write_csv(file, format, table, answers, parts)
        else:
            for row, answer in zip(table.rows, answers, strict=True):
                said = {"answer": answer["answer"], "error": answer["error"]}
                line = _openai_line(row, answer) if format == "openai" else {**row.columns, **said}
                file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _write_csv(
    file: Any, format: str, table: Table, answers: Iterable[Mapping[str, Any]], parts: Sequence[str]
) -> None:
    names = parts or ("answer",)
    columns = [*table.columns, *names, "error"]
    writer = csv.writer(file, dialect="excel-tab" if format == "tsv" else "excel", lineterminator="\n")
    writer.writerow(columns)
    for row, answer in zip(table.rows, answers, strict=True):
        value = answer["answer"]
        said = [value.get(n) for n in parts] if parts and isinstance(value, Mapping) else [value]
        said += [None] * (len(names) - len(said))
        cells = [*(row.columns.get(c) for c in table.columns), *said, answer["error"]]
        writer.writerow(_cell(cell) for cell in cells)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, bool)) else value


def _openai_line(row: Row, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if "finish_reason" not in answer:  # one that was cut is an answer here: `length` says so
        error = {"code": answer.get("code") or "error", "message": answer["error"]}
        return {"id": f"batch_req_{row.number}", "custom_id": row.name, "response": None, "error": error}
    usage = answer.get("usage") or {}
    body = {
        "id": f"chatcmpl-{row.number}",
        "object": "chat.completion",
        "created": answer.get("created", 0),
        "model": answer.get("model") or presets.MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer["text"]},
                "logprobs": None,
                "finish_reason": answer.get("finish_reason", "stop"),
            }
        ],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }
    response = {"status_code": 200, "request_id": f"req_{row.number}", "body": body}
    return {"id": f"batch_req_{row.number}", "custom_id": row.name, "response": response, "error": None}
