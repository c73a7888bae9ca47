"""One conversation as the chat holds it: what is said, what of it is stored, where in the tree it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from llamachat.core.conversation import Conversation, Message
from llamachat.store.transcripts import Transcripts
from llamachat.store.values import Heading, Record, Stored, is_system, system_of, title_from


@dataclass(eq=False, slots=True)
class Entry:
    """A message; `stored` is the record that the file has under `id`, `pieces` what came since `record`."""

    record: Record
    parent: Entry | None
    id: int | None = None
    stored: Record | None = None
    pieces: list[str] = field(default_factory=list)

    def settle(self) -> Record:
        if self.pieces:
            self.record = replace(self.record, content=self.record.content + "".join(self.pieces))
            self.pieces.clear()
        return self.record

    @property
    def empty(self) -> bool:
        """An answer that has not begun yet; it is no row."""
        return self.record.role == "assistant" and not self.settle().content

    @property
    def unsaved(self) -> bool:
        return self.settle() is not self.stored


@dataclass(eq=False, slots=True)
class Batch:
    """What is to be written now, and once it is, the ids that it got."""

    conversation_id: int | None
    heading: Heading
    head: Entry | None
    records: list[tuple[Entry, Record]]
    ids: dict[Entry, int] = field(default_factory=dict)

    def store(self, transcripts: Transcripts) -> None:
        with transcripts.changes():
            conversation_id = self.conversation_id
            if conversation_id is None:
                conversation_id = transcripts.create(replace(self.heading, head_id=None))
            for entry, record in self.records:
                if entry.id is None:
                    self.ids[entry] = transcripts.append(conversation_id, self._id(entry.parent), record)
                else:
                    transcripts.change(entry.id, record)
            transcripts.change_heading(conversation_id, replace(self.heading, head_id=self._id(self.head)))
        self.conversation_id = conversation_id

    def _id(self, entry: Entry | None) -> int | None:
        return self.ids.get(entry, entry.id) if entry else None


class Session:
    """Not safe for threads: the journal guards it."""

    def __init__(self, heading: Heading) -> None:
        self.id: int | None = None
        self.heading = heading
        self.path: list[Entry] = []
        self._entries: list[Entry] = []
        self._stored: tuple[Heading, Entry | None] | None = None

    @classmethod
    def of(cls, stored: Stored) -> Session:
        """The session that goes on where `stored` ends; an answer that was never finished is marked."""
        session = cls(stored.heading)
        session.id = stored.id
        for node in stored.path:
            session.add(node.record)
            entry = session.path[-1]
            entry.id, entry.stored = node.id, node.record
            if node.record.role == "assistant" and node.record.finish_reason is None:
                entry.record = replace(node.record, finish_reason="interrupted")
        session._stored = (session.heading, session._head)
        return session

    @property
    def _head(self) -> Entry | None:
        return self.path[-1] if self.path else None

    def add(self, record: Record) -> Entry:
        entry = Entry(record, self._head)
        self.path.append(entry)
        self._entries.append(entry)
        return entry

    @property
    def last_answer(self) -> Entry | None:
        """The answer that the path ends with."""
        head = self._head
        return head if head and head.record.role == "assistant" else None

    def drop_last(self) -> None:
        """Forget the last message, which was never stored."""
        self._entries.remove(self.path.pop())

    def align(self, conversation: Conversation, now: float) -> None:
        """Make the path say `conversation`; what it said beyond the common beginning stays as a branch."""
        system = conversation.system
        rest = [m for m in conversation.messages[1 if system else 0 :] if m.content or m.role != "assistant"]
        spoken = [n for n, entry in enumerate(self.path) if not is_system(entry.settle())]
        same = 0
        while same < min(len(rest), len(spoken)) and _same(self.path[spoken[same]].record, rest[same]):
            entry = self.path[spoken[same]]
            if entry.record.pinned != rest[same].pinned:
                entry.record = replace(entry.record, pinned=rest[same].pinned)
            same += 1
        if same < len(spoken):
            del self.path[spoken[same] :]
        text = system.content if system else ""
        if text != system_of(entry.record for entry in self.path):
            self.add(Record("system", text, now))
        for message in rest[same:]:
            self._go_on(message, now)

    def _go_on(self, message: Message, now: float) -> None:
        """Go on with `message`: the one that the tree has here already, or a new one."""
        known = (e for e in reversed(self._entries) if e.parent is self._head and not e.empty)
        entry = next((e for e in known if _same(e.record, message)), None)
        if entry is None:
            self.add(_record(message, now))
            return
        if entry.record.pinned != message.pinned:
            entry.record = replace(entry.record, pinned=message.pinned)
        self.path.append(entry)

    # -- what the writer needs ------------------------------------------------------------------------

    def batch(self) -> Batch | None:
        """What is not stored yet; None where that is nothing, or nothing was said so far."""
        unsaved = [(entry, entry.record) for entry in self._entries if entry.unsaved and not entry.empty]
        begun = self.id is not None or any(not is_system(entry.record) for entry, _ in unsaved)
        head = next((entry for entry in reversed(self.path) if not entry.empty), None)
        if not begun or (not unsaved and (self.heading, head) == self._stored):
            return None
        return Batch(self.id, self.heading, head, unsaved)

    def stored(self, batch: Batch) -> None:
        self.id = batch.conversation_id
        for entry, record in batch.records:
            entry.stored = record
            entry.id = batch.ids.get(entry, entry.id)
        self._stored = (batch.heading, batch.head)

    def forget(self) -> None:
        """The conversation was removed from the file: what comes goes into a new one, title and all."""
        asked = next((e.record.content for e in self._entries if e.unsaved and e.record.role == "user"), "")
        self.heading = replace(self.heading, title=title_from(asked), name=None)
        self._begin_anew()

    def forget_all(self) -> None:
        """The file itself is another one: everything goes into it."""
        self._begin_anew()
        for entry in self._entries:
            entry.stored = None

    def _begin_anew(self) -> None:
        self.id = self._stored = None
        for entry in self._entries:
            entry.id = None


def _same(record: Record, message: Message) -> bool:
    return (record.role, record.content.strip(), record.note) == (
        message.role,
        message.content.strip(),
        message.note,
    )


def _record(message: Message, now: float) -> Record:
    reason = message.finish_reason or ("stop" if message.role == "assistant" else None)
    return Record(
        message.role, message.content, now, pinned=message.pinned, note=message.note, finish_reason=reason
    )
