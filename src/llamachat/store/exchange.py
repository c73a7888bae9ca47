"""Conversations as files for other programs: Markdown, JSON, JSONL; and JSON and JSONL back.

JSON holds everything, branches too: `{"format": "llamachat", "version": 1, "conversations": […]}`. Each has
title, name, head, settings, created_at, updated_at and messages `{id, parent, role, content, …}`, ids being
the file's own. JSONL is OpenAI's form, one conversation a line, as it stands:
`{"messages": [{"role": …, "content": …}, …]}`. `read` takes both, and OpenAI's form as one JSON value or as
a plain list of messages.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from llamachat.core.conversation import Message, Node
from llamachat.errors import StoreError, UsageError
from llamachat.store.transcripts import Transcripts
from llamachat.store.values import (
    MESSAGE_COLUMNS,
    Heading,
    Stored,
    from_iso,
    title_from,
    to_iso,
)

_FORMAT = "llamachat"
_VERSION = 1
_TIMES = ("created_at", "updated_at", "finished_at")
_ROLES = ("system", "user", "assistant")
_KINDS = {
    **dict.fromkeys(("pinned", "note"), bool),
    **dict.fromkeys(("finish_reason", "model", "server"), str),
    **dict.fromkeys(("prompt_tokens", "completion_tokens"), int),
    **dict.fromkeys(("parameters", "timings"), dict),
}
Tree = tuple[Heading, Sequence[Node]]


def to_markdown(stored: Stored) -> str:
    """The conversation as it stands, for people."""
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
    return "\n\n".join(parts) + "\n"


def to_json(trees: Sequence[Tree]) -> str:
    """Everything that is known of the conversations, all branches."""
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "conversations": [_tree_value(*tree) for tree in trees],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def to_jsonl(stored: Stored) -> str:
    """One line in OpenAI's messages form: what was said, under the system message that holds now."""
    messages = [m.as_request() for m in stored.conversation if not m.note]
    return json.dumps({"messages": messages}, ensure_ascii=False) + "\n"


def read(text: str, now: float) -> list[Tree]:
    """The conversations of an exported file. Raises StoreError, naming the place, for what is none."""
    trees: list[Tree] = []
    for value in _values(text):
        known = isinstance(value, dict) and value.get("format") == _FORMAT
        if known and value.get("version") != _VERSION:
            raise StoreError(f"The file has version {value.get('version')!r}; this one knows {_VERSION}.")
        conversations = value.get("conversations") if known else [value]
        if not isinstance(conversations, list):
            raise StoreError("The file has no list of conversations.")
        for conversation in conversations:
            trees.append(_read_tree(conversation, f"Conversation {len(trees) + 1}", now))
    return trees


def add(transcripts: Transcripts, trees: Sequence[Tree]) -> list[int]:
    """Store conversations that were read, all or none; their new ids."""
    with transcripts.changes():
        return [_add(transcripts, *tree) for tree in trees]


