"""Conversations as files for other programs: Markdown, JSON, JSONL; and JSON and JSONL back.

JSON holds everything, branches too: `{"format": "llamachat", "version": 1, "conversations": […]}`. Each has
title, name, head, settings, created_at, updated_at and messages `{id, parent, role, content, …}`, ids being
the file's own. JSONL is OpenAI's form, one conversation a line, without its branches:
`{"messages": [{"role": …, "content": …}, …]}`. `read` takes both, and OpenAI's form as one JSON value or as
a plain list of messages.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from llamachat.core.conversation import Message, Node, Role
from llamachat.errors import StoreError, UsageError
from llamachat.language import _, reason
from llamachat.store.records import (
    MESSAGE_COLUMNS,
    Heading,
    Stored,
    from_iso,
    title_from,
    to_iso,
)
from llamachat.store.transcripts import Transcripts

_FORMAT = "llamachat"
_VERSION = 1
Tree = tuple[Heading, Sequence[Node]]


def to_markdown(stored: Stored) -> str:
    """The conversation up to its head, for people."""
    heading = stored.heading
    facts = [
        to_iso(heading.created_at)[:16].replace("T", " ") + " UTC",
        *([stored.conversation.model] if stored.conversation.model else []),
    ]
    parts = [f"# {heading.name or heading.title or 'Conversation'}", " · ".join(facts)]
    for node in stored.conversation.path:
        message = node.message
        cut = f" ({message.cut})" if message.cut else ""
        title = "Note" if message.note else message.role.capitalize()
        parts += [f"## {title}{cut}", message.content.strip()]
        parts += [f"![]({url})" for url in message.pictures]
    return "\n\n".join(parts) + "\n"


def to_json(trees: Sequence[Tree]) -> str:
    """Everything that is known about the conversations, with all branches."""
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "conversations": [_tree_value(*tree) for tree in trees],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def to_jsonl(stored: Stored) -> str:
    """One line in OpenAI's messages form: what was said, under the current system message."""
    messages = [m.as_request() for m in stored.conversation if not m.note]
    return json.dumps({"messages": messages}, ensure_ascii=False) + "\n"


def read(text: str, now: float) -> list[Tree]:
    """The conversations of an exported file. Raises StoreError, which names the place that can't be read."""
    trees: list[Tree] = []
    for value in _values(text):
        known = isinstance(value, dict) and value.get("format") == _FORMAT
        if known and value.get("version") != _VERSION:
            raise StoreError(
                _("The file has version {value!r}; this llamachat knows version {version}.").format(
                    value=value.get("version"), version=_VERSION
                )
            )
        conversations = value.get("conversations") if known else [value]
        if not isinstance(conversations, list):
            raise StoreError(_("The file has no list of conversations."))
        for conversation in conversations:
            trees.append(
                _read_tree(conversation, _("Conversation {count}").format(count=len(trees) + 1), now)
            )
    return trees


def add(transcripts: Transcripts, trees: Sequence[Tree]) -> list[int]:
    """Store conversations that were read, all or none. Returns their new ids."""
    with transcripts.changes():
        return [_add(transcripts, *tree) for tree in trees]


