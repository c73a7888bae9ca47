"""What the store takes and gives: frozen values, times in seconds since 1970 (UTC)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import Any

from llamachat.core.conversation import Conversation, Message, Role


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an answer comes from: the model's name, the server's URL, the request's parameters."""

    model: str
    server: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One message with all that is known of it. An answer without `finish_reason` was never finished."""

    role: Role
    content: str
    created_at: float
    pinned: bool = False
    note: bool = False
    finish_reason: str | None = None
    model: str | None = None
    server: str | None = None
    parameters: Mapping[str, Any] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    timings: Mapping[str, Any] | None = None
    finished_at: float | None = None

    @property
    def message(self) -> Message:
        reason = self.finish_reason or ("interrupted" if self.role == "assistant" else None)
        return Message(self.role, self.content, pinned=self.pinned, finish_reason=reason, note=self.note)


@dataclass(frozen=True, slots=True)
class Node:
    """A record in its place in the tree of a conversation."""

    id: int
    parent_id: int | None
    record: Record


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
    """A conversation as it was left. `path` leads from the first message to the head."""

    id: int
    heading: Heading
    path: tuple[Node, ...]

    @property
    def conversation(self) -> Conversation:
        """The turns that were answered, and the notes, under the system message that holds now."""
        messages = [r.message for r in self._records() if not is_system(r)]
        if messages and messages[-1].role == "user" and not messages[-1].note:
            messages.pop()
        system = system_of(self._records())
        return Conversation((*([Message("system", system)] if system else []), *messages))

    @property
    def unanswered(self) -> str | None:
        """The last question where no answer came: it is not in `conversation`."""
        spoken = [r for r in self._records() if not is_system(r)]
        waits = spoken and spoken[-1].role == "user" and not spoken[-1].note
        return spoken[-1].content if waits else None

    @property
    def model(self) -> str | None:
        """The model of the last answer."""
        return next((r.model for r in reversed(self._records()) if r.model), None)

    def _records(self) -> list[Record]:
        return [node.record for node in self.path]


@dataclass(frozen=True, slots=True)
class Branch:
    """One end of a conversation's tree: the path that ends in message `id`. `question` is its last one."""

    id: int
    messages: int
    question: str
    updated_at: float
    current: bool


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


def is_system(record: Record) -> bool:
    """A system message, and no note: notes stay in their place in a conversation."""
    return record.role == "system" and not record.note


def system_of(records: Iterable[Record]) -> str:
    """The system message that holds at the end of a path: a later one replaces an earlier; empty for none."""
    texts = [r.content for r in records if is_system(r)]
    return texts[-1] if texts else ""


def path_to(nodes: Iterable[Node], end: int | None) -> tuple[Node, ...]:
    """From the first message of a tree to the message `end`; empty where there is none such."""
    by_id = {node.id: node for node in nodes}
    path: list[Node] = []
    while end is not None and end in by_id:
        path.append(by_id[end])
        end = by_id[end].parent_id
    return tuple(reversed(path))


def branches_of(heading: Heading, nodes: Sequence[Node]) -> tuple[Branch, ...]:
    """The ends of the tree and the head, the newest first."""
    parents = {node.parent_id for node in nodes}
    ends = [n for n in nodes if n.id not in parents or n.id == heading.head_id]
    branches = []
    for end in sorted(ends, key=lambda node: node.id, reverse=True):
        spoken = [n.record for n in path_to(nodes, end.id) if n.record.role != "system"]
        question = next((r.content for r in reversed(spoken) if r.role == "user"), "")
        last = end.record.finished_at or end.record.created_at
        branches.append(Branch(end.id, len(spoken), question, last, end.id == heading.head_id))
    return tuple(branches)


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


RECORD_COLUMNS = tuple(f.name for f in fields(Record))
_JSON_COLUMNS = ("parameters", "timings", "settings")
_TIME_COLUMNS = ("created_at", "finished_at", "updated_at")


def to_column(name: str, value: Any) -> Any:
    """A field as SQLite stores it; text that is no valid Unicode loses what is not."""
    if value is None:
        return None
    if name in _TIME_COLUMNS:
        return to_iso(value)
    if name in _JSON_COLUMNS:
        value = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return value


def from_column(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIME_COLUMNS:
        return from_iso(value)
    if name in _JSON_COLUMNS:
        return json.loads(value)
    return bool(value) if name in ("pinned", "note") else value