def write_new(path: Path, text: str) -> None:
    """Write a new file, whole or not at all, and private like the transcripts.

    Raises UsageError where the file exists, and StoreError where it can't be written.
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
        raise UsageError(f"{path} already exists.", "Choose another name.") from error
    except OSError as error:
        raise StoreError(f"{path} can't be written: {error.strerror}.", "Choose another name.") from error


def message_value(message: Message) -> dict[str, Any]:
    """A message as JSON: what is not known is left out, times are ISO 8601."""
    values = {name: getattr(message, name) for name in MESSAGE_COLUMNS}
    return _with_iso({k: v for k, v in values.items() if v is not None and v is not False})


def _add(transcripts: Transcripts, heading: Heading, nodes: Sequence[Node]) -> int:
    conversation_id = transcripts.create(Heading(**{**_fields(heading), "head_id": None}))
    ids: dict[int | None, int] = {}
    for node in nodes:
        ids[node.id] = transcripts.append(conversation_id, ids.get(node.parent), node.message)
    head = Heading(**{**_fields(heading), "head_id": ids.get(heading.head_id)})
    transcripts.change_heading(conversation_id, head)
    return conversation_id


def _fields(heading: Heading) -> dict[str, Any]:
    return {f.name: getattr(heading, f.name) for f in fields(heading)}


def _tree_value(heading: Heading, nodes: Sequence[Node]) -> dict[str, Any]:
    values = _with_iso({k: v for k, v in _fields(heading).items() if v is not None and k != "head_id"})
    messages = [{"id": n.id, "parent": n.parent, **message_value(n.message)} for n in nodes]
    return {**values, "head": heading.head_id, "messages": messages}


def _with_iso(values: dict[str, Any]) -> dict[str, Any]:
    return {k: to_iso(v) if k in _TIMES else v for k, v in values.items()}


def _values(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except json.JSONDecodeError as error:
        return _lines(text, error)
    except (RecursionError, ValueError) as error:
        raise StoreError(f"The file can't be read: {error}.") from error


def _lines(text: str, error: json.JSONDecodeError) -> list[Any]:
    values = []
    # Not `splitlines`: JSON leaves U+2028 and U+0085 as they are inside of a text.
    for number, line in enumerate(text.split("\n"), 1):
        try:
            values += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError:
            place = f"line {error.lineno}: {error.msg}" if number == 1 else f"line {number}"
            raise StoreError(f"The file is neither JSON nor JSONL ({place}).") from error
        except (RecursionError, ValueError) as other:
            raise StoreError(f"Line {number} of the file can't be read: {other}.") from other
    if not values:
        raise StoreError("The file is empty.")
    return values


def _read_tree(value: Any, where: str, now: float) -> Tree:
    if isinstance(value, list):
        value = {"messages": value}
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
        raise StoreError(f"{where} has no list of messages.")
    nodes = list(_read_nodes(value["messages"], where, now))
    known = {node.id for node in nodes}
    first = next((n.message.content for n in nodes if n.message.role == "user"), "")
    last = nodes[-1].id if nodes else None
    try:
        heading = Heading(
            title=str(value.get("title") or title_from(first)),
            name=str(value["name"]) if value.get("name") else None,
            head_id=value["head"] if value.get("head") in known else last,
            settings=dict(value.get("settings") or {}),
            created_at=_time(value.get("created_at"), now),
            updated_at=_time(value.get("updated_at"), now),
        )
    except (TypeError, ValueError) as error:
        raise StoreError(f"{where} can't be read: {error}.") from error
    return heading, nodes


def _read_nodes(messages: list[Any], where: str, now: float) -> Iterator[Node]:
    before: int | None = None
    for number, value in enumerate(messages, 1):
        place = f"{where}, message {number}"
        if not isinstance(value, dict) or value.get("role") not in _ROLES:
            raise StoreError(f"{place} has none of the roles {', '.join(_ROLES)}.")
        node_id = value.get("id", number)
        parent = value.get("parent") if "parent" in value else before
        if not isinstance(node_id, int) or not isinstance(parent, int | None):
            raise StoreError(f"{place} has an id that is no number.")
        yield Node(node_id, parent, _read_message(value, place, now))
        before = node_id


def _read_message(value: dict[str, Any], place: str, now: float) -> Message:
    known = {k: v for k, v in value.items() if k in MESSAGE_COLUMNS and v is not None}
    known["content"] = _text(value.get("content"), place)
    for name, kind in _KINDS.items():
        if not isinstance(known.get(name), kind | None) or _too_large(known.get(name)):
            raise StoreError(f"{place} can't be read: {name} can't be {known[name]!r:.40}.")
    try:
        for name in ("created_at", "finished_at"):
            if name in known:
                known[name] = _time(known[name], now)
    except (TypeError, ValueError) as error:
        raise StoreError(f"{place} can't be read: {error}.") from error
    known.setdefault("created_at", now)
    if value["role"] == "assistant" and "created_at" not in value:
        known.setdefault("finish_reason", "stop")
    return Message(**known)


def _text(content: Any, place: str) -> str:
    """OpenAI's content: text, or a list of parts of which only text can be kept."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [None]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise StoreError(f"{place} holds something else than text.")
    return "\n".join(map(str, texts))


def _too_large(value: object) -> bool:
    """For a number of SQLite's."""
    return isinstance(value, int) and abs(value) >= 2**63


def _time(value: Any, now: float) -> float:
    """ISO 8601, or seconds since 1970 as OpenAI gives them. Raises ValueError for none that there is."""
    if value is None:
        return now
    try:
        seconds = float(value) if isinstance(value, int | float) else from_iso(str(value))
        to_iso(seconds)
    except (OverflowError, OSError) as error:
        raise ValueError(f"there is no time {value!r:.40}") from error
    return seconds