def write_new(path: Path, text: str) -> None:
    """Write a new file, whole or not at all, and private like the transcripts.

    Raises UsageError if the file exists, and StoreError if it can't be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(text)
        except OSError:
            path.unlink()
            raise
    except FileExistsError as error:
        raise UsageError(_("{path} already exists.").format(path=path), _("Choose another name.")) from error
    except OSError as error:
        raise StoreError(
            _("{path} can't be written: {reason}.").format(path=path, reason=reason(error)),
            _("Choose another name."),
        ) from error


def message_value(message: Message) -> dict[str, Any]:
    """A message as JSON: what is not known is left out, times are ISO 8601."""
    values = _Message.model_validate(message, from_attributes=True).model_dump(exclude={"id", "parent"})
    return {k: v for k, v in values.items() if v is not None and v is not False}


def _add(transcripts: Transcripts, heading: Heading, nodes: Sequence[Node]) -> int:
    conversation_id = transcripts.create(replace(heading, head_id=None))
    ids: dict[int | None, int] = {}
    for node in nodes:
        ids[node.id] = transcripts.append(conversation_id, ids.get(node.parent), node.message)
    transcripts.change_heading(conversation_id, replace(heading, head_id=ids.get(heading.head_id)))
    return conversation_id


def _tree_value(heading: Heading, nodes: Sequence[Node]) -> dict[str, Any]:
    values = _Conversation.model_validate(heading, from_attributes=True).model_dump(exclude_none=True)
    messages = [{"id": n.id, "parent": n.parent, **message_value(n.message)} for n in nodes]
    return {**values, "head": heading.head_id, "messages": messages}


def _values(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except json.JSONDecodeError as error:
        return _lines(text, error)
    except (RecursionError, ValueError) as error:
        raise StoreError(_("The file can't be read: {error}.").format(error=error)) from error


def _lines(text: str, error: json.JSONDecodeError) -> list[Any]:
    values = []
    # Not `splitlines`: JSON leaves U+2028 and U+0085 as they are inside of a text.
    for number, line in enumerate(text.split("\n"), 1):
        try:
            values += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError:
            place = (
                _("line {lineno}: {msg}").format(lineno=error.lineno, msg=error.msg)
                if number == 1
                else _("line {number}").format(number=number)
            )
            raise StoreError(
                _("The file is neither JSON nor JSONL ({place}).").format(place=place)
            ) from error
        except (RecursionError, ValueError) as other:
            raise StoreError(
                _("Line {number} of the file can't be read: {other}.").format(number=number, other=other)
            ) from other
    if not values:
        raise StoreError(_("The file is empty."))
    return values


def _read_tree(value: Any, where: str, now: float) -> Tree:
    if isinstance(value, list):
        value = {"messages": value}
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
        raise StoreError(_("{where} has no list of messages.").format(where=where))
    try:
        given = _Conversation.model_validate(value)
    except ValidationError as error:
        raise StoreError(_explain(error, where)) from error
    nodes = _nodes(given.messages, now)
    known = {node.id for node in nodes}
    first = next((n.message.content for n in nodes if n.message.role == "user"), "")
    last = nodes[-1].id if nodes else None
    heading = Heading(
        title=given.title or title_from(first),
        name=given.name or None,
        head_id=given.head if given.head in known else last,
        settings=given.settings or {},
        created_at=now if given.created_at is None else given.created_at,
        updated_at=now if given.updated_at is None else given.updated_at,
    )
    return heading, nodes


def _nodes(messages: Sequence[_Message], now: float) -> list[Node]:
    nodes: list[Node] = []
    for number, given in enumerate(messages, 1):
        before = nodes[-1].id if nodes else None
        parent = given.parent if "parent" in given.model_fields_set else before
        values = {name: getattr(given, name) for name in MESSAGE_COLUMNS}
        values = {name: value for name, value in values.items() if value is not None}
        if given.created_at is None:
            values["created_at"] = now
            if given.role == "assistant":
                values.setdefault("finish_reason", "stop")
        nodes.append(Node(number if given.id is None else given.id, parent, Message(**values)))
    return nodes


def _explain(error: ValidationError, where: str) -> str:
    """The first thing that is wrong, and its place: `Conversation 1, message 2, role: Input should be …`."""
    first = error.errors(include_url=False)[0]
    place = [where]
    for part in first["loc"]:
        if isinstance(part, int):
            place[-1] = _("message {part}").format(part=part + 1)
        else:
            place.append(part)
    return f"{', '.join(place)}: {first['msg'].removeprefix('Value error, ')}."


def _text(content: Any) -> Any:
    """OpenAI's content: text, or a list of parts of which only text can be kept."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(_("only text can be kept"))
    return "\n".join(map(str, texts))


def _seconds(value: Any) -> Any:
    """ISO 8601, or seconds since 1970 as OpenAI gives them; the year has to be one that there is."""
    try:
        seconds = from_iso(value) if isinstance(value, str) else value
        if isinstance(seconds, int | float):
            to_iso(seconds)
            return float(seconds)
    except (OverflowError, OSError, ValueError) as error:
        raise ValueError(_("{value!r:.40} is not a time").format(value=value)) from error
    return value


_Seconds = Annotated[float, BeforeValidator(_seconds), PlainSerializer(to_iso)]
_Integer = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""A number that SQLite can hold."""


class _Message(BaseModel):
    """OpenAI's `role` and `content`, and what else `core.conversation.Message` knows."""

    model_config = ConfigDict(strict=True, defer_build=True)

    id: _Integer | None = None
    parent: _Integer | None = None
    role: Role
    content: Annotated[str, BeforeValidator(_text)]
    pinned: bool | None = None
    note: bool | None = None
    pictures: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    finish_reason: str | None = None
    created_at: _Seconds | None = None
    model: str | None = None
    server: str | None = None
    parameters: dict[str, Any] | None = None
    prompt_tokens: _Integer | None = None
    completion_tokens: _Integer | None = None
    timings: dict[str, Any] | None = None
    finished_at: _Seconds | None = None


class _Conversation(BaseModel):
    model_config = ConfigDict(strict=True, defer_build=True)

    title: str | None = None
    name: str | None = None
    settings: dict[str, Any] | None = None
    created_at: _Seconds | None = None
    updated_at: _Seconds | None = None
    head: _Integer | None = None
    messages: list[_Message] = []
