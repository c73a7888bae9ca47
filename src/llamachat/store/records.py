"""What the store takes and gives: frozen values, times in seconds since 1970 (UTC)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import Any

from llamachat.core.conversation import Conversation, Message, Role


@dataclass(frozen=True, slots=True)
class Heading:
    """A conversation's row: `head_id` is the last message of the branch that is being talked on."""

    title: str = ""
    name: str | None = None
    head_id: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation as a line of a list; `model` is that of the last answer."""

    id: int
    title: str
    name: str | None
    messages: int
    model: str | None
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Stored:
    """A conversation as it was left: its head may be a question that no answer came to."""

    id: int
    heading: Heading
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that was found, with the line that holds the hit and where in it."""

    conversation_id: int
    message_id: int
    title: str
    name: str | None
    role: Role
    created_at: float
    line: str
    spans: tuple[tuple[int, int], ...]


def title_from(text: str) -> str:
    """A title of one line from the first question."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59].rstrip() + "…"


def to_iso(seconds: float) -> str:
    """Sortable text that SQLite's date functions read, in UTC with milliseconds."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


MESSAGE_COLUMNS = tuple(f.name for f in fields(Message))
HEADING_COLUMNS = tuple(f.name for f in fields(Heading))
_JSON_COLUMNS = ("pictures", "parameters", "timings", "settings")
_TIME_COLUMNS = ("created_at", "finished_at", "updated_at")


def to_column(name: str, value: Any) -> Any:
    """A field as SQLite stores it; what is not valid Unicode becomes `?`."""
    if value is None or value == ():
        return None
    if name in _TIME_COLUMNS:
        return to_iso(value)
    if name in _JSON_COLUMNS:
        value = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return value


def from_column(name: str, value: Any) -> Any:
    if name == "pictures":
        return tuple(json.loads(value)) if value else ()
    if value is None:
        return None
    if name in _TIME_COLUMNS:
        return from_iso(value)
    if name in _JSON_COLUMNS:
        return json.loads(value)
    return bool(value) if name in ("pinned", "note") else value
